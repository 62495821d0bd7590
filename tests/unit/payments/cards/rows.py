"""Purses, charges and what the processor says of them, as far as rows go."""

from typing import Any

from django.utils import timezone

from payments.cards import charges
from payments.cards.facts import DisputeFacts, Intent, Money
from payments.models import Card, Charge, Purse
from tests import buyers

OWED = 6_000_000
FLAGS = ["", "past_due", "dispute", "fraud", "chargeback"]


def balance(purse: Purse) -> int:
    purse.refresh_from_db()
    return purse.balance_micros


def paid(purse: Purse, micros: int = 10_000_000, intent: str = "pi_1") -> Charge:
    """A charge that has succeeded."""
    made = buyers.fill(purse, micros)
    Charge.objects.filter(id=made.id).update(intent=intent)
    made.refresh_from_db()
    return made


def moved(name: str, cents: int, fee: int = 0) -> Money:
    return Money(name, "adjustment", "dp_1", cents, fee)


def disputed(status: str, *money: Money, intent: str = "pi_1", name: str = "dp_1") -> DisputeFacts:
    return DisputeFacts(name, status, "fraudulent", 1000, intent, money)


def debtor(owed: int = OWED) -> Purse:
    """Somebody with an open tab and a saved card."""
    purse = buyers.purse(tab=20_000_000)
    if owed:
        buyers.press(purse, buyers.offer(1, owed))
    card = Card.objects.create(purse=purse, stripe_card_id="pm_mine")
    Purse.objects.filter(id=purse.id).update(card=card, tab_opened_at=timezone.now(), email="reader@example.org")
    purse.refresh_from_db()
    return purse


def charge(state: str, purse: Purse | None = None, **more: Any) -> Charge:
    """A tab's charge in this state, as far as rows go: the second attempt, after one that was declined."""
    made = charges.begin(purse or debtor(), Charge.Purpose.TAB, OWED)
    given = {"intent": "pi_1", "attempt": 1, "declined_stripe_charge_id": "ch_1"} | more
    Charge.objects.filter(id=made.id).update(state=state, **given)
    made.refresh_from_db()
    return made


def found(status: str, **more: Any) -> Intent:
    """The charge's intent as somebody has read it, perhaps long ago."""
    return Intent("pi_1", status, OWED // charges.CENT, **more)


def state(of: Charge) -> str:
    of.refresh_from_db()
    return of.state
