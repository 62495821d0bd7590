"""Builders for tests of purses: money in by hand, as a succeeded charge would bring it, and offers to buy."""

import itertools
import uuid

from django.db import transaction
from django.utils import timezone

from payments import gate, purses
from payments.books import accounts, ledger
from payments.books.ledger import Move
from payments.cards import tabs
from payments.models import Charge, Payment, Purse
from payments.offers import Offer, Presented, Price
from payments.purses import api_keys

_count = itertools.count(1)


def purse(micros: int = 0, *, tab: int = 0, owner: str = "") -> Purse:
    """A purse with so much in it."""
    made = purses.get_or_create(owner or f"user:{next(_count)}-{uuid.uuid4().hex[:8]}")
    Purse.objects.filter(id=made.id).update(tab_limit_micros=tab)
    if micros:
        fill(made, micros)
    made.refresh_from_db()
    return made


def fill(made: Purse, micros: int) -> Charge:
    """Card money, at least half a dollar of it, as a charge that has succeeded."""
    number = f"ch_test{next(_count)}x{uuid.uuid4().hex[:8]}"
    with transaction.atomic():
        charge = Charge.objects.create(
            purse=made, purpose="topup", amount_micros=micros, state="succeeded", stripe_charge_id=number,
            decided_at=timezone.now(), fulfilled_at=timezone.now(),
        )  # fmt: skip
        move = Move("world:stripe", accounts.balance(made.id), micros)
        ledger.post("card_paid", f"card_paid:{number}", [move], asset="USD")
        assert purses.move(made.id, micros)
    return charge


def offer(number: int = 1, micros: int = 50_000, payee: str = "publisher:7") -> Offer:
    """Something for sale."""
    return Offer(
        resource=f"article:{number}",
        version=1,
        payee=payee,
        price=Price(number, "agents", micros),
        url=f"http://localhost:8000/articles/a{number}",
        title=f"Article {number}",
        mime_type="text/markdown",
    )


def taken_back(payment: Payment) -> None:
    """What a chargeback does to a purchase that is still on hold."""
    with transaction.atomic():
        assert purses.take_back(payment, "charged_back", "chargeback")


def press(made: Purse, wanted: Offer) -> gate.Admitted:
    """The person presses "buy"."""
    return gate.verify(Presented(purse=str(made.pk), spend=True), wanted).settle()


def present(text: str, wanted: Offer) -> gate.Admitted:
    """An agent shows its key."""
    return gate.verify(Presented(bearer=text), wanted).settle()


def key(made: Purse, **limits: object) -> str:
    return api_keys.make(made, "reader", api_keys.Limits(**limits))[1]  # type: ignore[arg-type]


def balance(made: Purse) -> int:
    """What is in it now, by the purse's own row and by the books."""
    made.refresh_from_db()
    assert made.balance_micros == ledger.balance(accounts.balance(made.id), "USD")
    return made.balance_micros


def open_tab(made: Purse) -> None:
    """The buyer agrees to the terms of a tab as they are."""
    made.refresh_from_db()
    offered = tabs.terms(made)
    assert offered
    assert tabs.open_tab(made, offered.name)
    made.refresh_from_db()
