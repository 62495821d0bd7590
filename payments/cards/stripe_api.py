"""The card processor: the only importer of `stripe`. Its answers come back as small records of our own.

The SDK never retries: payments.cards.charges keeps the state and decides whether a call may be retried, and under which
idempotency key. Amounts here are whole US cents, the processor's own unit. The SDK takes a second to import, so it is
imported where the processor is called.
"""

import functools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings

from payments import jobs
from payments.outages import CARDS

from .facts import (
    CURRENCY,
    CardFacts,
    Declined,
    DisputeFacts,
    Event,
    Forged,
    Intent,
    Money,
    NoAnswer,
    NotAsked,
    Origin,
    RefundFacts,
    Sale,
    ServerTrouble,
    Session,
    StripeRefused,
    WayBack,
)

if TYPE_CHECKING:
    import stripe

_CHARGE_DETAILS = ["latest_charge.balance_transaction"]


@functools.lru_cache(maxsize=4)
def _client(key: str, base: str, timeout: int) -> "stripe.StripeClient":
    import stripe

    http = stripe.RequestsClient(timeout=timeout)
    return stripe.StripeClient(key, base_addresses={"api": base}, max_network_retries=0, http_client=http)


def _call(call: Callable[[Any], Any]) -> Any:
    """Make one API call. Raises NotAsked in a job that makes none now."""
    if not jobs.goes_on():
        raise NotAsked("not asked now")
    with jobs.listening(NoAnswer):
        return _asked(call)


@CARDS.noticed(NoAnswer)
def _asked(call: Callable[[Any], Any]) -> Any:
    """Make one API call and turn its errors into what they mean for the money."""
    import stripe

    client = _client(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE, settings.STRIPE_TIMEOUT_SECONDS)
    try:
        return call(client.v1)
    except stripe.CardError as error:
        said: Any = error.json_body or {}
        body = said.get("error", {})
        code = body.get("decline_code") or error.code or "card_declined"
        raise Declined(code, body.get("advice_code") or "", body.get("charge") or "") from error
    except stripe.RateLimitError as error:
        raise NoAnswer(str(error)) from error
    except stripe.InvalidRequestError as error:
        said = error.user_message or str(error)
        raise StripeRefused(error.code or "invalid_request", said, error.param or "") from error
    except stripe.IdempotencyError as error:
        raise StripeRefused("idempotency_error", str(error)) from error
    except stripe.APIConnectionError as error:
        raise NoAnswer(str(error)) from error
    except stripe.StripeError as error:
        if error.http_status and error.http_status >= 500:
            raise ServerTrouble(str(error)) from error
        # 401, 403 and 409: a wrong API key, or a concurrent call under the same idempotency key. Outcome unknown.
        raise NoAnswer(str(error)) from error


# --- Customers and hosted pages --------------------------------------------------------------------------


def create_customer(purse_id: str, email: str) -> str:
    """Create a customer for a buyer and return the processor's id.

    The call has no idempotency key: an orphaned customer costs nothing, and an error under a key is repeated for a day.
    """
    params = {"metadata": {"purse": purse_id}, **({"email": email} if email else {})}
    return _call(lambda v1: v1.customers.create(params)).id


def email_of(customer: str) -> str:
    """The customer's email address in lower case, or empty."""
    found = _call(lambda v1: v1.customers.retrieve(customer))
    return (_get(found, "email") or "").lower()


def open_checkout(origin: Origin, customer: str, sale: Sale, back: WayBack, key: str) -> Session:
    """A hosted page that takes money. Raises StripeRefused, also when the customer is not there."""
    product = {"currency": CURRENCY, "unit_amount": sale.amount_cents, "product_data": {"name": sale.title[:200]}}
    kept = {"setup_future_usage": "off_session"} if sale.keep_card else {}
    params = {
        "mode": "payment",
        "customer": customer,
        "client_reference_id": origin.charge_id,
        "line_items": [{"price_data": product, "quantity": 1}],
        "metadata": origin.metadata,
        "payment_intent_data": {"metadata": origin.metadata, **kept},
        "success_url": back.done_url,
        "cancel_url": back.cancel_url,
    }
    return _session(_call(lambda v1: v1.checkout.sessions.create(params, {"idempotency_key": key})))


def open_setup(setup_id: str, customer: str, back: WayBack, key: str) -> Session:
    """Open a hosted page that saves a card and charges nothing."""
    params = {
        "mode": "setup",
        "currency": CURRENCY,
        "customer": customer,
        "client_reference_id": setup_id,
        "metadata": {"setup": setup_id},
        "success_url": back.done_url,
        "cancel_url": back.cancel_url,
    }
    return _session(_call(lambda v1: v1.checkout.sessions.create(params, {"idempotency_key": key})))


def session(session_id: str) -> Session:
    """A hosted page as it is now."""
    return _session(_call(lambda v1: v1.checkout.sessions.retrieve(session_id)))


