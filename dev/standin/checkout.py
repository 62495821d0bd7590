"""Checkout Sessions: a payment or a card to keep, on a page of the processor's own."""

from typing import Any

from . import buyers, intents, shapes
from .refusals import Refusal, invalid
from .world import DAY, World

Object = dict[str, Any]
_PLAIN = (
    "metadata", "client_reference_id", "cancel_url", "success_url", "locale", "submit_type", "customer_email",
    "billing_address_collection", "allowed_payment_method_types", "excluded_payment_method_types",
    "allow_promotion_codes", "saved_payment_method_options", "consent_collection",
)  # fmt: skip
_HEEDED = "mode ui_mode customer customer_creation expires_at line_items payment_intent_data setup_intent_data currency"
_PAYMENT_DATA = {
    "metadata", "description", "setup_future_usage", "receipt_email", "capture_method", "transfer_group",
    "statement_descriptor", "statement_descriptor_suffix",
}  # fmt: skip
# The parameters that `create` heeds.
TAKES = f"{_HEEDED} {' '.join(_PLAIN)}"


def create(world: World, given: Object) -> Object:
    for data, known in (("payment_intent_data", _PAYMENT_DATA), ("setup_intent_data", {"metadata", "description"})):
        if ignored := set(given.get(data, {})) - known:
            message = f"The stand-in's Checkout does not do {data}[{min(ignored)}]."
            raise Refusal(501, message, kind="api_error", param=f"{data}[{min(ignored)}]", keep=False)
    mode = given.get("mode")
    if mode not in ("payment", "setup"):
        code = "parameter_missing" if mode is None else None
        raise invalid("You must choose a mode: payment or setup.", "mode", code)
    if given.get("ui_mode", "hosted_page") != "hosted_page":
        raise invalid("The stand-in has the hosted page only.", "ui_mode")
    _addresses(given)
    made = shapes.session(world)
    made["mode"] = mode
    buyers.merge(made, given, *_PLAIN)
    _whose(world, made, given)
    _until(world, made, given)
    (_payment if mode == "payment" else _setup)(world, made, given)
    made = world.add("checkout.session", made)
    made["url"] = f"{world.base}/c/pay/{made['id']}"
    if mode == "setup":
        data = given.get("setup_intent_data", {})
        allowed = {name: data[name] for name in ("metadata", "description") if name in data}
        extra = {"customer": made["customer"]} if made["customer"] else {}
        intent = intents.create_setup(world, {**allowed, **extra})
        intent["_session"] = made["id"]
        made["setup_intent"] = intent["id"]
    return made


def _addresses(given: Object) -> None:
    if "success_url" not in given:
        raise invalid("Missing required param: success_url.", "success_url", "parameter_missing")
    for name in ("success_url", "cancel_url"):
        if name in given and not given[name].startswith(("http://", "https://")):
            raise invalid("Not a valid URL", name, "url_invalid")


def _whose(world: World, made: Object, given: Object) -> None:
    if "customer" in given:
        for other in ("customer_email", "customer_creation"):
            if other in given:
                raise invalid(f"You may only specify one of these parameters: customer, {other}.", other)
        made["customer"] = buyers.customer(world, given["customer"], "customer")["id"]
    else:
        if "customer_email" in given and "@" not in given["customer_email"]:
            raise invalid(f"Invalid email address: {given['customer_email']}", "customer_email", "email_invalid")
        made["customer_creation"] = given.get("customer_creation", "if_required")
    email = given.get("customer_email")
    if made["customer"]:
        email = world.tables["customer"][made["customer"]]["email"]
    made["customer_details"] = _details(email, None) if email else None


def _details(email: str | None, name: str | None) -> Object:
    empty = dict.fromkeys(("business_name", "individual_name", "phone"))
    return {"address": None, **empty, "email": email, "name": name, "tax_exempt": "none", "tax_ids": []}


def _until(world: World, made: Object, given: Object) -> None:
    if "expires_at" in given:
        if not world.now() + 1_790 <= given["expires_at"] <= world.now() + DAY + 10:
            message = "The `expires_at` timestamp must be between 30 minutes and 24 hours from now."
            raise invalid(message, "expires_at")
        made["expires_at"] = given["expires_at"]


def _payment(world: World, made: Object, given: Object) -> None:
    if "setup_intent_data" in given:
        raise invalid("You can not pass `setup_intent_data` in `payment` mode.", "setup_intent_data")
    if not given.get("line_items"):
        raise invalid("The `line_items` parameter is required in payment mode.", "line_items", "parameter_missing")
    lines = [_line(world, line, f"line_items[{number}]") for number, line in enumerate(given["line_items"])]
    total = sum(line["amount_total"] for line in lines)
    if total < intents.MINIMUM:
        message = "The Checkout Session's total amount due must add up to at least $0.50 usd"
        raise invalid(message, code="amount_too_small")
    if total > intents.MAXIMUM:
        raise invalid("The Checkout Session's total amount due is too large.", code="amount_too_large")
    made["customer_creation"] = made.get("customer_creation")
    made |= {
        "amount_subtotal": total, "amount_total": total, "currency": "usd", "_lines": lines,
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "_data": given.get("payment_intent_data", {}),
    }  # fmt: skip


