"""What people see: the hosted payment page, the bank's question, and the script for shops."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from . import checkout, forms, intents, markup
from .refusals import Refusal, invalid
from .service import Answer, Request
from .world import Object, World

_ASSETS = Path(__file__).parent / "assets"
_FILES = {"/stripe.js": ("stripe.js", "text/javascript"), "/assets/page.css": ("page.css", "text/css")}
_POLICY = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'"


def answer(world: World, request: Request) -> Answer:
    """Raises nothing: whatever is wrong is a page that says so."""
    path, method = request.path, request.method
    if path in _FILES and method == "GET":
        name, kind = _FILES[path]
        headers = {"Content-Type": f"{kind}; charset=utf-8", "Access-Control-Allow-Origin": "*"}
        return Answer(200, (_ASSETS / name).read_bytes(), {**headers, "Cache-Control": "no-cache"})
    with world.lock:
        world.catch_up()
        typed = dict(parse_qsl(request.body if method == "POST" else request.query, keep_blank_values=True))
        try:
            if found := re.fullmatch(r"/c/pay/([^/]+)(/bank)?", path):
                made = world.get("checkout.session", found[1])
                step = _bank_step if found[2] else _card_step
                return step(world, made, typed if method == "POST" else None)
            if found := re.fullmatch(r"/3ds/([^/]+)", path):
                return _challenge(world, found[1], typed, decided=method == "POST")
        except Refusal as refusal:
            return _page(refusal.status, markup.notice("That did not work", str(refusal)))
    return _page(404, markup.notice("No such page", "There is nothing at this address."))


def _page(status: int, body: str) -> Answer:
    headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": _POLICY}
    return Answer(status, body.encode(), {**headers, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})


def _go(address: str) -> Answer:
    return Answer(303, headers={"Location": address, "Cache-Control": "no-store"})


def _card_step(world: World, made: Object, typed: dict[str, str] | None) -> Answer:
    if made["status"] != "open":
        return _over(made)
    intent = _intent(world, made)
    if typed is None:
        return _page(200, markup.payment(made, {}, _last_error(intent)))
    try:
        tried = checkout.submit(world, made, _card(typed), typed.get("email"), typed.get("name"))
    except Refusal as refusal:
        return _page(refusal.status, markup.payment(made, typed, str(refusal)))
    if tried["status"] == "requires_action":
        return _go(f"{world.base}/c/pay/{made['id']}/bank")
    return _go(checkout.return_to(made) or made["url"])


def _bank_step(world: World, made: Object, typed: dict[str, str] | None) -> Answer:
    if made["status"] != "open":
        return _over(made)
    intent = _intent(world, made)
    if intent is None or intent["status"] != "requires_action":
        return _go(made["url"])
    if typed is None:
        return _page(200, markup.bank(made["amount_total"], {}))
    try:
        intents.authenticate(world, intent, typed.get("verdict") == "complete")
        checkout.finish(world, intent)
    except Refusal:
        return _go(made["url"])  # Which says what the intent remembers.
    return _go(checkout.return_to(made) or made["url"])


def _over(made: Object) -> Answer:
    if made["status"] == "complete":
        words = ("All done", "This payment is complete.", checkout.return_to(made), "Back to the shop")
    else:
        words = (
            "This page has expired",
            "You have not been charged. Start again in the shop.",
            made["cancel_url"],
            "Back",
        )
    return _page(200 if made["status"] == "complete" else 410, markup.notice(*words))


def _intent(world: World, made: Object) -> Object | None:
    for kind in ("payment_intent", "setup_intent"):
        if made[kind]:
            return world.get(kind, made[kind])
    return None


def _last_error(intent: Object | None) -> str | None:
    last = (intent or {}).get("last_payment_error") or (intent or {}).get("last_setup_error")
    return last["message"] if last else None


def _card(typed: dict[str, str]) -> dict[str, Any]:
    """As typed. Raises a 402 for an expiry that is none; the rest is checked with the card."""
    expiry = re.fullmatch(r"\s*(\d{1,2})\s*[/ -]?\s*(\d{4}|\d{2})\s*", typed.get("expiry", ""))
    number = re.sub(r"[\s-]", "", typed.get("number", ""))
    if not number:
        raise invalid("Your card number is incomplete.", "number")
    if expiry is None:
        raise invalid("Your card's expiration date is incomplete.", "expiry")
    return {"number": number, "exp_month": expiry[1], "exp_year": expiry[2], "cvc": typed.get("cvc", "").strip()}


def _challenge(world: World, which: str, typed: dict[str, str], decided: bool) -> Answer:
    """The bank's question by itself: in a frame of the shop's page, or full size with a way back."""
    kind = "setup_intent" if which.startswith("seti_") else "payment_intent"
    intent = world.get(kind, which)
    if typed.get("secret") != intent["client_secret"]:
        raise Refusal(404, "There is nothing at this address.")
    if intent["status"] == "requires_action" and not decided:
        return _page(200, markup.bank(intent.get("amount"), typed))
    back = intent["_return_url"] if not typed.get("frame") else None
    if intent["status"] == "requires_action":
        try:
            intents.authenticate(world, intent, typed.get("verdict") == "complete")
            checkout.finish(world, intent)
        except Refusal:
            pass  # The intent remembers it, and whoever waits for it reads it there.
    if back:
        secret = {kind: which, f"{kind}_client_secret": intent["client_secret"]}
        verdict = "succeeded" if intent["status"] in ("succeeded", "requires_capture") else "failed"
        return _go(forms.with_query(back, **secret, redirect_status=verdict))
    return _page(200, markup.notice("Thank you", "Your bank has answered. The shop goes on by itself."))
