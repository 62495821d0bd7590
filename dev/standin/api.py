"""The calls the stand-in answers, by the templates of the SDK: one small function each."""

from collections.abc import Callable
from typing import Any

from . import buyers, checkout, intents, money, view
from .refusals import Refusal, invalid
from .world import World

Object = dict[str, Any]
Call = Callable[[World, list[str], Object], Object]
CALLS: dict[tuple[str, str], Call] = {}
# What of the SDK's parameters a call here heeds. Any other is refused: nothing that was asked for is left out silently.
TAKES: dict[tuple[str, str], set[str]] = {}
_PAGES = {"created", "limit", "starting_after", "ending_before"}


def call(method: str, template: str, takes: str = "") -> Callable[[Call], Call]:
    def note(function: Call) -> Call:
        CALLS[method, template] = function
        TAKES[method, template] = {"expand", *takes.split()}
        return function

    return note


def _reads(template: str, kind: str, *filters: str) -> None:
    """Retrieve and list, the two that all objects share. A filter is a parameter named as the field it compares."""
    one = call("GET", f"{template}/{{{_PARTS[kind]}}}", "client_secret")
    one(lambda world, ids, given: world.get(kind, ids[0]))

    def several(world: World, ids: list[str], given: Object) -> Object:
        match = {name: given[name] for name in filters if name in given}
        return view.listing(world.all(kind, **match), given, template)

    call("GET", template, " ".join({*_PAGES, *filters}))(several)


_PARTS = {
    "payment_intent": "intent", "setup_intent": "intent", "charge": "charge", "refund": "refund", "event": "id",
    "dispute": "dispute", "balance_transaction": "id", "customer": "customer", "payment_method": "payment_method",
    "checkout.session": "session", "radar.early_fraud_warning": "early_fraud_warning",
    "webhook_endpoint": "webhook_endpoint",
}  # fmt: skip
_reads("/v1/payment_intents", "payment_intent", "customer")
_reads("/v1/setup_intents", "setup_intent", "customer", "payment_method")
_reads("/v1/charges", "charge", "customer", "payment_intent", "transfer_group")
_reads("/v1/refunds", "refund", "charge", "payment_intent")
_reads("/v1/disputes", "dispute", "charge", "payment_intent")
_reads("/v1/balance_transactions", "balance_transaction", "source", "type", "currency")
_reads("/v1/checkout/sessions", "checkout.session", "customer", "payment_intent", "status")
_reads("/v1/radar/early_fraud_warnings", "radar.early_fraud_warning", "charge", "payment_intent")
_reads("/v1/payment_methods", "payment_method", "customer", "type")


@call("GET", "/v1/balance")
def balance(world: World, ids: list[str], given: Object) -> Object:
    return money.balance(world)


# Customers and their cards.


@call(
    "POST",
    "/v1/customers",
    "address description email name phone shipping metadata preferred_locales payment_method invoice_settings",
)
def create_customer(world: World, ids: list[str], given: Object) -> Object:
    return buyers.create_customer(world, given)


@call("GET", "/v1/customers", "email created limit starting_after ending_before")
def customers(world: World, ids: list[str], given: Object) -> Object:
    rows = [row for row in world.all("customer") if not row.get("deleted")]
    return view.listing([r for r in rows if given.get("email") in (None, r["email"])], given, "/v1/customers")


@call("GET", "/v1/customers/{customer}")
def customer(world: World, ids: list[str], given: Object) -> Object:
    found = world.get("customer", ids[0])
    return {"id": ids[0], "object": "customer", "deleted": True} if found.get("deleted") else found


@call(
    "POST",
    "/v1/customers/{customer}",
    "address description email name phone shipping metadata preferred_locales invoice_settings",
)
def update_customer(world: World, ids: list[str], given: Object) -> Object:
    return buyers.update_customer(world, buyers.customer(world, ids[0]), given)


@call("DELETE", "/v1/customers/{customer}")
def delete_customer(world: World, ids: list[str], given: Object) -> Object:
    return buyers.delete_customer(world, buyers.customer(world, ids[0]))


@call("GET", "/v1/customers/{customer}/payment_methods", "type allow_redisplay limit starting_after ending_before")
def cards_of_customer(world: World, ids: list[str], given: Object) -> Object:
    match = {"customer": buyers.customer(world, ids[0])["id"]}
    match |= {name: given[name] for name in ("type", "allow_redisplay") if name in given}
    return view.listing(world.all("payment_method", **match), given, f"/v1/customers/{ids[0]}/payment_methods")


