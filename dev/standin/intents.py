"""PaymentIntents and SetupIntents: from creation over 3D Secure to the end, as a state machine.

The two differ in what success means (money, or a kept card) and share everything before it.
"""

from dataclasses import dataclass
from typing import Any

from . import buyers, cards, money, shapes
from .refusals import Refusal, invalid, wrong_state
from .world import World

Object = dict[str, Any]
MINIMUM, MAXIMUM = 50, 99_999_999
OPEN = ("requires_payment_method", "requires_confirmation", "requires_action", "requires_capture")
_CONFIRMING = "payment_method return_url use_stripe_sdk"
_DESCRIBING = (
    "metadata description receipt_email setup_future_usage shipping statement_descriptor statement_descriptor_suffix "
    "transfer_group capture_method"
)
_KINDS = "allowed_payment_method_types excluded_payment_method_types automatic_payment_methods"
# The parameters that each call heeds.
CONFIRM_TAKES = (
    f"{_CONFIRMING} off_session error_on_requires_action receipt_email setup_future_usage shipping capture_method"
)
PAYMENT_TAKES = f"{CONFIRM_TAKES} {_DESCRIBING} {_KINDS} amount currency customer confirm confirmation_method"
UPDATE_TAKES = f"{_DESCRIBING} amount currency customer payment_method"
SETUP_TAKES = f"{_CONFIRMING} {_KINDS} customer confirm metadata description usage"
_NEEDS_RETURN = (
    "This PaymentIntent is configured to accept payment methods that may redirect your customer off of your page: "
    "you must provide a `return_url`, or limit it with `allowed_payment_method_types`."
)


@dataclass(frozen=True)
class Circumstances:
    """Who confirms: with the buyer away (off_session), by Stripe.js or the hosted page (`buyer`), or by the server."""

    off_session: bool = False
    buyer: bool = False
    use_sdk: bool = False
    refuse_action: bool = False


def create_payment(world: World, given: Object) -> Object:
    _amount(given["amount"], given["currency"])
    _dependent(given)
    known = buyers.customer(world, given["customer"], "customer") if "customer" in given else None
    method = buyers.method(world, given["payment_method"]) if given.get("payment_method") else None
    if method:
        buyers.usable(method, known["id"] if known else None)
    made = shapes.payment_intent(world, given["amount"], given["currency"])
    made["customer"] = known["id"] if known else None
    buyers.merge(made, given, *_PAYMENT_FIELDS)
    if "allowed_payment_method_types" in given:
        _cards_only(given["allowed_payment_method_types"])
    made["automatic_payment_methods"] |= given.get("automatic_payment_methods", {})
    _confirmable(world, made, given, method)
    made = world.add("payment_intent", made)
    made["client_secret"] = f"{made['id']}_secret_{world.word()}"
    if method:
        made |= {"payment_method": method["id"], "status": "requires_confirmation"}
    world.announce("payment_intent.created", made)
    if given.get("confirm"):
        confirm(world, made, {**given, "payment_method": made["payment_method"]}, circumstances(given))
    return made


_PAYMENT_FIELDS = (*_DESCRIBING.split(), "confirmation_method", *_KINDS.split()[:2])


def _amount(amount: int, currency: str) -> None:
    if currency != "usd":
        raise invalid(f"Invalid currency: {currency}. The stand-in's account takes usd.", "currency")
    if amount < 1:
        raise invalid("This value must be greater than or equal to 1.", "amount", "parameter_invalid_integer")
    if amount < MINIMUM:
        raise invalid("Amount must be at least $0.50 usd", "amount", "amount_too_small")
    if amount > MAXIMUM:
        raise invalid("Amount must be no more than $999,999.99", "amount", "amount_too_large")


def _dependent(given: Object) -> None:
    """Parameters that only a confirmation takes."""
    for name in ("off_session", "return_url", "error_on_requires_action", "use_stripe_sdk", "mandate_data"):
        if name in given and not given.get("confirm"):
            raise invalid(f"You can only pass `{name}` when `confirm` is true.", name)


def _confirmable(world: World, made: Object, given: Object, method: Object | None) -> None:
    """What is created and confirmed in one call is not created when the confirmation makes no sense."""
    if given.get("confirm"):
        if method is None:
            message = "You must provide a `payment_method` when `confirm` is true."
            raise invalid(message, "payment_method", "parameter_missing")
        _coherent(world, made, given, circumstances(given))