def _line(world: World, given: Object, where: str) -> Object:
    price, quantity = given.get("price_data"), given.get("quantity")
    if price is None:
        raise invalid(f"No such price: '{given.get('price')}'", f"{where}[price]", "resource_missing")
    if quantity is None or quantity < 1:
        raise invalid("Quantity is required. Add `quantity` to it.", f"{where}[quantity]", "parameter_missing")
    if price["currency"] != "usd":
        raise invalid(f"Invalid currency: {price['currency']}", f"{where}[price_data][currency]")
    if "product_data" not in price:
        raise invalid("The stand-in has no products: send product_data.", f"{where}[price_data][product]")
    if "recurring" in price:
        raise invalid("You specified `payment` mode but passed a recurring price.", "mode")
    amount = price.get("unit_amount")
    if amount is None or amount < 0:
        raise invalid("Invalid non-negative integer", f"{where}[price_data][unit_amount]", "parameter_missing")
    shown = {
        "id": f"price_{world.word()}", "object": "price", "active": False, "billing_scheme": "per_unit",
        "created": world.now(), "currency": "usd", "custom_unit_amount": None, "livemode": False, "lookup_key": None,
        "metadata": {}, "nickname": None, "product": f"prod_{world.word(14)}", "recurring": None,
        "tax_behavior": "unspecified", "tiers_mode": None, "transform_quantity": None, "type": "one_time",
        "unit_amount": amount, "unit_amount_decimal": str(amount),
    }  # fmt: skip
    return {
        "id": f"li_{world.word()}", "object": "item", "adjustable_quantity": None, "amount_discount": 0,
        "amount_subtotal": amount * quantity, "amount_tax": 0, "amount_total": amount * quantity, "currency": "usd",
        "description": price["product_data"]["name"], "metadata": {}, "price": shown, "quantity": quantity,
    }  # fmt: skip


def _setup(world: World, made: Object, given: Object) -> None:
    for name in ("line_items", "payment_intent_data"):
        if name in given:
            raise invalid(f"You can not pass `{name}` in `setup` mode.", name)
    if "currency" not in given and "allowed_payment_method_types" not in given:
        message = "`currency` is required in `setup` mode when `allowed_payment_method_types` is not set."
        raise invalid(message, "currency", "parameter_missing")
    made |= {"currency": given.get("currency"), "payment_status": "no_payment_required", "_lines": [], "_data": {}}
    made["payment_method_collection"] = "always"


def submit(world: World, made: Object, card: Object, email: str | None, name: str | None = None) -> Object:
    """What the buyer types into the page. Returns the intent; raises a 402 when the card is refused."""
    if made["status"] != "open":
        raise invalid(f"This Checkout Session is {made['status']}.")
    email = (made["customer_details"] or {}).get("email") or email
    if not email or "@" not in email:
        raise invalid("Your email is incomplete.", "email", "email_invalid")
    method = buyers.from_number(world, card, {"email": email, "name": name})
    method["allow_redisplay"] = "limited"
    if card.get("bank_account"):
        method["type"] = "us_bank_account"
        method["_details"] = method.pop("card")
    made["_buyer"] = _details(email, name)
    intent = _intent(world, made, email, name)
    customer = made.get("_customer") or made["customer"]
    intent["customer"] = customer
    intents.confirm(world, intent, {"payment_method": method["id"]}, intents.Circumstances(buyer=True, use_sdk=True))
    finish(world, intent)
    return intent


def _intent(world: World, made: Object, email: str, name: str | None) -> Object:
    """The session's intent, made at the first attempt to pay; and the customer, if this session makes one."""
    data = made["_data"]
    wanted = data.get("setup_future_usage") or made["customer_creation"] == "always"
    if made["customer"] is None and wanted and not made.get("_customer"):
        found = buyers.create_customer(world, {"email": email, **({"name": name} if name else {})})
        made["_customer"] = found["id"]
    if made["setup_intent"]:
        return world.get("setup_intent", made["setup_intent"])
    if made["payment_intent"] is None:
        given = dict(data)
        if customer := made.get("_customer") or made["customer"]:
            given["customer"] = customer
        intent = intents.create_payment(world, {"amount": made["amount_total"], "currency": "usd", **given})
        intent["_session"] = made["id"]
        made["payment_intent"] = intent["id"]
    return world.get("payment_intent", made["payment_intent"])


def finish(world: World, intent: Object) -> None:
    """Completes the session of an intent that is through; does nothing for any other."""
    if not intent["_session"] or intent["status"] not in ("succeeded", "requires_capture", "processing"):
        return
    made = world.get("checkout.session", intent["_session"])
    if made["status"] != "open":
        return
    paid = made["mode"] == "payment" and intent["status"] == "succeeded"
    made |= {
        "status": "complete", "payment_status": "paid" if paid else made["payment_status"], "url": None,
        "customer": made.get("_customer") or made["customer"], "customer_details": made["_buyer"],
    }  # fmt: skip
    world.announce("checkout.session.completed", made)


def return_to(made: Object) -> str | None:
    """Where the buyer's browser goes when the session is complete."""
    if made["status"] != "complete":
        return None
    return str(made["success_url"]).replace("{CHECKOUT_SESSION_ID}", made["id"])


def expire(world: World, made: Object) -> Object:
    if made["status"] != "open":
        message = f"Only Checkout Sessions with a status of `open` can be expired. This one is `{made['status']}`."
        raise invalid(message)
    made |= {"status": "expired", "url": None}
    for kind in ("payment_intent", "setup_intent"):
        if made[kind] and (intent := world.get(kind, made[kind]))["status"] in intents.OPEN:
            intents.cancel(world, intent, "automatic" if kind == "payment_intent" else None, by_session=True)
    world.announce("checkout.session.expired", made)
    return made


def expire_due(world: World) -> None:
    for made in world.all("checkout.session", status="open"):
        if made["expires_at"] <= world.now():
            expire(world, made)