@call("GET", "/v1/customers/{customer}/payment_methods/{payment_method}")
def card_of_customer(world: World, ids: list[str], given: Object) -> Object:
    found = world.get("payment_method", ids[1])
    buyers.usable(found, ids[0])
    return found


@call("POST", "/v1/payment_methods", "type card billing_details metadata")
def create_method(world: World, ids: list[str], given: Object) -> Object:
    return buyers.create_method(world, given)


@call("POST", "/v1/payment_methods/{payment_method}", "card billing_details metadata allow_redisplay")
def update_method(world: World, ids: list[str], given: Object) -> Object:
    return buyers.update_method(world, world.get("payment_method", ids[0]), given)


@call("POST", "/v1/payment_methods/{payment_method}/attach", "customer")
def attach(world: World, ids: list[str], given: Object) -> Object:
    if "customer" not in given:
        raise invalid("Missing required param: customer.", "customer", "parameter_missing")
    to = buyers.customer(world, given["customer"], "customer")
    return buyers.attach(world, buyers.method(world, ids[0], "id"), to)


@call("POST", "/v1/payment_methods/{payment_method}/detach")
def detach(world: World, ids: list[str], given: Object) -> Object:
    return buyers.detach(world, world.get("payment_method", ids[0]))


# Intents.


@call("POST", "/v1/payment_intents", intents.PAYMENT_TAKES)
def create_payment(world: World, ids: list[str], given: Object) -> Object:
    return intents.create_payment(world, given)


@call("POST", "/v1/payment_intents/{intent}", intents.UPDATE_TAKES)
def update_payment(world: World, ids: list[str], given: Object) -> Object:
    return intents.update_payment(world, world.get("payment_intent", ids[0]), given)


@call("POST", "/v1/payment_intents/{intent}/confirm", intents.CONFIRM_TAKES)
def confirm_payment(world: World, ids: list[str], given: Object) -> Object:
    return intents.confirm(world, world.get("payment_intent", ids[0]), given, intents.circumstances(given))


@call("POST", "/v1/payment_intents/{intent}/capture", "amount_to_capture")
def capture_payment(world: World, ids: list[str], given: Object) -> Object:
    return intents.capture(world, world.get("payment_intent", ids[0]), given.get("amount_to_capture"))


@call("POST", "/v1/payment_intents/{intent}/cancel", "cancellation_reason")
def cancel_payment(world: World, ids: list[str], given: Object) -> Object:
    return intents.cancel(world, world.get("payment_intent", ids[0]), given.get("cancellation_reason"))


@call("POST", "/v1/setup_intents", intents.SETUP_TAKES)
def create_setup(world: World, ids: list[str], given: Object) -> Object:
    return intents.create_setup(world, given)


@call("POST", "/v1/setup_intents/{intent}", "metadata description")
def update_setup(world: World, ids: list[str], given: Object) -> Object:
    found = world.get("setup_intent", ids[0])
    buyers.merge(found, given, "metadata", "description")
    return found


@call("POST", "/v1/setup_intents/{intent}/confirm", intents.CONFIRM_TAKES)
def confirm_setup(world: World, ids: list[str], given: Object) -> Object:
    return intents.confirm(world, world.get("setup_intent", ids[0]), given, intents.circumstances(given))


@call("POST", "/v1/setup_intents/{intent}/cancel", "cancellation_reason")
def cancel_setup(world: World, ids: list[str], given: Object) -> Object:
    return intents.cancel(world, world.get("setup_intent", ids[0]), given.get("cancellation_reason"))


# Money.


@call("POST", "/v1/charges/{charge}", "metadata description receipt_email")
def update_charge(world: World, ids: list[str], given: Object) -> Object:
    found = world.get("charge", ids[0])
    buyers.merge(found, given, "metadata", "description", "receipt_email")
    world.announce("charge.updated", found)
    return found


