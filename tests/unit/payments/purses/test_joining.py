"""A guest's purse joins an account's: debts, cards and money on its way come along."""

from typing import Any

import pytest

from payments import fulfilment, gate
from payments.cards import checkout, tabs
from payments.models import Charge
from payments.offers import Offer, Presented
from payments.purses import joining
from tests import buyers
from tests.bank import Bank, newest
from tests.buyers import balance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def test_a_guest_who_owes_and_joins_an_account_that_owes_is_joined(bank: Bank):
    """Both are being charged at this moment; only one of them can go on under one name."""
    owner, guest = bank.owing(600, "4000000000000341"), bank.owing(700, "4000000000000341")
    for purse in (owner, guest):
        assert tabs.charge_tab(purse.id).state == "declined"
    joining.join(guest, owner)
    owner.refresh_from_db()
    assert owner.balance_micros == -13_000_000
    assert Charge.objects.filter(purse=owner, state__in=Charge.LIVE).count() == 1
    bank.pay(checkout.save_card(owner, "/"))
    checkout.setup_returned(owner.setups.latest("made_at").id)
    assert balance(owner) == -7_000_000  # The owner's own was tried with the new card at once.
    assert tabs.pay_now(owner).state == "failed"  # A card of another customer does not pay the guest's.
    assert tabs.pay_now(owner).state == "succeeded"
    assert balance(owner) == 0
    assert sum(Charge.objects.filter(state="succeeded").values_list("amount_micros", flat=True)) == 13_000_000
    bank.agrees()


def test_a_guests_card_pays_what_the_account_owes_that_it_came_to(bank: Bank):
    """It stays with the customer under whom it was saved."""
    owner, guest = bank.owing(600), buyers.purse(owner="guest:9")
    bank.top_up(guest, 500, card="5555555555554444")
    guest.refresh_from_db()
    card = guest.card
    joining.join(guest, owner)
    buyers.press(owner, buyers.offer(8, 6_000_000))
    card.refresh_from_db()
    assert card.purse_id == owner.id
    tabs.use_card(card)
    assert tabs.pay_now(owner).state == "succeeded"
    assert balance(owner) == 0
    bank.agrees()


def test_money_of_a_guest_who_joins_at_this_moment_still_buys_what_it_was_for(bank: Bank, monkeypatch: Any):
    """The purse that was asked has nothing more, and the one that has the money was not asked."""
    guest, owner = buyers.purse(owner="guest:8"), buyers.purse()
    bank.pay(checkout.top_up(guest, 500, "/", buyers.offer()))
    verify = gate.verify

    def verify_late(presented: Presented, offer: Offer) -> gate.Admission:
        joining.join(guest, owner)
        return verify(presented, offer)

    monkeypatch.setattr(gate, "verify", verify_late)
    assert fulfilment.returned(newest(guest).id).bought is None
    monkeypatch.undo()
    bank.later()
    assert newest(owner).bought.resource == "article:1"
    assert balance(owner) == 4_950_000
    bank.agrees()
