"""The tab: when it is charged and for how much, and never without the buyer's word."""

from datetime import timedelta

import pytest
from django.utils import timezone

from payments import purses
from payments.cards import tabs
from payments.models import Purse
from tests import buyers
from tests.bank import Bank, paid_once
from tests.buyers import balance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def test_less_than_half_a_dollar_is_carried(bank):
    purse = bank.tab()
    buyers.press(purse, buyers.offer(1, 490_000))
    Purse.objects.filter(id=purse.id).update(owing_since=timezone.now() - timedelta(days=30))
    assert tabs.charge_due() == []
    buyers.press(purse, buyers.offer(2, 15_000))
    (charge,) = tabs.charge_due()
    assert (charge.state, charge.amount_micros) == ("succeeded", 500_000)
    assert balance(purse) == -5_000  # Half a cent stays on the tab.
    bank.agrees()


def test_a_tab_is_charged_at_its_amount_at_its_limit_or_after_a_week(bank):
    small = bank.tab(limit=3_000_000)
    buyers.press(small, buyers.offer(1, 2_690_000))
    assert tabs.charge_due() == []
    buyers.press(small, buyers.offer(2, 20_000))
    assert [charge.amount_micros for charge in tabs.charge_due()] == [2_710_000]
    large = bank.tab(limit=10_000_000)
    buyers.press(large, buyers.offer(3, 4_990_000))
    assert tabs.charge_due() == []
    assert tabs.charge_due(timezone.now() + timedelta(days=7, seconds=1))[0].purse_id == large.id
    assert tabs.charge_due(timezone.now() + timedelta(days=30)) == []


def test_a_card_authenticated_when_it_was_saved_is_not_asked_again(bank):
    purse = bank.owing(600, card="4000002500003155")
    assert tabs.charge_tab(purse.id).state == "succeeded"
    paid_once(bank, purse, 6_000_000)


def test_removing_the_card_closes_the_tab_and_forgets_it_at_the_processor(bank):
    purse = bank.tab()
    buyers.press(purse, buyers.offer(1, 600_000))
    with pytest.raises(purses.PurseRefused):
        tabs.remove_card(purse.card)
    purse.refresh_from_db()
    tabs.pay_now(purse)
    tabs.remove_card(purse.card)
    purse.refresh_from_db()
    assert (purse.card, purse.tab_limit_micros) == (None, 0)
    assert bank.state()["payment_method"] == {} or all(
        one["customer"] is None for one in bank.state()["payment_method"].values()
    )


def test_no_card_is_charged_whose_holder_never_opened_a_tab(bank: Bank):
    """A debt can come from a refund made by hand; a card that paid a top-up is kept, and was not lent for that."""
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    buyers.press(purse, buyers.offer(1, 5_000_000))
    bank.do("refund", payment_intent=charge.intent, amount=300)
    bank.bring()
    purse.refresh_from_db()
    assert purse.balance_micros == -3_000_000
    assert purse.card is not None
    Purse.objects.filter(id=purse.id).update(owing_since=timezone.now() - timedelta(days=30))
    assert tabs.charge_due() == []
    assert tabs.pay_now(purse).state == "succeeded"  # Asked by the buyer.


def test_a_closed_tab_is_charged_what_was_owed_and_never_again(bank: Bank):
    purse = bank.owing(600)
    tabs.close_tab(purse)
    assert [charge.state for charge in tabs.charge_due()] == ["succeeded"]
    purse.refresh_from_db()
    assert (purse.balance_micros, purse.tab_opened_at) == (0, None)
    opened = bank.tab()
    tabs.close_tab(opened)
    opened.refresh_from_db()
    assert opened.tab_opened_at is None