@call("POST", "/v1/refunds", "charge payment_intent amount metadata reason")
def create_refund(world: World, ids: list[str], given: Object) -> Object:
    if ("charge" in given) == ("payment_intent" in given):
        raise invalid("One of the following params should be provided: payment_intent or charge.", "payment_intent")
    if "charge" in given:
        charged = world.get("charge", given["charge"], "charge")
    else:
        intent = world.get("payment_intent", given["payment_intent"], "payment_intent")
        if intent["status"] != "succeeded":
            message = f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
            raise invalid(message, code="payment_intent_unexpected_state")
        charged = world.get("charge", intent["latest_charge"])
    if charged["status"] != "succeeded":
        raise invalid(f"Charge {charged['id']} did not succeed, so it cannot be refunded.", "charge")
    fields = {"metadata": buyers.merged({}, given.get("metadata") or {}), "reason": given.get("reason")}
    return money.refund(world, charged, given.get("amount"), fields)


@call("POST", "/v1/refunds/{refund}", "metadata")
def update_refund(world: World, ids: list[str], given: Object) -> Object:
    found = world.get("refund", ids[0])
    buyers.merge(found, given, "metadata")
    world.announce("refund.updated", found)
    return found


@call("POST", "/v1/disputes/{dispute}", "evidence metadata submit")
def update_dispute(world: World, ids: list[str], given: Object) -> Object:
    found = world.get("dispute", ids[0])
    buyers.merge(found, given, "metadata")
    evidence = {name: value or None for name, value in given.get("evidence", {}).items()}
    if evidence or given.get("submit"):
        if found["status"] in money.CLOSED:
            raise invalid("This dispute is already closed.", code="dispute_already_closed")
        found["evidence"] |= evidence
        found["evidence_details"]["has_evidence"] = True
        if given.get("submit", True):
            money.submit_evidence(world, found)
    return found


@call("POST", "/v1/disputes/{dispute}/close")
def close_dispute(world: World, ids: list[str], given: Object) -> Object:
    found = world.get("dispute", ids[0])
    money.close_dispute(world, found, won=False)
    return found


# Checkout.


@call("POST", "/v1/checkout/sessions", checkout.TAKES)
def create_session(world: World, ids: list[str], given: Object) -> Object:
    return checkout.create(world, given)


@call("POST", "/v1/checkout/sessions/{session}", "metadata")
def update_session(world: World, ids: list[str], given: Object) -> Object:
    found = world.get("checkout.session", ids[0])
    buyers.merge(found, given, "metadata")
    return found


@call("POST", "/v1/checkout/sessions/{session}/expire")
def expire_session(world: World, ids: list[str], given: Object) -> Object:
    return checkout.expire(world, world.get("checkout.session", ids[0]))


@call("GET", "/v1/checkout/sessions/{session}/line_items")
def line_items(world: World, ids: list[str], given: Object) -> Object:
    lines = world.get("checkout.session", ids[0])["_lines"]
    return view.page(lines, f"/v1/checkout/sessions/{ids[0]}/line_items")


# Events.


@call("GET", "/v1/events", "type types delivery_success created limit starting_after ending_before")
def events(world: World, ids: list[str], given: Object) -> Object:
    rows = world.all("event")
    if "type" in given and "types" in given:
        raise invalid("You may only specify one of these parameters: type, types.", "types")
    kinds = given.get("types") or ([given["type"]] if "type" in given else None)
    if kinds:
        rows = [row for row in rows if any(_matches(row["type"], kind) for kind in kinds)]
    if "delivery_success" in given:
        rows = [row for row in rows if (row["pending_webhooks"] == 0) == given["delivery_success"]]
    return view.listing(rows, given, "/v1/events")


@call("GET", "/v1/events/{id}")
def event(world: World, ids: list[str], given: Object) -> Object:
    return world.get("event", ids[0])


def _matches(kind: str, wanted: str) -> bool:
    return wanted in ("*", kind) or (wanted.endswith(".*") and kind.startswith(wanted[:-1]))


def answer(world: World, route: tuple[str, str], ids: list[str], given: Object) -> Object:
    """Does the call and returns the body of a success. Raises Refusal for every other answer."""
    if route not in CALLS:
        message = f"{route[0]} {route[1]} is a call of the processor that its stand-in does not do."
        raise Refusal(501, message, kind="api_error", keep=False)
    if ignored := set(given) - TAKES[route]:
        message = f"The stand-in does not do the parameter {min(ignored)} of {route[0]} {route[1]}."
        raise Refusal(501, message, kind="api_error", param=min(ignored), keep=False)
    expand = given.pop("expand", [])
    view.check(*route, expand)
    return view.show(world, CALLS[route](world, ids, given), expand)
