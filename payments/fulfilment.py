"""Fulfilment: a paid charge buys the article it was made for, through the gate like every other purchase.

If the gate refuses, the money stays in the buyer's balance. The buyer's return calls this room; the worker does the
rest. Every function is idempotent.
"""

import logging
import uuid

from django.utils import timezone

from payments import gate
from payments.cards import charges, wanted
from payments.models import Charge, Payment, PaymentState, Purse
from payments.offers import Offer, Presented

log = logging.getLogger(__name__)
_AT_ONCE = 200


def returned(charge_id: uuid.UUID) -> Charge:
    """Read the result of a charge when the buyer returns from the hosted page, and fulfil it.

    Raises NoAnswer when the processor cannot be read: the charge may or may not be paid.
    """
    charge = Charge.objects.select_related("purse").get(id=charge_id)
    if charge.state != Charge.State.SUCCEEDED:  # Otherwise everything that is left to do is in our own books.
        charge = charges.look(charge)
    fulfil(charge.id)
    charge.refresh_from_db()
    return charge


def fulfil_paid() -> None:
    """Fulfil the paid charges that are still unfulfilled. One that fails is logged and does not stop the others."""
    paid = Charge.objects.filter(state=Charge.State.SUCCEEDED, fulfilled_at=None)
    for charge_id in paid.order_by("decided_at").values_list("id", flat=True)[:_AT_ONCE]:
        try:
            fulfil(charge_id)
        except Exception:
            log.exception("charge %s could not be fulfilled", charge_id)


def fulfil(charge_id: uuid.UUID) -> None:
    """Buy the article that a paid charge was made for. Does nothing for an unpaid or a fulfilled charge."""
    charge = Charge.objects.select_related("purse").get(id=charge_id)
    if charge.state != Charge.State.SUCCEEDED or charge.fulfilled_at:
        return
    bought = None
    purse = charge.purse.joined_to or charge.purse
    if (offer := wanted.offer_of(charge)) and not _given_back(charge, purse, offer):
        try:
            admission = gate.verify(Presented(purse=str(purse.id), spend=True), offer)
            bought = admission.settle().payment
        except gate.PaymentInFlight:
            return  # The next sweep tries again.
        except gate.PaymentRequired as refusal:
            if Purse.objects.filter(id=purse.id).exclude(joined_to=None).exists():
                return  # The purse was just joined to an account, which now has the money. The next sweep buys there.
            log.warning("%s stays in the purse: %s", charge, refusal.word)
    Charge.objects.filter(id=charge_id, fulfilled_at=None).update(fulfilled_at=timezone.now(), bought=bought)


def _given_back(charge: Charge, purse: Purse, wanted: Offer) -> bool:
    """Whether an earlier run bought the article with this charge and the buyer has refunded it since.

    A run can crash between the purchase and `fulfilled_at`. Buying a second time would take the refunded money again.
    """
    bought = Payment.objects.filter(debit__purse=purse, resource=wanted.resource, decided_at__gte=charge.decided_at)
    return bought.filter(state=PaymentState.REFUNDED).exists() if charge.decided_at else False