def expire_session(session_id: str) -> Session:
    """Close a hosted page that is no longer needed. Raises StripeRefused when the buyer completed it meanwhile."""
    return _session(_call(lambda v1: v1.checkout.sessions.expire(session_id)))


def saved_card(setup_intent: str) -> CardFacts | None:
    """The card that a hosted page saved, or None while it is being checked.

    Raises StripeRefused when the page saved none, or something that is no card.
    """
    found = _call(lambda v1: v1.setup_intents.retrieve(setup_intent, {"expand": ["payment_method"]}))
    if found.status in ("requires_payment_method", "canceled"):
        raise StripeRefused("no_card", "The page ended without a card.")
    return _card(found.payment_method) if found.status == "succeeded" and found.payment_method else None


def card(stripe_card_id: str) -> CardFacts:
    """A saved card as it is now. Raises StripeRefused when the payment method is not a card."""
    return _card(_call(lambda v1: v1.payment_methods.retrieve(stripe_card_id)))


def forget_card(stripe_card_id: str) -> None:
    """Detach a card from its customer, after which it cannot be charged."""
    _call(lambda v1: v1.payment_methods.detach(stripe_card_id))


# --- Taking money ----------------------------------------------------------------------------------------


def create_intent(origin: Origin, customer: str, amount_cents: int, key: str) -> Intent:
    """Create a PaymentIntent without confirming it: no money moves, and an orphan costs nothing."""
    params = {
        "amount": amount_cents,
        "currency": CURRENCY,
        "customer": customer,
        "metadata": origin.metadata,
    }
    return _intent(_call(lambda v1: v1.payment_intents.create(params, {"idempotency_key": key})))


def confirm_intent(intent_id: str, stripe_card_id: str, key: str) -> Intent:
    """Charge a saved card off-session. Confirms one stored intent, which can succeed only once.

    An account may have payment methods that redirect the buyer; with those the processor asks for a return address even
    when a card is charged.
    """
    params = {
        "payment_method": stripe_card_id,
        "off_session": True,
        "return_url": f"{settings.BASE_URL}/purse",
        "expand": _CHARGE_DETAILS,
    }
    return _intent(_call(lambda v1: v1.payment_intents.confirm(intent_id, params, {"idempotency_key": key})))


def intent(intent_id: str) -> Intent:
    """A PaymentIntent as it is now."""
    return _intent(_call(lambda v1: v1.payment_intents.retrieve(intent_id, {"expand": _CHARGE_DETAILS})))


def newest_intents(customer: str) -> list[Intent]:
    """A customer's newest hundred PaymentIntents as they are now."""
    params = {"customer": customer, "limit": 100, "expand": [f"data.{name}" for name in _CHARGE_DETAILS]}
    return [_intent(one) for one in _call(lambda v1: v1.payment_intents.list(params)).data]


def cancel_intent(intent_id: str) -> Intent:
    """Cancel an intent. Raises StripeRefused when the intent has succeeded meanwhile: look it up then."""
    return _intent(_call(lambda v1: v1.payment_intents.cancel(intent_id)))


# --- Refunds and disputes --------------------------------------------------------------------------------


def refund(intent_id: str, amount_cents: int, refund_id: str, key: str) -> RefundFacts:
    """Refund `amount_cents` of an intent to its card."""
    params = {"payment_intent": intent_id, "amount": amount_cents, "metadata": {"refund": refund_id}}
    return _refund(_call(lambda v1: v1.refunds.create(params, {"idempotency_key": key})))


def refunds_of(intent_id: str) -> list[RefundFacts]:
    """Every refund of an intent, ours or made by hand."""
    found = _call(lambda v1: v1.refunds.list({"payment_intent": intent_id, "limit": 100}))
    return [_refund(one) for one in _pages(found)]


def dispute(dispute_id: str) -> DisputeFacts:
    """A dispute as it is now."""
    found = _call(lambda v1: v1.disputes.retrieve(dispute_id))
    moved = tuple(_money(one) for one in found.balance_transactions or ())
    wanted = _id(found.payment_intent)
    return DisputeFacts(found.id, found.status, found.reason or "", found.amount, wanted, moved)


def refund_facts(refund_id: str) -> RefundFacts:
    """A refund as it is now."""
    return _refund(_call(lambda v1: v1.refunds.retrieve(refund_id)))


def intent_of_charge(stripe_charge_id: str) -> str:
    """The id of the PaymentIntent that a processor's charge belongs to; empty when there is none."""
    return _id(_call(lambda v1: v1.charges.retrieve(stripe_charge_id)).payment_intent)


# --- The processor's own books ---------------------------------------------------------------------------


def money_between(start: datetime, end: datetime) -> Iterator[Money]:
    """Every balance transaction made from `start` to before `end` (whole seconds), newest first, and its cause."""
    created = {"gte": int(start.timestamp()), "lt": int(end.timestamp())}
    params = {"created": created, "limit": 100, "expand": ["data.source"]}
    found = _call(lambda v1: v1.balance_transactions.list(params))
    yield from (_money(one) for one in _pages(found))


