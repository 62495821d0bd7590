"""Each guard of the purse, the card and the article of a charge, and of the page that saves a card, alone."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail as outbox
from django.utils import timezone

from payments import fulfilment, gate, purses
from payments.books import ledger
from payments.cards import charges, checkout, customers, stripe_api, wanted
from payments.cards.facts import CardFacts, Session
from payments.models import Card, Charge, Payment, Purse, Setup
from payments.purses import joining
from tests import buyers
from tests.unit.meanwhile import overtaken

from .rows import OWED, charge, debtor, found, state

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nobody_is_asked")]


@pytest.mark.parametrize("flag", ["dispute", "fraud", "chargeback"])
def test_a_tab_that_fails_makes_no_freeze_softer(flag: str):
    attempt = charge("confirming")
    Purse.objects.update(flag=flag)
    charges._fail(attempt, "stolen_card", "confirming")
    assert (state(attempt), Purse.objects.get().flag) == ("failed", flag)


def test_a_top_up_that_fails_makes_nobody_late():
    purse = buyers.purse()
    attempt = charges.begin(purse, Charge.Purpose.TOPUP, 5_000_000)
    charges._fail(attempt, "card_declined", "new")
    purse.refresh_from_db()
    assert (state(attempt), purse.flag, outbox.outbox) == ("failed", "", [])


def test_of_two_names_at_the_processor_a_buyer_keeps_the_first(monkeypatch: pytest.MonkeyPatch):
    purse = buyers.purse()

    def slowly(*_: Any) -> str:
        Purse.objects.update(customer="cus_first")
        return "cus_second"

    monkeypatch.setattr(stripe_api, "create_customer", slowly)
    assert customers.customer(purse) == "cus_first"
    assert customers.customer(purse) == "cus_first"


def test_the_card_that_paid_replaces_none_that_was_chosen(monkeypatch: pytest.MonkeyPatch):
    attempt = charge("confirming", keep_card=True)
    monkeypatch.setattr(stripe_api, "card", lambda name: CardFacts(name, "visa", "4444", "12/40"))
    charges.apply(found("succeeded", stripe_charge_id="ch_2", card="pm_new"))
    assert state(attempt) == "succeeded"
    assert Purse.objects.get().card.stripe_card_id == "pm_mine"
    assert Card.objects.filter(stripe_card_id="pm_new").exists()


def test_a_card_that_is_known_is_not_asked_about():
    attempt = charge("confirming")
    charges.apply(found("succeeded", stripe_charge_id="ch_2", card="pm_mine"))
    assert state(attempt) == "succeeded"


def test_when_the_money_is_let_go_of_is_said_once():
    attempt = charge("confirming")
    first, later = timezone.now(), timezone.now() + timedelta(days=3)
    for moment in (first, later):
        charges.apply(
            found("succeeded", stripe_charge_id="ch_2", transaction="txn_1", fee_cents=47, available_at=moment)
        )
    attempt.refresh_from_db()
    assert attempt.available_at == first
    assert ledger.balance("expense:processor", "USD") == -470_000


def test_a_fee_is_booked_once_and_said_once():
    """Who compares the books counts what it had to mend."""
    assert charges.post_fee("txn_1", 47)
    assert not charges.post_fee("txn_1", 47)
    assert not charges.post_fee("txn_2", 0)
    assert ledger.balance("expense:processor", "USD") == -470_000


def test_a_live_charge_of_a_guest_stays_the_guests_and_its_money_is_the_owners():
    guest, owner = debtor(), buyers.purse()
    attempt = charge("confirming", guest)
    Purse.objects.filter(id=guest.id).update(owner="guest:1")
    other = charge("confirming", _owing(owner), intent="pi_other")
    joining.join(guest, owner)
    charges.apply(found("succeeded", stripe_charge_id="ch_2"))
    attempt.refresh_from_db()
    assert attempt.purse == owner
    owner.refresh_from_db()
    assert owner.balance_micros == -OWED
    assert state(other) == "confirming"


def _owing(purse: Purse) -> Purse:
    Purse.objects.filter(id=purse.id).update(tab_limit_micros=20_000_000)
    buyers.press(purse, buyers.offer(2, OWED))
    return purse


def test_two_live_tabs_of_one_purse_are_never_made_of_a_guests_and_its_owners():
    guest, owner = debtor(), buyers.purse()
    first, second = charge("confirming", guest), charge("confirming", _owing(owner), intent="pi_other")
    joining.join(guest, owner)
    assert charges.owner(first.id).id == owner.id
    first.refresh_from_db()
    assert (first.purse, second.purse) == (guest, owner)


def filled(wants: Any = None, **more: Any) -> Charge:
    """A top-up that has succeeded, and what it was for."""
    made = buyers.fill(buyers.purse(), 5_000_000)
    Charge.objects.filter(id=made.id).update(wants=wanted.by_value(wants), fulfilled_at=None, **more)
    made.refresh_from_db()
    return made


def test_what_the_money_was_for_is_bought_once():
    made = filled(buyers.offer())
    fulfilment.fulfil(made.id)
    fulfilment.fulfil(made.id)
    assert Payment.objects.count() == 1
    made.refresh_from_db()
    assert made.bought == Payment.objects.get()


def test_money_that_could_not_buy_its_article_buys_it_no_more():
    """It was refused once, and its buyer was told so."""
    made = filled(buyers.offer(1, 6_000_000))
    fulfilment.fulfil(made.id)
    buyers.fill(made.purse, 5_000_000)
    fulfilment.fulfil(made.id)
    made.refresh_from_db()
    assert (made.bought, bool(made.fulfilled_at), Payment.objects.count()) == (None, True, 0)


@pytest.mark.parametrize("now", ["created", "confirming", "failed", "canceled"])
def test_money_that_did_not_come_buys_nothing(now: str):
    made = charges.begin(buyers.purse(1_000_000), Charge.Purpose.TOPUP, 5_000_000, wants=buyers.offer())
    charges.step(made, ("new",), state=now)
    fulfilment.fulfil(made.id)
    assert not Payment.objects.exists()


def test_who_fulfils_second_writes_nothing():
    made = filled(buyers.offer())
    earlier = timezone.now() - timedelta(minutes=1)
    with overtaken(Charge, lambda: Charge.objects.update(fulfilled_at=earlier)):
        fulfilment.fulfil(made.id)
    made.refresh_from_db()
    assert (made.fulfilled_at, made.bought) == (earlier, None)


def test_an_article_that_was_given_back_is_not_bought_again_with_the_same_money():
    made = filled(buyers.offer())
    admitted = buyers.press(made.purse, buyers.offer())
    purses.refund(admitted.payment.id, made.purse)
    fulfilment.fulfil(made.id)
    assert Payment.objects.count() == 1
    with pytest.raises(gate.PaymentRequired):
        gate.verify(gate.Presented(purse=str(made.purse_id)), buyers.offer())


def complete(status: str = "complete") -> Session:
    return Session("cs_1", status, "", "", "seti_1", "typed@example.org")


@pytest.fixture
def saving(monkeypatch: pytest.MonkeyPatch) -> Setup:
    """A buyer before the page that saves a card."""
    monkeypatch.setattr(stripe_api, "saved_card", lambda _: CardFacts("pm_1", "visa", "4242", "12/40", "cus_1"))
    return Setup.objects.create(purse=buyers.purse(), session="cs_1", state="open")


def test_a_card_is_saved_once_and_replaces_none_that_was_chosen_since(saving: Setup):
    checkout.apply_setup(saving, complete())
    purse = Purse.objects.get()
    assert (purse.card.stripe_card_id, purse.email, purse.tab_limit_micros) == ("pm_1", "typed@example.org", 0)
    other = Card.objects.create(purse=purse, stripe_card_id="pm_2")
    Purse.objects.update(card=other)
    checkout.apply_setup(saving, complete())
    checkout.setup_returned(saving.id)
    purse.refresh_from_db()
    assert (purse.card, purse.tab_limit_micros, purse.tab_opened_at) == (other, 0, None)


@pytest.mark.parametrize("before", ["done", "expired"])
def test_what_became_of_the_page_is_written_once(saving: Setup, before: str):
    Setup.objects.update(state=before)
    checkout.apply_setup(saving, complete("expired"))
    assert (Setup.objects.get().state, Purse.objects.get().card) == (before, None)


def test_of_two_who_bring_the_card_one_keeps_it(saving: Setup):
    with overtaken(Setup, lambda: Setup.objects.update(state="done")):
        checkout.apply_setup(saving, complete())
    assert Purse.objects.get().card is None


def test_an_address_that_is_known_is_not_replaced_by_what_was_typed(saving: Setup, monkeypatch: pytest.MonkeyPatch):
    Purse.objects.update(email="proven@example.org")
    checkout.apply_setup(saving, complete())
    monkeypatch.setattr(stripe_api, "session", lambda _: complete("open"))
    charges.look(charge("created", saving.purse, intent="", session="cs_1"))
    assert Purse.objects.get().email == "proven@example.org"


@pytest.mark.parametrize(
    ("flag", "allowed"), [("", True), ("past_due", True), ("dispute", False), ("fraud", False), ("chargeback", False)]
)
def test_a_frozen_purse_opens_no_page_though_none_was_opened_yet(flag: str, allowed: bool):
    purse = buyers.purse()
    purse.flag = flag
    if allowed:
        checkout.may_open(purse, "")
    else:
        with pytest.raises(checkout.PurseRefused, match="purse_frozen"):
            checkout.may_open(purse, "")
