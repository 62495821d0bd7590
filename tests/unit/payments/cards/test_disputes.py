"""Disputes and fraud warnings: what is frozen, what is taken from whom, and what comes back."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from payments import audit, gate
from payments.books import ledger
from payments.cards import checkout, disputes, holds, refunds, stripe_api, tabs
from payments.cards.facts import DisputeFacts, Money
from payments.models import CardRefund, Charge, Dispute, Payment, PaymentState
from tests import buyers, cast
from tests.bank import Bank
from tests.buyers import balance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def test_a_lost_chargeback_takes_balance_then_pending_sales_and_the_rest_is_a_loss_in_the_books(bank):
    purse = buyers.purse()
    charge = bank.top_up(purse, 1000)
    kept = buyers.press(purse, buyers.offer(1, 3_000_000, payee="publisher:1")).payment
    taken = buyers.press(purse, buyers.offer(2, 2_000_000, payee="publisher:2")).payment
    Payment.objects.filter(id=kept.id).update(decided_at=timezone.now() - timedelta(days=20))
    Charge.objects.update(available_at=timezone.now() - timedelta(days=1))
    assert holds.clear() == 1
    made = bank.do("disputes", charge=charge.stripe_charge_id, kind="fraudulent")
    bank.bring()
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("dispute", -5_000_000)
    with pytest.raises(gate.PaymentRequired) as refused:
        buyers.press(purse, buyers.offer(3))
    assert refused.value.word == "purse_frozen"
    bank.do(f"disputes/{made['id']}/close", won=False)
    bank.bring()
    bank.bring()
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("chargeback", 0)
    assert ledger.balance("publisher:1:earned", "USD") == 2_850_000  # Earned is never touched.
    assert ledger.balance("publisher:2:pending", "USD") == 0
    taken.refresh_from_db()
    assert (taken.state, taken.reason) == (PaymentState.REFUNDED, "chargeback")
    assert not taken.grants.filter(revoked_at=None).exists()
    assert ledger.balance("loss:chargeback", "USD") == -3_000_000
    assert ledger.balance("loss:dispute_fee", "USD") == -15_000_000
    bank.agrees()


def test_staff_lets_a_buyer_buy_again_and_a_repeated_webhook_does_not_undo_it(bank):
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    buyers.press(purse, buyers.offer(1, 1_000_000))
    made = bank.do("disputes", charge=charge.stripe_charge_id, kind="fraudulent")
    bank.bring()
    assert not disputes.unfreeze(purse)  # One is open.
    bank.do(f"disputes/{made['id']}/close", won=False)
    events = bank.post()
    bank.bring(events)
    staff = cast.staff()
    browser = cast.signed_in(staff)
    browser.post("/admin/payments/purse/", {"action": "lift_the_freeze", "_selected_action": [str(purse.pk)]})
    assert LogEntry.objects.get().change_message == "Lifted the freeze."
    disputes.apply(stripe_api.dispute(made["id"]))
    bank.top_up(purse, 500)
    assert buyers.press(purse, buyers.offer(2, 1_000_000)).grant
    assert not disputes.unfreeze(purse)
    bank.agrees()


def test_a_dispute_that_is_won_gives_everything_back(bank):
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    made = bank.do("disputes", charge=charge.stripe_charge_id, kind="fraudulent")
    bank.bring()
    assert balance(purse) == 0
    bank.do(f"disputes/{made['id']}/close", won=True)
    bank.bring()
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("", 5_000_000)
    buyers.press(purse, buyers.offer())
    bank.agrees()


def test_an_inquiry_moves_no_money_and_freezes_nothing(bank):
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    bank.do("disputes", charge=charge.stripe_charge_id, kind="inquiry")
    bank.bring()
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("", 5_000_000)
    bank.agrees()


def test_a_fraud_warning_freezes_and_sends_back_what_is_unspent(bank):
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    buyers.press(purse, buyers.offer(1, 1_000_000))
    bank.do("warnings", charge=charge.stripe_charge_id)
    bank.bring()
    bank.bring()
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("fraud", 0)
    assert CardRefund.objects.get().amount_micros == 4_000_000
    bank.agrees()


def moved(name: str, cents: int, fee: int = 0) -> Money:
    return Money(name, "adjustment", "dp_review", cents, fee)


def disputed(charge: Charge, status: str, *money: Money) -> None:
    disputes.apply(DisputeFacts("dp_review", status, "fraudulent", 500, charge.intent, money))


def test_a_dispute_says_its_movements_in_any_order(bank):
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    disputed(charge, "won", moved("txn_back", 500), moved("txn_out", -500, 1500))
    assert (balance(purse), purse.flag) == (5_000_000, "")


def test_a_dispute_that_is_won_does_not_end_a_warning_of_fraud(bank):
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    buyers.press(purse, buyers.offer(1, 5_000_000))
    bank.do("warnings", charge=charge.stripe_charge_id)
    bank.bring()
    made = bank.do("disputes", charge=charge.stripe_charge_id, kind="fraudulent")
    bank.bring()
    bank.do(f"disputes/{made['id']}/close", won=True)
    bank.bring()
    purse.refresh_from_db()
    assert purse.flag == "fraud"


def test_a_dispute_that_is_won_does_not_pay_a_tab(bank):
    purse = bank.tab(card="4000000000000341")
    charge = bank.top_up(purse, 500)
    buyers.press(purse, buyers.offer(1, 11_000_000))
    assert tabs.charge_tab(purse.id).state == "declined"
    made = bank.do("disputes", charge=charge.stripe_charge_id, kind="fraudulent")
    bank.bring()
    bank.do(f"disputes/{made['id']}/close", won=True)
    bank.bring()
    assert (balance(purse), purse.flag) == (-6_000_000, "past_due")


def test_money_that_comes_back_after_a_loss_pays_the_loss_first(bank):
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    buyers.press(purse, buyers.offer(1, 3_000_000))
    Payment.objects.update(decided_at=timezone.now() - timedelta(days=20))
    Charge.objects.update(available_at=timezone.now() - timedelta(days=1))
    assert holds.clear() == 1
    out, back = moved("txn_out", -500, 1500), moved("txn_back", 500)
    disputed(charge, "lost", out)
    assert (balance(purse), ledger.balance("loss:chargeback", "USD")) == (0, -3_000_000)
    for _ in range(2):
        disputed(charge, "won", out, back)
    assert (balance(purse), ledger.balance("loss:chargeback", "USD")) == (2_000_000, 0)
    assert Dispute.objects.get().lost_at is None


def test_a_warning_of_fraud_freezes_though_the_unspent_was_spent_meanwhile(bank, monkeypatch):
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    to_card = refunds.to_card

    def late(*what, **how):
        buyers.press(purse, buyers.offer(1, 1_000_000))
        return to_card(*what, **how)

    monkeypatch.setattr(refunds, "to_card", late)
    disputes.warned(charge.intent)
    purse.refresh_from_db()
    assert (balance(purse), purse.flag) == (4_000_000, "fraud")


def test_a_second_warning_sends_back_what_is_unspent_of_its_payment_too(bank):
    purse = buyers.purse()
    first, second = bank.top_up(purse, 500), bank.top_up(purse, 1000)
    buyers.press(purse, buyers.offer(1, 3_000_000))
    for charge in (first, second):
        bank.do("warnings", charge=charge.stripe_charge_id)
        bank.bring()
    assert [refund.amount_micros for refund in CardRefund.objects.order_by("made_at")] == [5_000_000, 7_000_000]
    assert (balance(purse), purse.flag) == (0, "fraud")
    bank.agrees()


def test_a_warning_or_a_dispute_that_comes_before_its_payment_is_heard(bank):
    for control, kind, flag in (("warnings", "early_fraud", "fraud"), ("disputes", "charge.dispute", "dispute")):
        purse = buyers.purse()
        url = checkout.top_up(purse, 500, "/")
        bank.pay(url)
        (number,) = (one["id"] for one in bank.state()["charge"].values() if one["customer"] == purse.customer)
        bank.do(control, charge=number)
        bank.bring([event for event in bank.post() if kind in event["payload"]])
        purse.refresh_from_db()
        assert purse.flag == flag
    bank.agrees()


def test_a_second_dispute_that_is_heard_of_before_the_end_of_the_first_is_booked(bank: Bank):
    """For a while more than the payment seems to be withdrawn: the books say what the processor took and gave."""
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    first = bank.do("disputes", charge=charge.stripe_charge_id, kind="fraudulent")
    bank.bring()
    bank.do(f"disputes/{first['id']}/close", won=True)
    late = bank.post()
    second = bank.do("disputes", charge=charge.stripe_charge_id, kind="fraudulent")
    bank.bring()
    charge.refresh_from_db()
    assert (charge.disputed_micros, balance(purse)) == (5_000_000, -5_000_000)
    assert [str(finding) for finding in audit.findings()] == []
    bank.bring(late)
    assert balance(purse) == 0
    bank.do(f"disputes/{second['id']}/close", won=True)
    bank.bring()
    charge.refresh_from_db()
    assert (charge.disputed_micros, balance(purse)) == (0, 5_000_000)
    bank.agrees()
