"""What a paid charge buys: the article it was made for, through the gate like every other purchase.

If the gate refuses, the money stays in the balance. Called by whoever learnt that a charge was paid, and by the
worker for what nobody finished; idempotent.
"""

import logging
import uuid

from django.utils import timezone

from payments import gate
from payments.cards import charges, checkout
from payments.models import Charge, Payment, PaymentState, Purse
from payments.offers import Offer, Presented

log = logging.getLogger(__name__)
_AT_ONCE = 200


def returned(charge_id: uuid.UUID) -> Charge:
    """The buyer is back from the hosted page: what became of the charge, and of what it was to buy. Raises NoAnswer."""
    charge = checkout.returned(charge_id)
    fulfil(charge.id)
    charge.refresh_from_db()
    return charge


def fulfil_paid() -> None:
    """Fulfil every paid charge that has not been; trouble with one is no trouble for the next."""
    paid = Charge.objects.filter(state=Charge.State.SUCCEEDED, fulfilled_at=None)
    for charge_id in paid.order_by("decided_at").values_list("id", flat=True)[:_AT_ONCE]:
        try:
            fulfil(charge_id)
        except Exception:
            log.exception("charge %s could not be fulfilled", charge_id)


def fulfil(charge_id: uuid.UUID) -> None:
    """Buy what a paid charge was made for. Does nothing for one that is not paid, or was fulfilled."""
    charge = Charge.objects.select_related("purse").get(id=charge_id)
    if charge.state != Charge.State.SUCCEEDED or charge.fulfilled_at:
        return
    bought = None
    purse = charge.purse.joined_to or charge.purse
    if (wanted := charges.offer_of(charge)) and not _given_back(charge, purse, wanted):
        try:
            admission = gate.verify(Presented(purse=str(purse.id), spend=True), wanted)
            bought = admission.settle().payment
        except gate.PaymentInFlight:
            return  # The sweeper comes again.
        except gate.PaymentRequired as refusal:
            if Purse.objects.filter(id=purse.id).exclude(joined_to=None).exists():
                return  # Joined to an account at this moment, which has the money now: the sweeper comes again.
            log.warning("%s stays in the purse: %s", charge, refusal.word)
    Charge.objects.filter(id=charge_id, fulfilled_at=None).update(fulfilled_at=timezone.now(), bought=bought)


def _given_back(charge: Charge, purse: Purse, wanted: Offer) -> bool:
    """Whether it was bought with this money before we died, and its reader did not want it."""
    bought = Payment.objects.filter(debit__purse=purse, resource=wanted.resource, decided_at__gte=charge.decided_at)
    return bought.filter(state=PaymentState.REFUNDED).exists() if charge.decided_at else False
