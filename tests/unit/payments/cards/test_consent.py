"""Nobody pays what they did not agree to: no tab without a word, no price for others, no loss that stays open."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from payments import gate, quotes
from payments.cards import holds, tabs
from payments.models import Purse
from payments.offers import Presented, Price
from tests import buyers
from tests.bank import Bank

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


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
    assert tabs.settle_due() == []
    assert tabs.pay_now(purse).state == "succeeded"  # Asked by the buyer.


def test_a_closed_tab_is_charged_what_was_owed_and_never_again(bank: Bank):
    purse = bank.owing(600)
    tabs.close_tab(purse)
    assert [charge.state for charge in tabs.settle_due()] == ["succeeded"]
    purse.refresh_from_db()
    assert (purse.balance_micros, purse.tab_opened_at) == (0, None)
    opened = bank.tab()
    tabs.close_tab(opened)
    opened.refresh_from_db()
    assert opened.tab_opened_at is None


def test_what_the_platform_lost_for_a_buyer_clears_the_sales_it_paid(bank: Bank):
    purse = buyers.purse()
    lost, kept = bank.top_up(purse, 500), bank.top_up(purse, 500)
    for number in (1, 2):
        buyers.press(purse, buyers.offer(number, 4_000_000))
    made = bank.do("disputes", charge=lost.reference, kind="fraudulent")
    bank.do(f"disputes/{made['id']}/close", won=False)
    bank.bring()
    bank.later()
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("chargeback", 0)
    assert holds.clear(timezone.now() + timedelta(days=30)) == 2
    assert kept.state == "succeeded"
    bank.agrees()


def test_a_price_for_agents_is_no_price_for_people(bank: Bank):
    purse = buyers.purse(1_000_000)
    cheap = buyers.offer(1, 50_000)
    dear = replace(cheap, price=Price(2, "people", 250_000), mime_type="text/html")
    quote = quotes.issue(cheap).token
    with pytest.raises(gate.PaymentRequired) as refused:
        gate.verify(Presented(purse=str(purse.pk), spend=True, quote=quote), dear)
    assert refused.value.word == "invalid_quote"
