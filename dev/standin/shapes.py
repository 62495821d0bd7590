"""What a new object looks like, with every field the processor sends, null or not."""

from typing import Any

from .cards import Card
from .world import World

Object = dict[str, Any]


def _nulls(*names: str) -> Object:
    return dict.fromkeys(names)


def _address() -> Object:
    return _nulls("city", "country", "line1", "line2", "postal_code", "state")


def billing(given: Object | None = None) -> Object:
    empty = {"address": _address(), **_nulls("email", "name", "phone", "tax_id")}
    given = {name: value for name, value in (given or {}).items() if value != ""}
    return {**empty, **given, "address": {**_address(), **(given.get("address") or {})}}


def customer(world: World) -> Object:
    settings = _nulls("custom_fields", "default_payment_method", "footer", "rendering_options")
    return {
        **_nulls("address", "currency", "default_source", "description", "discount", "email", "name", "phone"),
        **_nulls("shipping", "test_clock", "customer_account"),
        "balance": 0, "created": world.now(), "delinquent": False, "invoice_prefix": world.word(8).upper(),
        "invoice_settings": settings, "livemode": False, "metadata": {}, "next_invoice_sequence": 1,
        "preferred_locales": [], "tax_exempt": "none",
    }  # fmt: skip


def payment_method(world: World, card: Card, expiry: tuple[int, int], details: Object | None) -> Object:
    month, year = expiry
    shown = {
        "brand": card.brand, "country": "US", "display_brand": card.brand, "exp_month": month, "exp_year": year,
        "checks": {**_nulls("address_line1_check", "address_postal_code_check"), "cvc_check": "unchecked"},
        "fingerprint": f"fp{card.number}", "funding": card.funding, "generated_from": None, "last4": card.number[-4:],
        "networks": {"available": [card.brand], "preferred": None}, "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True}, "wallet": None,
    }  # fmt: skip
    return {
        "allow_redisplay": "unspecified", "billing_details": billing(details), "card": shown, "created": world.now(),
        "customer": None, "customer_account": None, "livemode": False, "metadata": {}, "type": "card",
        "_card": card.number, "_set_up": False, "_spent": False,
    }  # fmt: skip


def payment_intent(world: World, amount: int, currency: str) -> Object:
    options = {"card": {**_nulls("installments", "mandate_options", "network"), "request_three_d_secure": "automatic"}}
    return {
        **_nulls("allowed_payment_method_types", "application", "application_fee_amount", "canceled_at"),
        **_nulls("cancellation_reason", "customer", "customer_account", "description"),
        **_nulls("excluded_payment_method_types", "last_payment_error", "latest_charge", "next_action"),
        **_nulls("on_behalf_of", "payment_method", "processing", "receipt_email", "review", "setup_future_usage"),
        **_nulls("shipping", "source", "statement_descriptor", "statement_descriptor_suffix", "transfer_data"),
        **_nulls("transfer_group", "payment_method_configuration_details"),
        "amount": amount, "amount_capturable": 0, "amount_details": {"tip": {}}, "amount_received": 0,
        "automatic_payment_methods": {"allow_redirects": "always", "enabled": True},
        "capture_method": "automatic_async", "client_secret": None, "confirmation_method": "automatic",
        "created": world.now(), "currency": currency, "livemode": False, "metadata": {},
        "payment_method_options": options, "payment_method_types": ["card"], "status": "requires_payment_method",
        "_session": None, "_return_url": None,
    }  # fmt: skip


def setup_intent(world: World) -> Object:
    options = {"card": {**_nulls("mandate_options", "network"), "request_three_d_secure": "automatic"}}
    return {
        **_nulls("allowed_payment_method_types", "application", "cancellation_reason", "customer", "customer_account"),
        **_nulls("description", "excluded_payment_method_types", "flow_directions", "last_setup_error"),
        **_nulls("latest_attempt", "mandate", "next_action", "on_behalf_of", "payment_method", "single_use_mandate"),
        **_nulls("payment_method_configuration_details"),
        "automatic_payment_methods": {"allow_redirects": "always", "enabled": True}, "client_secret": None,
        "created": world.now(), "livemode": False, "metadata": {}, "payment_method_options": options,
        "payment_method_types": ["card"], "status": "requires_payment_method", "usage": "off_session",
        "_session": None, "_return_url": None,
    }  # fmt: skip


def charge(world: World, amount: int, currency: str, method: Object) -> Object:
    card = method.get("card") or method["_details"]
    details = {name: card[name] for name in ("brand", "country", "exp_month", "exp_year", "fingerprint", "funding",
                                             "last4", "regulated_status", "wallet")}  # fmt: skip
    details |= {
        **_nulls("authorization_code", "capture_before", "installments", "mandate", "network_transaction_id"),
        **_nulls("network_token", "three_d_secure"),
        "amount_authorized": amount, "checks": dict(card["checks"]), "network": card["brand"],
        **{name: {"status": "unavailable"} for name in ("extended_authorization", "incremental_authorization",
                                                        "multicapture")},
        "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
    }  # fmt: skip
    return {
        **_nulls("application", "application_fee", "application_fee_amount", "balance_transaction", "customer"),
        **_nulls("description", "failure_balance_transaction", "failure_code", "failure_message", "on_behalf_of"),
        **_nulls("payment_intent", "receipt_email", "receipt_number", "receipt_url", "review", "shipping", "source"),
        **_nulls("source_transfer", "statement_descriptor", "statement_descriptor_suffix", "transfer_data"),
        **_nulls("transfer_group"),
        "amount": amount, "amount_captured": 0, "amount_refunded": 0, "billing_details": method["billing_details"],
        "calculated_statement_descriptor": "PENNYPRESS", "captured": False, "created": world.now(),
        "currency": currency, "disputed": False, "fraud_details": {}, "livemode": False, "metadata": {},
        "outcome": {
            **_nulls("advice_code", "network_advice_code", "network_decline_code", "reason"),
            "network_status": "approved_by_network", "risk_level": "normal", "risk_score": 7,
            "seller_message": "Payment complete.", "type": "authorized",
        },
        "paid": True, "payment_method": method["id"], "payment_method_details": {"card": details, "type": "card"},
        "radar_options": {}, "refunded": False, "status": "succeeded",
        "_card": method["_card"],
    }  # fmt: skip


