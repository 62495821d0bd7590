"""Card money becomes a publisher's when it is there, its hold has passed, and the buyer has paid for all before."""

from datetime import timedelta

import pytest
from django.utils import timezone

from payments import tasks
from payments.books import ledger
from payments.cards import holds, refunds, tabs
from payments.models import Charge, Payment, Purse
from tests import buyers
from tests.bank import Bank, make_due

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def test_pending_becomes_earned_when_hold_funds_and_order_allow(bank):
    purse = buyers.purse()
    bank.top_up(purse, 500)
    for number in (1, 2):
        buyers.press(purse, buyers.offer(number, 2_000_000))
    now = timezone.now()
    assert holds.clear(now) == 0
    assert holds.clear(now + timedelta(days=6)) == 0
    bank.later()
    assert Charge.objects.get().available_at
    assert holds.clear(now + timedelta(days=6)) == 0  # The money is there, the hold has not passed.
    bank.settings.CLEARING_HOLD_SECONDS = 0
    assert holds.clear(now + timedelta(days=1)) == 0  # The other way round.
    bank.settings.CLEARING_HOLD_SECONDS = 7 * 86_400
    assert holds.clear(now + timedelta(days=8)) == 2
    assert ledger.balance("publisher:7:earned", "USD") == 3_800_000
    unpaid = bank.tab()
    buyers.press(unpaid, buyers.offer(3, 1_000_000))
    assert holds.clear(now + timedelta(days=90)) == 0
    tabs.charge_due(now + timedelta(days=8))
    bank.later()
    assert holds.clear(now + timedelta(days=90)) == 1
    bank.agrees()


def test_what_the_platform_lost_covers_what_was_bought_with_it(bank):
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    buyers.press(purse, buyers.offer(1, 3_000_000))
    Payment.objects.update(decided_at=timezone.now() - timedelta(days=20))
    Charge.objects.update(available_at=timezone.now() - timedelta(days=1))
    assert holds.clear() == 1
    made = bank.do("disputes", charge=charge.stripe_charge_id, kind="fraudulent")
    bank.do(f"disputes/{made['id']}/close", won=False)
    bank.bring()
    assert ledger.balance("loss:chargeback", "USD") == -3_000_000
    Purse.objects.update(flag="")  # Staff believe the buyer.
    purse.refresh_from_db()
    bank.top_up(purse, 500)
    buyers.press(purse, buyers.offer(2, 5_000_000))
    bank.later()
    assert holds.clear(timezone.now() + timedelta(days=30)) == 1


def test_buyers_who_never_pay_keep_no_publisher_waiting_for_others(bank, monkeypatch):
    monkeypatch.setattr(holds, "_AT_ONCE", 1)
    buyers.press(buyers.purse(tab=10_000_000), buyers.offer(1, 1_000_000))
    payer = buyers.purse()
    bank.top_up(payer, 500)
    buyers.press(payer, buyers.offer(2, 1_000_000))
    bank.later()
    assert holds.clear(timezone.now() + timedelta(days=30)) == 1


def test_money_on_its_way_back_to_a_card_pays_no_publisher(bank):
    purse = bank.tab(limit=20_000_000)
    charge = bank.top_up(purse, 500)
    buyers.press(purse, buyers.offer(1, 1_000_000))
    bank.fault("/v1/refunds$", "drop", "before", times=100)
    assert refunds.to_card(purse, charge, 4_000_000).state == "asked"
    buyers.press(purse, buyers.offer(2, 3_000_000))  # On the tab, which nobody has paid.
    make_due()
    tasks.sweep_cards()
    assert holds.clear(timezone.now() + timedelta(days=30)) == 1
    bank.no_faults()


def test_what_the_platform_lost_for_a_buyer_clears_the_sales_it_paid(bank: Bank):
    purse = buyers.purse()
    lost, kept = bank.top_up(purse, 500), bank.top_up(purse, 500)
    for number in (1, 2):
        buyers.press(purse, buyers.offer(number, 4_000_000))
    made = bank.do("disputes", charge=lost.stripe_charge_id, kind="fraudulent")
    bank.do(f"disputes/{made['id']}/close", won=False)
    bank.bring()
    bank.later()
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("chargeback", 0)
    assert holds.clear(timezone.now() + timedelta(days=30)) == 2
    assert kept.state == "succeeded"
    bank.agrees()