def _cards_only(kinds: list[str]) -> None:
    if "card" not in kinds:
        raise invalid("The stand-in takes cards only.", "allowed_payment_method_types")


def circumstances(given: Object) -> Circumstances:
    """As the server's own parameters say it."""
    away = given.get("off_session") not in (None, False, "")
    return Circumstances(
        away, use_sdk=bool(given.get("use_stripe_sdk")), refuse_action=bool(given.get("error_on_requires_action"))
    )


def confirm(world: World, intent: Object, given: Object, how: Circumstances) -> Object:
    """Tries to pay or to keep the card. Raises a 402 when the issuer declines; the intent remembers why."""
    kind = intent["object"]
    if intent["status"] not in ("requires_payment_method", "requires_confirmation", "requires_action"):
        message = f"You cannot confirm this {_NAMES[kind]} because it has a status of {intent['status']}."
        if intent["status"] == "succeeded":
            message = f"You cannot confirm this {_NAMES[kind]} because it has already succeeded after being confirmed."
        raise wrong_state(kind, message, intent)
    if intent["_session"] and not how.buyer:
        raise invalid(f"You cannot confirm the {_NAMES[kind]} of a Checkout Session.", code=f"{kind}_unexpected_state")
    method = _chosen(world, intent, given)
    if method is None:
        message = f"You cannot confirm this {_NAMES[kind]} because it's missing a payment method."
        raise wrong_state(kind, message, intent)
    _coherent(world, intent, given, how)
    buyers.merge(intent, given, "receipt_email", "setup_future_usage", "shipping", "capture_method")
    intent |= {"payment_method": method["id"], "next_action": None, "_return_url": given.get("return_url")}
    card = cards.CARDS[method["_card"]]
    saving = kind == "setup_intent"
    away = how.off_session and not saving
    if cards.asks(card, set_up=method["_set_up"], off_session=away):
        if away:
            return decline(world, intent, method, "authentication_required")
        if how.refuse_action:
            message = "This payment required authentication, but `error_on_requires_action` was set."
            raise _failed(world, intent, method, {"message": message, "code": "authentication_required"})
        return _ask(world, intent, how)
    return _decide(world, intent, method)


_NAMES = {"payment_intent": "PaymentIntent", "setup_intent": "SetupIntent"}


def _coherent(world: World, intent: Object, given: Object, how: Circumstances) -> None:
    if how.off_session and (given.get("setup_future_usage") or intent.get("setup_future_usage")):
        message = "You cannot confirm with `off_session=true` when `setup_future_usage` is also set."
        raise invalid(message, "off_session")
    automatic = intent["automatic_payment_methods"] or {}
    redirects = intent["allowed_payment_method_types"] is None and automatic.get("allow_redirects") != "never"
    away = how.off_session and not world.redirecting
    if redirects and not (away or how.buyer or how.use_sdk or given.get("return_url") or how.refuse_action):
        raise invalid(_NEEDS_RETURN, "return_url")


def _chosen(world: World, intent: Object, given: Object) -> Object | None:
    which = given.get("payment_method") or intent["payment_method"]
    if which is None:
        return None
    method = buyers.method(world, which)
    buyers.usable(method, intent["customer"])
    return method


def _ask(world: World, intent: Object, how: Circumstances) -> Object:
    """The buyer must authenticate: `authenticate` goes on."""
    address = f"{world.base}/3ds/{intent['id']}?secret={intent['client_secret']}"
    redirected = intent["_return_url"] and not how.use_sdk
    intent["status"] = "requires_action"
    if redirected:
        to = {"return_url": intent["_return_url"], "url": address}
        intent["next_action"] = {"redirect_to_url": to, "type": "redirect_to_url"}
    else:
        how_to = {"type": "three_d_secure_redirect", "stripe_js": address, "source": f"src_{world.word()}"}
        intent["next_action"] = {"type": "use_stripe_sdk", "use_stripe_sdk": how_to}
    world.announce(f"{intent['object']}.requires_action", intent)
    return intent