def holds_cents() -> int | None:
    """Our balance at the processor in cents, available and pending together. None: the account holds no dollars."""
    found = _call(lambda v1: v1.balance.retrieve())
    parts = [part.amount for part in (*found.available, *found.pending) if part.currency == CURRENCY]
    return sum(parts) if parts else None


def undelivered_since(moment: datetime) -> list[Event]:
    """Events since `moment` that the processor could not deliver by webhook."""
    params = {"created": {"gte": int(moment.timestamp())}, "delivery_success": False, "limit": 100}
    found = _call(lambda v1: v1.events.list(params))
    return [Event(one.id, one.type, _about(one), str(one)) for one in _pages(found)]


def read_event(body: bytes, signature: str) -> Event:
    """A webhook that the processor signed, with this secret or a former one. Raises Forged."""
    import stripe

    if not settings.STRIPE_WEBHOOK_SECRET:
        raise Forged("no webhook secret is set")
    why: Exception | None = None
    for secret in (settings.STRIPE_WEBHOOK_SECRET, *settings.STRIPE_WEBHOOK_SECRET_FALLBACKS):
        try:
            event = stripe.Webhook.construct_event(body, signature, secret)
            return Event(event.id, event.type, _about(event), body.decode())
        except (ValueError, AttributeError, KeyError, stripe.SignatureVerificationError) as error:
            why = error
    raise Forged(str(why)) from why


def _pages(found: Any) -> Iterator[Any]:
    """Every item on every page of a list. An error on a later page raises NoAnswer, like one on the first."""
    import stripe

    try:
        yield from found.auto_paging_iter()
    except stripe.StripeError as error:
        raise NoAnswer(str(error)) from error


# --- From the processor's objects to our facts -------------------------------------------------------------


def _id(thing: Any) -> str:
    """An id, whether the object was expanded or not."""
    return "" if thing is None else thing if isinstance(thing, str) else thing.id


def _about(event: Any) -> str:
    """The id of the object that an event is about, or empty."""
    return getattr(event.data.object, "id", "") or ""


def _get(thing: Any, name: str) -> Any:
    """A field that not every object has; SDK objects are not mappings."""
    return getattr(thing, name, None) if thing is not None else None


def _intent(found: Any) -> Intent:
    error = _get(found, "last_payment_error")
    code = (_get(error, "decline_code") or _get(error, "code") or "") if error else ""
    latest = _get(found, "latest_charge")
    paid = found.status == "succeeded"
    money = None if latest is None or isinstance(latest, str) else _get(latest, "balance_transaction")
    details = money is not None and not isinstance(money, str)
    return Intent(
        id=found.id,
        status=found.status,
        amount_cents=found.amount,
        currency=found.currency,
        charge_id=_metadata(found, "charge"),
        purse_id=_metadata(found, "purse"),
        purpose=_metadata(found, "purpose"),
        mac=_metadata(found, "mac"),
        made_at=_moment(found.created),
        customer=_id(_get(found, "customer")),
        stripe_charge_id=_id(latest) if paid else "",
        error=code,
        tried=_id(_get(error, "payment_method")),
        failed=_get(error, "charge") or "",
        advice=(_get(error, "advice_code") or "") if error else "",
        card=_id(_get(found, "payment_method")),
        client_secret=_get(found, "client_secret") or "",
        transaction=_id(money),
        fee_cents=money.fee if details and money is not None else 0,
        fee_currency=money.currency if details and money is not None else CURRENCY,
        available_at=_moment(money.available_on) if details and money is not None else None,
    )


def _metadata(found: Any, name: str) -> str:
    metadata = _get(found, "metadata")
    return str(metadata[name]) if metadata and name in metadata else ""


def _session(found: Any) -> Session:
    details = _get(found, "customer_details")
    return Session(
        id=found.id,
        status=found.status or "",
        url=_get(found, "url") or "",
        intent=_id(_get(found, "payment_intent")),
        setup_intent=_id(_get(found, "setup_intent")),
        email=(_get(details, "email") or "").lower() if details else "",
    )


def _card(found: Any) -> CardFacts:
    facts = _get(found, "card")
    if facts is None:
        raise StripeRefused("not_a_card", "This payment method is not a card, so we can't charge it later.")
    expires = f"{facts.exp_month:02}/{facts.exp_year}"
    return CardFacts(found.id, facts.brand, facts.last4, expires, _id(_get(found, "customer")))


def _refund(found: Any) -> RefundFacts:
    wanted = _id(_get(found, "payment_intent"))
    return RefundFacts(found.id, found.status or "", found.amount, wanted, _metadata(found, "refund"))


def _money(found: Any) -> Money:
    source = _get(found, "source")
    return Money(
        id=found.id,
        type=found.type,
        source=_id(source),
        amount_cents=found.amount,
        fee_cents=found.fee,
        intent="" if isinstance(source, str) else _id(_get(source, "payment_intent")),
        currency=found.currency,
    )


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
