"""The stand-in's own controls, under /_fake/: JSON in, JSON out. They do what buyers, banks and time do."""

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import buyers, cards, checkout, intents, money, spec
from .refusals import Refusal, invalid
from .webhooks import MODES, Endpoint
from .world import plain

if TYPE_CHECKING:
    from .server import Standin

Object = dict[str, Any]
Control = Callable[["Standin", list[str], Object], Any]
_CONTROLS: list[tuple[str, re.Pattern[str], Control]] = []


def _control(method: str, path: str) -> Callable[[Control], Control]:
    def note(function: Control) -> Control:
        _CONTROLS.append((method, re.compile(f"/_fake/{path}"), function))
        return function

    return note


def answer(standin: "Standin", method: str, path: str, body: str) -> tuple[int, Any]:
    """Does a control. A mistake in it is a 400 that says which."""
    matches = [(pattern.fullmatch(path), call) for kind, pattern, call in _CONTROLS if kind == method]
    found = [(match, call) for match, call in matches if match]
    if not found:
        return 404, {"error": f"No such control: {method} {path}"}
    match, call = found[0]
    try:
        given = json.loads(body) if body.strip() else {}
        if call in _UNLOCKED:
            return 200, call(standin, list(match.groups()), given)
        with standin.world.lock:
            standin.world.catch_up()
            done = call(standin, list(match.groups()), given)
            standin.world.catch_up()
            return 200, plain(done, standin.world.now())
    except Refusal as refusal:
        with standin.world.lock:
            return 400, plain({"error": refusal.error}, standin.world.now())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return 400, {"error": f"{type(error).__name__}: {error}"}


# Webhooks.


@_control("GET", "webhooks")
def webhooks(standin: "Standin", ids: list[str], given: Object) -> Object:
    hooks = standin.hooks
    return {
        "mode": hooks.mode, "held": len(hooks.held), "held_events": [(e["id"], e["type"]) for e in hooks.held],
        "pending": hooks.waiting(), "delivered": hooks.delivered, "failed": hooks.failed, "dropped": hooks.dropped,
        "endpoints": [{"url": endpoint.url, "secret": endpoint.secret} for endpoint in hooks.endpoints],
    }  # fmt: skip


@_control("POST", "webhooks")
def set_mode(standin: "Standin", ids: list[str], given: Object) -> Object:
    if given["mode"] not in MODES:
        raise ValueError(f"mode is one of {MODES}")
    standin.hooks.mode = given["mode"]
    return webhooks(standin, ids, given)


@_control("POST", "webhooks/configure")
def configure(standin: "Standin", ids: list[str], given: Object) -> Object:
    """One endpoint replaces all; `add` keeps the others; no `url` leaves none."""
    made = [Endpoint(given["url"], given["secret"], given.get("events"))] if given.get("url") else []
    standin.hooks.endpoints = [*(standin.hooks.endpoints if given.get("add") else []), *made]
    return webhooks(standin, ids, given)


@_control("POST", "webhooks/release")
def release(standin: "Standin", ids: list[str], given: Object) -> Object:
    order = given.get("order", "fifo")
    if order not in ("fifo", "reverse", "shuffle"):
        raise ValueError("order is fifo, reverse or shuffle")
    with standin.world.lock:
        standin.world.catch_up()
        sent = standin.hooks.release(order, int(given.get("seed", 0)), int(given.get("duplicate", 0)))
    done = standin.hooks.flush(float(given.get("wait", 0)))
    return {"released": sent, "done": done}


@_control("POST", "webhooks/flush")
def flush(standin: "Standin", ids: list[str], given: Object) -> Object:
    with standin.world.lock:
        standin.world.catch_up()
    return {"done": standin.hooks.flush(float(given.get("wait", 10)))}


@_control("POST", "webhooks/take")
def take(standin: "Standin", ids: list[str], given: Object) -> Object:
    """The held events, signed, for a caller that posts them itself."""
    secret = given.get("secret") or standin.hooks.endpoints[0].secret
    return {"events": standin.hooks.take(secret)}


@_control("POST", "webhooks/forget")
def forget(standin: "Standin", ids: list[str], given: Object) -> Object:
    """The held events never arrive."""
    standin.hooks.dropped += len(standin.hooks.held)
    standin.hooks.held = []
    return webhooks(standin, ids, given)


# Time, accidents, and looking in.