def authenticate(world: World, intent: Object, passed: bool) -> Object:
    """The buyer has answered the bank. Raises a 402 when it went wrong or the issuer declines after it."""
    if intent["status"] != "requires_action":
        raise wrong_state(intent["object"], f"Nothing is to be authenticated: {intent['status']}.", intent)
    method = world.get("payment_method", intent["payment_method"])
    intent["next_action"] = None
    if passed:
        return _decide(world, intent, method, authenticated=True)
    message = (
        "We are unable to authenticate your payment method. Please choose a different payment method and try again."
    )
    code = "payment_intent_authentication_failure"
    if intent["object"] == "setup_intent":
        code = "setup_intent_authentication_failure"
    raise _failed(world, intent, method, {"message": message, "code": code}, kind="invalid_request_error")


def _decide(world: World, intent: Object, method: Object, authenticated: bool = False) -> Object:
    card = cards.CARDS[method["_card"]]
    saving = intent["object"] == "setup_intent"
    if declined := card.save if saving else card.decline:
        return decline(world, intent, method, declined)
    if saving:
        return _kept(world, intent, method)
    if "card" not in method:
        intent |= {"status": "processing", "last_payment_error": None}
        world.announce("payment_intent.processing", intent)
        return intent
    return _paid(world, intent, method, authenticated)


def arrive(world: World, intent: Object, paid: bool) -> Object:
    """The bank answers about a bank account, days after the page was completed. Raises a 402 when it does not pay."""
    if intent["status"] != "processing":
        raise wrong_state("payment_intent", f"This PaymentIntent has a status of {intent['status']}.", intent)
    method = buyers.method(world, intent["payment_method"])
    return _paid(world, intent, method, False) if paid else decline(world, intent, method, "insufficient_funds")


def decline(world: World, intent: Object, method: Object, why: str) -> Object:
    charge = None
    if intent["object"] == "payment_intent":
        charge = money.declined(world, intent, method, why)
        intent["latest_charge"] = charge["id"]
    error = {**cards.decline_error(why), **({"charge": charge["id"]} if charge else {})}
    raise _failed(world, intent, method, error)


def _failed(world: World, intent: Object, method: Object, error: Object, kind: str = "card_error") -> Refusal:
    """The attempt is over, the intent is open for another card, and the error names both."""
    saving = intent["object"] == "setup_intent"
    last = {"doc_url": f"https://stripe.com/docs/error-codes/{error['code'].replace('_', '-')}", "type": kind, **error}
    last["payment_method"] = {name: value for name, value in method.items() if not name.startswith("_")}
    intent |= {"payment_method": None, "next_action": None, "status": "requires_payment_method"}
    intent["last_setup_error" if saving else "last_payment_error"] = last
    world.announce("setup_intent.setup_failed" if saving else "payment_intent.payment_failed", intent)
    shown = {name: value for name, value in last.items() if name not in ("type", "message")}
    return Refusal(402, error["message"], kind=kind, **shown, **{intent["object"]: intent})


def _kept(world: World, intent: Object, method: Object) -> Object:
    intent |= {"status": "succeeded", "last_setup_error": None}
    method["_set_up"] = True
    if intent["customer"]:
        buyers.keep(world, method, intent["customer"])
    world.announce("setup_intent.succeeded", intent)
    return intent


def _paid(world: World, intent: Object, method: Object, authenticated: bool) -> Object:
    charge = money.charge(world, intent, method, intent["amount"])
    if authenticated:
        charge["payment_method_details"]["card"]["three_d_secure"] = {
            "authentication_flow": "challenge", "electronic_commerce_indicator": "05", "exemption_indicator": None,
            "result": "authenticated", "result_reason": None, "transaction_id": world.word(), "version": "2.2.0",
        }  # fmt: skip
    intent |= {"latest_charge": charge["id"], "last_payment_error": None}
    if intent["setup_future_usage"] and intent["customer"]:
        method["_set_up"] = method["_set_up"] or intent["setup_future_usage"] == "off_session"
        buyers.keep(world, method, intent["customer"])
    elif method["customer"] is None:
        method["_spent"] = True
    if intent["capture_method"] == "manual":
        intent |= {"status": "requires_capture", "amount_capturable": intent["amount"]}
        world.announce("charge.succeeded", charge)
        world.announce("payment_intent.amount_capturable_updated", intent)
        return intent
    return _take(world, intent, charge, intent["amount"])


