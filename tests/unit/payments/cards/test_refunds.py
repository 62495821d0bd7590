"""Refunds to a card: never more than is unspent, once, and also when they are made by hand at Stripe."""

from datetime import timedelta

import pytest
from django.utils import timezone

from payments import purses
from payments.cards import reconciliation, refunds
from payments.models import CardRefund
from tests import buyers
from tests.bank import FAULTS
from tests.buyers import balance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


@pytest.mark.parametrize(("kind", "when"), FAULTS)
def test_a_refund_whose_answer_is_lost_goes_back_once(bank, kind, when):
    purse = buyers.purse()
    charge = bank.top_up(purse, 1000)
    bank.fault("/v1/refunds$", kind, when, method="POST")
    refund = refunds.to_card(purse, charge, 4_000_000)
    assert balance(purse) == 6_000_000
    for _ in range(3):
        CardRefund.objects.update(made_at=timezone.now() - timedelta(hours=1))
        bank.later()
    refund.refresh_from_db()
    assert refund.state == "done"
    assert [one["amount"] for one in bank.state()["refund"].values()] == [400]
    bank.agrees()
    assert balance(purse) == 6_000_000


def test_refunds_in_parts_in_full_too_much_and_one_that_comes_back(bank):
    purse = buyers.purse()
    charge = bank.top_up(purse, 1000)
    assert refunds.refundable(purse) != []
    refunds.to_card(purse, charge, 4_000_000)
    purse.refresh_from_db()
    assert refunds.refundable(purse) == [(charge, 6_000_000, 0)]
    for wrong in (6_010_000, 0, -10_000, 5_000):
        with pytest.raises(purses.PurseRefused):
            refunds.to_card(purse, charge, wrong)
    last = refunds.to_card(purse, charge, 6_000_000)
    assert balance(purse) == 0
    bank.do(f"refunds/{last.stripe_refund_id}/fail")
    bank.bring()
    last.refresh_from_db()
    assert last.state == "failed"
    assert balance(purse) == 6_000_000
    bank.agrees()


def test_what_is_spent_cannot_go_back_to_the_card(bank):
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    buyers.press(purse, buyers.offer(1, 4_000_000))
    with pytest.raises(purses.PurseRefused) as refused:
        refunds.to_card(purse, charge, 2_000_000)
    assert refused.value.word == "insufficient_balance"
    purse.refresh_from_db()
    assert refunds.refundable(purse) == [(charge, 1_000_000, 0)]


def test_a_refund_made_by_hand_at_the_processor_comes_in_without_a_webhook(bank):
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    buyers.press(purse, buyers.offer(1, 4_000_000))
    bank.do("refund", payment_intent=charge.intent, amount=300)
    bank.lose()
    assert len(reconciliation.reconcile().healed) >= 1
    assert balance(purse) == -2_000_000
    bank.agrees()


def test_a_disputed_charge_is_not_refunded(bank):
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    bank.do("disputes", charge=charge.stripe_charge_id, kind="fraudulent")
    bank.bring()
    with pytest.raises(purses.PurseRefused):
        refunds.to_card(purse, charge, 1_000_000)
    other = buyers.purse()
    second = bank.top_up(other, 500)
    bank.do("disputes", charge=second.stripe_charge_id, kind="fraudulent")  # We have not heard of it.
    refund = refunds.to_card(other, second, 1_000_000)
    assert refund.state == "refused"
    assert balance(other) == 5_000_000
    bank.bring()
    bank.agrees()


def test_a_refund_made_by_hand_is_not_made_again_after_a_crash(bank, monkeypatch):
    purse = buyers.purse()
    charge = bank.top_up(purse, 1000)
    bank.do("refund", payment_intent=charge.intent, amount=300)
    monkeypatch.setattr(refunds, "_done", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        refunds.look(charge.intent)
    monkeypatch.undo()
    assert CardRefund.objects.get().state == "asked"
    CardRefund.objects.update(made_at=timezone.now() - timedelta(hours=1))
    bank.later()
    assert [one["amount"] for one in bank.state()["refund"].values()] == [300]
    assert balance(purse) == 7_000_000
    bank.agrees()
