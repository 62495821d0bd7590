"""Customers and the cards they keep."""

from typing import Any

from . import cards, shapes
from .refusals import Refusal, invalid, missing
from .world import World

Object = dict[str, Any]
_REUSED = (
    "This PaymentMethod was previously used without being attached to a Customer or was detached from a Customer, "
    "and may not be used again."
)


def merge(subject: Object, given: Object, *names: str) -> None:
    """Writes these parameters into the object; an empty string unsets, and metadata is merged key by key."""
    for name in names:
        if name not in given:
            continue
        if name == "metadata":
            subject["metadata"] = merged(subject["metadata"], given["metadata"])
        else:
            subject[name] = None if given[name] == "" else given[name]


def merged(before: Object, given: Any) -> Object:
    if given == "":
        return {}
    if len(given) > 50 or any(len(k) > 40 or len(v) > 500 for k, v in given.items()):
        raise invalid("Metadata has at most 50 keys of 40 characters with values of 500 characters.", "metadata")
    return {name: value for name, value in {**before, **given}.items() if value != ""}


def customer(world: World, which: str, param: str | None = None) -> Object:
    """Raises as for one that never was when it is deleted, unless it is looked at by its own address."""
    found = world.get("customer", which, param)
    if found.get("deleted"):
        raise missing("customer", which, param)
    return found


_FIELDS = ("address", "description", "email", "name", "phone", "shipping", "metadata", "preferred_locales")


def create_customer(world: World, given: Object) -> Object:
    _email(given)
    made = world.add("customer", shapes.customer(world))
    try:
        merge(made, given, *_FIELDS)
        if "payment_method" in given:
            attach(world, method(world, given["payment_method"]), made)
        _settings(world, made, given)
    except Refusal:
        del world.tables["customer"][made["id"]]
        raise
    world.announce("customer.created", made)
    return made


def update_customer(world: World, made: Object, given: Object) -> Object:
    _email(given)
    before = {name: made[name] for name in _FIELDS if name in given}
    merge(made, given, *_FIELDS)
    _settings(world, made, given)
    world.announce("customer.updated", made, before)
    return made


def _email(given: Object) -> None:
    if given.get("email") and "@" not in given["email"]:
        raise invalid(f"Invalid email address: {given['email']}", "email", "email_invalid")


def _settings(world: World, made: Object, given: Object) -> None:
    chosen = given.get("invoice_settings", {}).get("default_payment_method")
    if chosen is not None:
        found = method(world, chosen) if chosen else None
        if found and found["customer"] != made["id"]:
            raise invalid("The customer does not have a payment method with that ID.", "invoice_settings")
        made["invoice_settings"]["default_payment_method"] = found["id"] if found else None


def delete_customer(world: World, made: Object) -> Object:
    for kept in world.all("payment_method", customer=made["id"]):
        detach(world, kept)
    made["deleted"] = True
    world.announce("customer.deleted", made)
    return {"id": made["id"], "object": "customer", "deleted": True}


def create_method(world: World, given: Object) -> Object:
    """From a card number, as Stripe.js and the hosted pages send it."""
    if given.get("type", "card") != "card" or not isinstance(given.get("card"), dict):
        raise invalid("The stand-in keeps cards only: send type=card and card[number].", "type")
    if "token" in given["card"]:
        raise invalid("Tokens are not known here; use a test PaymentMethod such as pm_card_visa.", "card[token]")
    return from_number(world, given["card"], given.get("billing_details"), given.get("metadata") or {})


def from_number(world: World, given: Object, details: Object | None = None, metadata: Object | None = None) -> Object:
    """Raises a 402 for a wrong number, a past date or a short security code."""
    card = cards.find(str(given["number"]))
    month, year = int(given["exp_month"]), int(given["exp_year"])
    year += 2000 if year < 100 else 0
    today = world.today()
    if not 1 <= month <= 12:
        raise Refusal(402, "Your card's expiration month is invalid.", kind="card_error", code="invalid_expiry_month",
                      param="exp_month")  # fmt: skip
    if not (today.year, today.month) <= (year, month) <= (today.year + 50, 12):
        raise Refusal(402, "Your card's expiration year is invalid.", kind="card_error", code="invalid_expiry_year",
                      param="exp_year")  # fmt: skip
    cvc = str(given.get("cvc", "123"))
    if not (cvc.isdigit() and len(cvc) in (3, 4)):
        raise Refusal(402, "Your card's security code is invalid.", kind="card_error", code="invalid_cvc", param="cvc")
    made = world.add("payment_method", shapes.payment_method(world, card, (month, year), details))
    made["metadata"] = merged({}, metadata or {})
    return made


def method(world: World, which: str, param: str = "payment_method") -> Object:
    """A stored one, or a fresh one for a test token. Tokens give a new PaymentMethod each time."""
    if which in cards.TOKENS:
        card = cards.CARDS[cards.TOKENS[which]]
        expiry = (12, world.today().year + 4)
        return world.add("payment_method", shapes.payment_method(world, card, expiry, None))
    return world.get("payment_method", which, param)


def usable(kept: Object, customer: str | None) -> None:
    """Raises when this card cannot be charged for this customer."""
    if kept["customer"] is not None and kept["customer"] != customer:
        if customer is None:
            message = (
                f"The PaymentMethod {kept['id']} belongs to the Customer {kept['customer']}. "
                "Please include the Customer in the `customer` parameter."
            )
            raise invalid(message, "payment_method")
        message = f"The customer does not have a payment method with the ID {kept['id']}. It must be attached to it."
        raise invalid(message, "payment_method")
    if kept["customer"] is None and kept["_spent"]:
        raise invalid(_REUSED, "payment_method")


def attach(world: World, kept: Object, to: Object) -> Object:
    """The issuer is asked, and may decline: a 402."""
    if kept["customer"] == to["id"]:
        return kept
    if kept["customer"] is not None:
        raise invalid("The payment method you provided has already been attached to a customer.", "payment_method")
    if kept["_spent"]:
        raise invalid(_REUSED, "payment_method")
    if decline := cards.CARDS[kept["_card"]].save:
        raise Refusal(402, kind="card_error", payment_method=kept, **cards.decline_error(decline))  # type: ignore[arg-type]
    keep(world, kept, to["id"])
    return kept


def keep(world: World, kept: Object, customer: str) -> None:
    """Bound to the customer without asking again, as after a setup or a payment that succeeded."""
    if kept["customer"] is None:
        kept["customer"] = customer
        kept.get("card", kept.get("_details"))["checks"]["cvc_check"] = "pass"
        world.announce("payment_method.attached", kept)


def detach(world: World, kept: Object) -> Object:
    if kept["customer"] is None:
        message = "The payment method you provided is not attached to a customer so detachment is impossible."
        raise invalid(message, "payment_method")
    before = {"customer": kept["customer"]}
    owner = world.tables["customer"][kept["customer"]]
    if owner["invoice_settings"]["default_payment_method"] == kept["id"]:
        owner["invoice_settings"]["default_payment_method"] = None
    kept |= {"customer": None, "_spent": True}
    world.announce("payment_method.detached", kept, before)
    return kept


def update_method(world: World, kept: Object, given: Object) -> Object:
    merge(kept, given, "metadata", "allow_redisplay")
    if "billing_details" in given:
        kept["billing_details"] = shapes.billing({**kept["billing_details"], **(given["billing_details"] or {})})
    for name in ("exp_month", "exp_year"):
        if isinstance(given.get("card"), dict) and name in given["card"]:
            kept["card"][name] = given["card"][name]
    world.announce("payment_method.updated", kept)
    return kept
