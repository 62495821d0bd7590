"""What the publishable key may do: the calls of the browser's script, each with the secret of its own intent."""

from typing import Any

from . import buyers, intents, view
from .refusals import Refusal, invalid, missing
from .world import World

Object = dict[str, Any]
_SHOWN = (
    "id", "object", "amount", "canceled_at", "cancellation_reason", "capture_method", "client_secret",
    "confirmation_method", "created", "currency", "description", "last_payment_error", "last_setup_error", "livemode",
    "next_action", "payment_method", "payment_method_types", "receipt_email", "setup_future_usage", "shipping",
    "status", "usage",
)  # fmt: skip
_TAKEN = {
    "client_secret", "payment_method", "payment_method_data", "return_url", "use_stripe_sdk", "receipt_email",
    "setup_future_usage", "shipping", "expected_payment_method_type",
}  # fmt: skip


def answer(world: World, method: str, path: str, given: Object) -> Object:
    """Raises a 403 for everything that needs the secret key."""
    parts = path.strip("/").split("/")
    if (method, path) == ("POST", "/v1/payment_methods"):
        if unknown := set(given) - {"type", "card", "billing_details"}:
            raise invalid(f"Received unknown parameter: {min(unknown)}", min(unknown), "parameter_unknown")
        return view.show(world, _typed(world, given), [])
    kind = {"payment_intents": "payment_intent", "setup_intents": "setup_intent"}.get(parts[1] if parts[1:] else "")
    reads = method == "GET" and len(parts) == 3
    confirms = method == "POST" and len(parts) == 4 and parts[3] == "confirm"
    if kind is None or not (reads or confirms):
        raise Refusal(403, "This API call cannot be made with a publishable API key. Please use a secret API key.")
    intent = world.get(kind, parts[2], "intent")
    if given.get("client_secret") != intent["client_secret"]:
        raise missing(kind, parts[2], "intent")
    if confirms:
        _confirm(world, intent, given)
    return {name: value for name, value in view.show(world, intent, []).items() if name in _SHOWN}


def _confirm(world: World, intent: Object, given: Object) -> None:
    if unknown := set(given) - _TAKEN:
        raise invalid(f"Received unknown parameter: {min(unknown)}", min(unknown), "parameter_unknown")
    if given.get("payment_method") in (None, "") and "payment_method_data" in given:
        given["payment_method"] = _typed(world, given["payment_method_data"])["id"]
    wanted = {name: given[name] for name in ("payment_method", "return_url", "receipt_email") if name in given}
    how = intents.Circumstances(buyer=True, use_sdk=given.get("use_stripe_sdk") == "true")
    intents.confirm(world, intent, wanted, how)


def _typed(world: World, given: Object) -> Object:
    card = given.get("card")
    if given.get("type") != "card" or not isinstance(card, dict) or not card.get("number"):
        raise Refusal(402, "Your card number is incomplete.", kind="card_error", code="incomplete_number")
    try:
        return buyers.from_number(world, card, given.get("billing_details"))
    except (KeyError, ValueError) as error:
        raise invalid("Your card's expiration date is incomplete.", "exp_month") from error