@_control("POST", "clock")
def clock(standin: "Standin", ids: list[str], given: Object) -> Object:
    if given.get("advance", 0) < 0:
        raise ValueError("The clock goes forward only.")
    standin.world.ahead += int(given.get("advance", 0))
    return {"now": standin.world.now(), "ahead": standin.world.ahead}


@_control("POST", "settings")
def settings(standin: "Standin", ids: list[str], given: Object) -> Object:
    """`settle_after`: seconds until what follows an answer happens (balance transaction, test dispute, …).

    `redirecting`: the account has payment methods that redirect, so that every confirmation needs a return address.
    """
    standin.world.settle_after = float(given["settle_after"])
    standin.world.redirecting = bool(given.get("redirecting", False))
    return {"settle_after": standin.world.settle_after, "redirecting": standin.world.redirecting}


@_control("POST", "faults")
def order_faults(standin: "Standin", ids: list[str], given: Any) -> Object:
    for one in given if isinstance(given, list) else [given]:
        standin.service.faults.order(one)
    return {"waiting": len(standin.service.faults.orders)}


@_control("GET", "faults")
def faults(standin: "Standin", ids: list[str], given: Object) -> Object:
    orders = standin.service.faults.orders
    return {"waiting": len(orders), "happened": list(standin.service.faults.happened)}


@_control("DELETE", "faults")
def no_faults(standin: "Standin", ids: list[str], given: Object) -> Object:
    standin.service.faults.orders.clear()
    return {"waiting": 0}


@_control("POST", "reset")
def reset(standin: "Standin", ids: list[str], given: Object) -> Object:
    """As it was at the start; endpoints stay."""
    standin.hooks.clear()
    standin.hooks.flush(12)
    with standin.world.lock:
        standin.world.clear()
        standin.service.clear()
        standin.hooks.clear()
    return {"reset": True}


@_control("GET", "state")
def state(standin: "Standin", ids: list[str], given: Object) -> Object:
    """Every object by kind and id, the balance, and what went wrong inside."""
    tables = {kind: dict(rows) for kind, rows in standin.world.tables.items() if rows}
    return {**tables, "now": standin.world.now(), "balance": money.balance(standin.world),
            "bugs": list(standin.service.bugs), "later": len(standin.world.todo)}  # fmt: skip


@_control("GET", "log")
def log(standin: "Standin", ids: list[str], given: Object) -> Object:
    return {"requests": list(standin.service.log), "faults": list(standin.service.faults.happened)}


@_control("GET", "cards")
def test_cards(standin: "Standin", ids: list[str], given: Object) -> Object:
    return {"numbers": sorted(cards.CARDS), "tokens": dict(cards.TOKENS), "api_version": spec.api_version()}


# Buyers and banks.


@_control("POST", "disputes")
def dispute(standin: "Standin", ids: list[str], given: Object) -> Object:
    charged = standin.world.get("charge", given["charge"], "charge")
    return money.open_dispute(standin.world, charged, given.get("amount"), given.get("kind", "fraudulent"))


@_control("POST", "disputes/([^/]+)/close")
def close_dispute(standin: "Standin", ids: list[str], given: Object) -> Object:
    made = standin.world.get("dispute", ids[0])
    money.close_dispute(standin.world, made, bool(given["won"]), bool(given.get("fee_returned")))
    return made


@_control("POST", "disputes/([^/]+)/escalate")
def escalate(standin: "Standin", ids: list[str], given: Object) -> Object:
    made = standin.world.get("dispute", ids[0])
    money.escalate(standin.world, made)
    return made


@_control("POST", "warnings")
def warn(standin: "Standin", ids: list[str], given: Object) -> Object:
    """An early fraud warning for a charge."""
    return money.warn(standin.world, standin.world.get("charge", given["charge"], "charge"))


@_control("POST", "refunds/([^/]+)/fail")
def fail_refund(standin: "Standin", ids: list[str], given: Object) -> Object:
    made = standin.world.get("refund", ids[0])
    money.fail_refund(standin.world, made, given.get("reason", "unknown"))
    return made


@_control("POST", "refund")
def refund(standin: "Standin", ids: list[str], given: Object) -> Object:
    """As from the Dashboard: no metadata, no key."""
    intent = standin.world.get("payment_intent", given["payment_intent"], "payment_intent")
    charged = standin.world.get("charge", intent["latest_charge"] or "", "charge")
    return money.refund(standin.world, charged, given.get("amount"), {})