def balance_transaction(world: World, kind: str, amount: int, fee: int, source: Object) -> Object:
    """Positive amounts come in. `available_on` is set by whoever knows when the money may be paid out."""
    categories = {"charge": "charge", "refund": "refund", "refund_failure": "refund_failure", "adjustment": "dispute"}
    details = [{"amount": fee, "application": None, "currency": source["currency"], "type": "stripe_fee",
                "description": "Dispute fee" if kind == "adjustment" else "Stripe processing fees"}]  # fmt: skip
    return {
        "amount": amount, "available_on": world.now(), "balance_type": "payments", "created": world.now(),
        "currency": source["currency"], "description": source.get("description"), "exchange_rate": None, "fee": fee,
        "fee_details": details if fee else [], "net": amount - fee, "reporting_category": categories[kind],
        "source": source["id"], "status": "pending", "type": kind,
    }  # fmt: skip


def refund(world: World, amount: int, charged: Object) -> Object:
    reference = {"reference": None, "reference_status": "pending", "reference_type": "acquirer_reference_number",
                 "type": "refund"}  # fmt: skip
    return {
        "amount": amount, "balance_transaction": None, "charge": charged["id"], "created": world.now(),
        "currency": charged["currency"], "destination_details": {"card": reference, "type": "card"}, "metadata": {},
        "payment_intent": charged["payment_intent"], "reason": None, "receipt_number": None,
        "source_transfer_reversal": None, "status": "succeeded", "transfer_reversal": None,
    }  # fmt: skip


_EVIDENCE = (
    "access_activity_log", "billing_address", "cancellation_policy", "cancellation_policy_disclosure",
    "cancellation_rebuttal", "customer_communication", "customer_email_address", "customer_name",
    "customer_purchase_ip", "customer_signature", "duplicate_charge_documentation", "duplicate_charge_explanation",
    "duplicate_charge_id", "product_description", "receipt", "refund_policy", "refund_policy_disclosure",
    "refund_refusal_explanation", "service_date", "service_documentation", "shipping_address", "shipping_carrier",
    "shipping_date", "shipping_documentation", "shipping_tracking_number", "uncategorized_file", "uncategorized_text",
)  # fmt: skip


def dispute(world: World, amount: int, charged: Object, reason: str) -> Object:
    inquiry = reason == "inquiry"
    brand = charged["payment_method_details"]["card"]["brand"]
    card = {"brand": brand, "case_type": "inquiry" if inquiry else "chargeback", "network": brand,
            "network_reason_code": "10.4"}  # fmt: skip
    return {
        "amount": amount, "balance_transactions": [], "charge": charged["id"], "created": world.now(),
        "currency": charged["currency"], "enhanced_eligibility_types": [],
        "evidence": {**_nulls(*_EVIDENCE), "enhanced_evidence": {}},
        "evidence_details": {"due_by": world.now() + 9 * 86_400, "enhanced_eligibility": {}, "has_evidence": False,
                             "past_due": False, "submission_count": 0, "submission_method": "not_submitted"},
        "intended_submission_method": None, "is_charge_refundable": inquiry, "livemode": False, "metadata": {},
        "network_reason_code": "10.4", "payment_intent": charged["payment_intent"],
        "payment_method_details": {"card": card, "type": "card"}, "reason": "fraudulent" if inquiry else reason,
        "status": "warning_needs_response" if inquiry else "needs_response",
    }  # fmt: skip


def session(world: World) -> Object:
    return {
        **_nulls("after_expiration", "allow_promotion_codes", "allowed_payment_method_types", "amount_subtotal"),
        **_nulls("amount_total", "billing_address_collection", "branding_settings", "cancel_url"),
        **_nulls("client_reference_id", "client_secret", "collected_information", "consent", "consent_collection"),
        **_nulls("currency", "currency_conversion", "customer", "customer_account", "customer_creation"),
        **_nulls("customer_details", "customer_email", "discounts", "excluded_payment_method_types", "invoice"),
        **_nulls("invoice_creation", "locale", "origin_context", "payment_intent", "payment_link"),
        **_nulls("payment_method_configuration_details", "permissions", "recovered_from", "return_url"),
        **_nulls("saved_payment_method_options", "setup_intent", "shipping_address_collection", "shipping_cost"),
        **_nulls("submit_type", "subscription", "success_url", "total_details", "url", "wallet_options"),
        "adaptive_pricing": {"enabled": False},
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "created": world.now(), "custom_fields": [],
        "custom_text": _nulls("after_submit", "shipping_address", "submit", "terms_of_service_acceptance"),
        "expires_at": world.now() + 86_400, "livemode": False, "metadata": {}, "mode": "payment",
        "payment_method_collection": "if_required",
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}}, "payment_method_types": ["card"],
        "payment_status": "unpaid", "phone_number_collection": {"enabled": False}, "shipping_options": [],
        "status": "open", "ui_mode": "hosted_page",
    }  # fmt: skip


def fraud_warning(world: World, charged: Object) -> Object:
    return {"actionable": True, "charge": charged["id"], "created": world.now(), "livemode": False,
            "fraud_type": "made_with_stolen_card", "payment_intent": charged["payment_intent"]}  # fmt: skip
