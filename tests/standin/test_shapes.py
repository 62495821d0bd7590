"""What the stand-in sends has the fields of the SDK's own classes: none invented, and none missing that must be there.

The classes declare their fields as annotations; one that is not Optional must be present and not null.
"""

import inspect
import sys
from collections.abc import Callable
from typing import Any, get_args, get_origin

import pytest
import stripe
from stripe import StripeObject

from tests.standin.driver import Driver
from tests.standin.test_checkout import GOOD, SETUP


def declared(kind: type) -> dict[str, str]:
    """Field → annotation, as text: most of them name classes that are imported for type checkers only."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, StripeObject) and base is not StripeObject:
            found |= {name: _words(note) for name, note in vars(base).get("__annotations__", {}).items()}
    return {name: note for name, note in found.items() if not note.startswith("ClassVar") and not name.startswith("_")}


def _words(note: Any) -> str:
    if get_origin(note) is not None and type(None) in get_args(note):
        return "Optional"
    return note if isinstance(note, str) else str(note).replace("typing.", "")


def differences(found: dict[str, Any], kind: type, where: str) -> list[str]:
    fields = declared(kind)
    wrong = [f"{where}.{name} is invented" for name in found if name not in fields]
    for name, note in fields.items():
        if not note.startswith("Optional") and found.get(name) is None:
            wrong.append(f"{where}.{name} is missing: {note}")
    inner = {**getattr(kind, "_inner_class_types", {})}
    for name, value in found.items():
        if name in inner:
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict):
                    wrong += differences(one, inner[name], f"{where}.{name}")
        elif name not in ("metadata", "data") and isinstance(value, dict) and isinstance(value.get("object"), str):
            wrong += whole(value, f"{where}.{name}")
    return wrong


def whole(found: dict[str, Any], where: str = "") -> list[str]:
    classes = {"checkout.session": stripe.checkout.Session, "radar.early_fraud_warning": stripe.radar.EarlyFraudWarning}
    name = found["object"]
    kind = classes.get(name) or getattr(stripe, "".join(part.title() for part in name.split("_")))
    return differences(found, kind, where or name)


def everything(pay: Driver) -> dict[str, Any]:
    """A world with one of each object in many states."""
    buyer = pay.customer("pm_card_visa")
    pay.v1.customers.create({"email": "x@example.com", "metadata": {"a": "b"}, "name": "X"})
    pay.created()
    intent = pay.bought()
    pay.v1.refunds.create({"payment_intent": intent.id, "amount": 100})
    pay.v1.refunds.create({"payment_intent": pay.bought("pm_card_refundFail").id})
    pay.bought("pm_card_authenticationRequired")
    pay.bought(capture_method="manual")
    done = pay.bought("pm_card_authenticationRequired")
    pay.fake("POST", f"payment_intents/{done.id}/authenticate", {"ok": True})
    for card in ("pm_card_createDispute", "pm_card_createDisputeInquiry", "pm_card_createIssuerFraudRecord"):
        pay.bought(card)
    for card in ("pm_card_chargeDeclined", "pm_card_visa_chargeDeclinedStolenCard"):
        with pytest.raises(stripe.CardError):
            pay.bought(card)
    pay.v1.payment_intents.cancel(pay.created().id)
    given = {"customer": buyer.id, "confirm": True, "return_url": "https://shop.example/"}
    pay.v1.setup_intents.create({**given, "payment_method": "pm_card_authenticationRequiredOnSetup"})
    with pytest.raises(stripe.CardError):
        pay.v1.setup_intents.create({**given, "payment_method": "pm_card_chargeDeclined"})
    for session in ({**GOOD}, {**GOOD}, {**SETUP}):
        made = pay.v1.checkout.sessions.create(session)
        if session["mode"] == "payment":
            pay.fake("POST", f"sessions/{made.id}/pay", {"card": "4242424242424242"})
    return pay.fake("GET", "state")


KINDS = (
    "balance_transaction", "charge", "checkout.session", "customer", "dispute", "event", "payment_intent",
    "payment_method", "radar.early_fraud_warning", "refund", "setup_intent",
)  # fmt: skip


def test_every_object_has_the_fields_of_its_class(pay: Driver) -> None:
    state = everything(pay)
    assert sorted(set(state) & set(KINDS)) == sorted(KINDS)
    found = {line for kind in KINDS for one in state[kind].values() for line in whole(one)}
    assert sorted(found) == []
    # The snapshots in the events too.
    assert {line for event in state["event"].values() for line in whole(event["data"]["object"])} == set()


def test_errors_balance_and_lines_have_the_fields_of_their_classes(pay: Driver) -> None:
    assert whole(pay.v1.balance.retrieve().to_dict()) == []
    session = pay.v1.checkout.sessions.create(GOOD)
    [line] = pay.v1.checkout.sessions.line_items.list(session.id).data
    assert differences(line.to_dict(), stripe.LineItem, "item") == []


def test_every_event_is_of_a_kind_that_the_sdk_knows(pay: Driver) -> None:
    everything(pay)
    source = inspect.getsource(sys.modules[stripe.Event.__module__])
    kinds = {event.type for event in pay.v1.events.list({"limit": 100}).auto_paging_iter()}
    assert len(kinds) > 18
    assert [kind for kind in kinds if f'"{kind}"' not in source] == []


SPOILT = [lambda one: one.pop("currency"), lambda one: one.update(invented=1), lambda one: one["outcome"].pop("type")]


@pytest.mark.parametrize("spoil", SPOILT)
def test_the_comparison_can_fail(pay: Driver, spoil: Callable[[dict[str, Any]], Any]) -> None:
    charge = pay.charge(pay.bought()).to_dict()
    assert whole(charge) == []
    spoil(charge)
    assert len(whole(charge)) == 1