@_control("POST", "charge")
def charge(standin: "Standin", ids: list[str], given: Object) -> Object:
    """A payment that somebody made by hand in the Dashboard, unknown to the shop."""
    world = standin.world
    intent = intents.create_payment(world, {"amount": given.get("amount", 500), "currency": "usd"})
    method = buyers.from_number(world, {"number": given.get("card", "4242424242424242"), **_expiry(world.today().year)})
    return intents.confirm(world, intent, {"payment_method": method["id"]}, intents.Circumstances(buyer=True))


@_control("POST", "payment_methods")
def payment_method(standin: "Standin", ids: list[str], given: Object) -> Object:
    """A card of this number, attached to `customer` without asking its bank; `set_up` as after 3D Secure."""
    world = standin.world
    method = buyers.from_number(world, {"number": given["card"], **_expiry(world.today().year)})
    method["_set_up"] = bool(given.get("set_up"))
    if given.get("customer"):
        buyers.keep(world, method, buyers.customer(world, given["customer"], "customer")["id"])
    return method


def _expiry(year: int) -> Object:
    return {"exp_month": 12, "exp_year": year + 4, "cvc": "123"}


@_control("POST", "sessions/([^/]+)/pay")
def pay(standin: "Standin", ids: list[str], given: Object) -> Object:
    """What a person does on the page. `authenticate` true completes 3D Secure, false fails it, null leaves it.

    `bank_account` pays with one instead of a card: the bank answers later (`arrive`).
    """
    world = standin.world
    made = world.get("checkout.session", ids[0])
    typed = {"number": given.get("card", "4242424242424242"), **_expiry(world.today().year)}
    typed["bank_account"] = given.get("bank_account", False)
    error = None
    try:
        intent = checkout.submit(world, made, typed, given.get("email", "buyer@example.com"), given.get("name"))
        if intent["status"] == "requires_action" and given.get("authenticate", True) is not None:
            intents.authenticate(world, intent, bool(given.get("authenticate", True)))
            checkout.finish(world, intent)
    except Refusal as refusal:
        if refusal.status != 402:
            raise
        error = refusal.error
    return {
        "paid": made["status"] == "complete",
        "error": error,
        "session": made,
        "return_to": checkout.return_to(made),
    }


@_control("POST", "payment_intents/([^/]+)/arrive")
def arrive(standin: "Standin", ids: list[str], given: Object) -> Object:
    """What the bank says about a payment from a bank account: `paid` or not."""
    intent = standin.world.get("payment_intent", ids[0])
    try:
        intents.arrive(standin.world, intent, bool(given["paid"]))
    except Refusal as refusal:
        if refusal.status != 402:
            raise
    return intent


@_control("POST", "(?:payment|setup)_intents/([^/]+)/authenticate")
def authenticate(standin: "Standin", ids: list[str], given: Object) -> Object:
    """The buyer finishes an intent in the browser: with this card if one is given, and through 3D Secure.

    `payment_method` is an id or a test token, `card` a number; without either the one the last attempt used.
    """
    world = standin.world
    kind = "payment_intent" if ids[0].startswith("pi_") else "setup_intent"
    intent = world.get(kind, ids[0])
    error = None
    try:
        if intent["status"] != "requires_action" or given.get("payment_method") or given.get("card"):
            wanted = given.get("payment_method") or _last_used(intent)
            if given.get("card"):
                wanted = buyers.from_number(world, {"number": given["card"], **_expiry(world.today().year)})["id"]
            how = intents.Circumstances(buyer=True, use_sdk=True)
            intents.confirm(world, intent, {"payment_method": wanted}, how)
        if intent["status"] == "requires_action":
            intents.authenticate(world, intent, bool(given.get("ok", True)))
        checkout.finish(world, intent)
    except Refusal as refusal:
        if refusal.status != 402:
            raise
        error = refusal.error
    return {"intent": intent, "error": error}


def _last_used(intent: Object) -> str | None:
    last = intent.get("last_payment_error") or intent.get("last_setup_error") or {}
    found = intent["payment_method"] or last.get("payment_method", {}).get("id")
    if found is None:
        raise invalid("Which card? Send payment_method or card.", "payment_method")
    return str(found)


_UNLOCKED = (release, flush, reset)
