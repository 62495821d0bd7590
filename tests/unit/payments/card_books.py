"""A purse with everything that can be in it: what the audit of cards looks at, and what the database keeps."""

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from payments import purses
from payments.books import accounts, ledger
from payments.books.ledger import Move
from payments.ids import uuid7
from payments.models import Account, ApiKey, Card, CardRefund, Charge, Dispute, Payment, Purse
from tests import buyers


@dataclass
class Books:
    """A purse whose agent bought something and whose charge was refunded and disputed in part; and a stranger's."""

    purse: Purse
    other: Purse
    payment: Payment
    charge: Charge
    refund: CardRefund

    def names(self) -> dict[str, Any]:
        return {
            "purse": self.purse.id.hex,
            "other": self.other.id.hex,
            "payment": self.payment.id.hex,
            "sale": self.payment.sale_id.hex,
            "charge": self.charge.id.hex,
            "stripe_charge_id": self.charge.stripe_charge_id,
            "refund": self.refund.id.hex,
            "key": ApiKey.objects.get(purse=self.purse).id.hex,
            "others_key": ApiKey.objects.get(purse=self.other).id.hex,
            "card": Card.objects.get(purse=self.purse).id,
            "others_account": Account.objects.get(code=accounts.balance(self.other.id)).id,
            "new": uuid7().hex,
        }


def sell() -> Books:
    """The books, by way of the product and, for what comes from Stripe, as it would be written."""
    purse, other = buyers.purse(), buyers.purse(1_000_000)
    charge = buyers.fill(purse, 5_000_000)
    buyers.key(other)
    payment = buyers.present(buyers.key(purse, budget_micros=1_000_000), buyers.offer()).payment
    back = _refund(charge, 700_000)
    _dispute(charge, 400_000)
    card = Card.objects.create(purse=purse, stripe_card_id="pm_test", brand="visa", last4="4242")
    Purse.objects.filter(id=purse.id).update(card=card)
    return Books(purse, other, payment, charge, back)


def _refund(charge: Charge, micros: int) -> CardRefund:
    """Made by hand at the processor, and seen."""
    with transaction.atomic():
        back = CardRefund.objects.create(
            charge=charge, amount_micros=micros, state="done", stripe_refund_id="re_test", ours=False
        )
        line = Move(accounts.balance(charge.purse.id), "world:stripe", micros)
        ledger.post("card_refund", f"card_refund:{back.stripe_refund_id}", [line], asset="USD")
        purses.move(charge.purse_id, -micros)
        Charge.objects.filter(id=charge.id).update(refunded_micros=micros)
    return back


def _dispute(charge: Charge, micros: int) -> None:
    with transaction.atomic():
        Dispute.objects.create(
            id="dp_test", charge=charge, status="lost", amount_micros=micros, withdrawn_micros=micros,
            lost_at=timezone.now(),
        )  # fmt: skip
        line = Move(accounts.balance(charge.purse.id), "world:stripe", micros)
        ledger.post("dispute", "dispute:txn_test", [line], asset="USD")
        purses.move(charge.purse_id, -micros)
        Charge.objects.filter(id=charge.id).update(disputed_micros=micros)
