"""What a hostile reading of the card half found: each of these once took, gave or kept money wrongly."""

from datetime import timedelta

import pytest
from django.utils import timezone

from payments import refunds
from payments.models import CardRefund, Purse

from . import till

pytestmark = pytest.mark.django_db(transaction=True)


def balance(purse: Purse) -> int:
    purse.refresh_from_db()
    return purse.balance_micros


def test_a_refund_made_by_hand_is_not_made_again_after_a_crash(bank, monkeypatch):
    purse = till.purse()
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