def _take(world: World, intent: Object, charge: Object, amount: int) -> Object:
    held = charge["status"] == "succeeded" and intent["status"] == "requires_capture"
    money.capture(world, charge, amount, at_once=intent["capture_method"] == "automatic" or held)
    intent |= {"status": "succeeded", "amount_received": amount, "amount_capturable": 0}
    world.announce("charge.captured" if held else "charge.succeeded", charge)
    world.announce("payment_intent.succeeded", intent)
    return intent


def capture(world: World, intent: Object, amount: int | None) -> Object:
    """Takes some or all of what is held; the rest is released."""
    if intent["status"] != "requires_capture":
        message = f"This PaymentIntent could not be captured because it has a status of {intent['status']}."
        raise wrong_state("payment_intent", message, intent)
    amount = intent["amount_capturable"] if amount is None else amount
    if amount > intent["amount_capturable"]:
        raise invalid("The amount to capture is more than what is capturable.", "amount_to_capture", "amount_too_large")
    if amount < 1:
        raise invalid("This value must be greater than or equal to 1.", "amount_to_capture")
    return _take(world, intent, world.get("charge", intent["latest_charge"]), amount)


def cancel(world: World, intent: Object, reason: str | None, *, by_session: bool = False) -> Object:
    kind = intent["object"]
    if intent["_session"] and not by_session:
        message = f"You cannot cancel the {_NAMES[kind]} of a Checkout Session. Expire the Checkout Session instead."
        raise wrong_state(kind, message, intent)
    if intent["status"] not in OPEN:
        message = f"You cannot cancel this {_NAMES[kind]} because it has a status of {intent['status']}."
        raise wrong_state(kind, message, intent)
    intent |= {"status": "canceled", "cancellation_reason": reason, "next_action": None}
    if kind == "payment_intent":
        intent |= {"canceled_at": world.now(), "amount_capturable": 0}
        money.release(world, intent)
    world.announce(f"{kind}.canceled", intent)
    return intent


def update_payment(world: World, intent: Object, given: Object) -> Object:
    if intent["status"] in ("succeeded", "canceled") and set(given) - {"metadata", "description", "receipt_email"}:
        message = f"This PaymentIntent's parameters could not be updated because it is {intent['status']}."
        raise wrong_state("payment_intent", message, intent)
    if "amount" in given or "currency" in given:
        _amount(given.get("amount", intent["amount"]), given.get("currency", intent["currency"]))
    if "customer" in given:
        intent["customer"] = buyers.customer(world, given["customer"], "customer")["id"]
    if given.get("payment_method"):
        intent["payment_method"] = method = given["payment_method"]
        found = buyers.method(world, method)
        buyers.usable(found, intent["customer"])
        intent |= {"payment_method": found["id"], "status": "requires_confirmation"}
    buyers.merge(intent, given, "amount", "metadata", "description", "receipt_email", "setup_future_usage", "shipping",
                 "capture_method", "transfer_group", "statement_descriptor", "statement_descriptor_suffix")  # fmt: skip
    return intent


def create_setup(world: World, given: Object) -> Object:
    for name in ("return_url", "use_stripe_sdk", "mandate_data"):
        if name in given and not given.get("confirm"):
            raise invalid(f"You can only pass `{name}` when `confirm` is true.", name)
    known = buyers.customer(world, given["customer"], "customer") if "customer" in given else None
    method = buyers.method(world, given["payment_method"]) if given.get("payment_method") else None
    if method:
        buyers.usable(method, known["id"] if known else None)
    made = shapes.setup_intent(world)
    made["customer"] = known["id"] if known else None
    buyers.merge(made, given, "metadata", "description", "usage", "allowed_payment_method_types",
                 "excluded_payment_method_types")  # fmt: skip
    made["automatic_payment_methods"] |= given.get("automatic_payment_methods", {})
    _confirmable(world, made, given, method)
    made = world.add("setup_intent", made)
    made["client_secret"] = f"{made['id']}_secret_{world.word()}"
    if method:
        made |= {"payment_method": method["id"], "status": "requires_confirmation"}
    world.announce("setup_intent.created", made)
    if given.get("confirm"):
        confirm(world, made, {**given, "payment_method": made["payment_method"]}, circumstances(given))
    return made
