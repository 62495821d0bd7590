"""Receipts by mail: one for each card payment that succeeded, once it has bought what it was made for.

A purchase from a balance moves no money outside and sends no mail: articles may cost a tenth of a cent. The activity
page lists it.
"""

from datetime import timedelta
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.formats import date_format

from payments import gate, mailing
from payments.cards import wanted
from payments.models import Charge
from payments.money import dollars

_AT_ONCE = 100
# After a longer outage a receipt would only surprise.
_AT_MOST = timedelta(days=3)
Purpose = Charge.Purpose


def send_due() -> int:
    """Send the receipts that are due. Each is sent at most once, also by two workers. Returns how many."""
    sent = 0
    for charge in _due()[:_AT_ONCE]:
        mine = Charge.objects.filter(id=charge.id, receipt_sent_at=None)
        if mine.update(receipt_sent_at=timezone.now()):
            sent += _send(charge)
    return sent


def _due() -> QuerySet[Charge]:
    paid = Charge.objects.filter(state=Charge.State.SUCCEEDED, receipt_sent_at=None)
    fresh = paid.filter(decided_at__gt=timezone.now() - _AT_MOST).exclude(fulfilled_at=None)
    return fresh.exclude(purse__email="").select_related("purse", "bought").order_by("decided_at")


def _send(charge: Charge) -> bool:
    amount, at = dollars(charge.amount_micros), charge.decided_at or charge.made_at
    paid = f"You paid {amount} by card on {date_format(at, 'j F Y, H:i')} UTC."
    text = f"{paid}\n\n{_what_for(charge)}\n\nYour balance and your activity:\n{settings.BASE_URL}/purse"
    if charge.purse.owner.startswith("guest:"):
        text += "\nOn another device, sign in with this email address, and the balance is offered to you there."
    return mailing.send([charge.purse.email], f"Receipt for {amount}", text)


def _what_for(charge: Charge) -> str:
    if charge.purpose == Purpose.TAB:
        return "It paid what you owed on your tab."
    offer = wanted.offer_of(charge)
    grant = charge.bought.grants.filter(revoked_at=None).first() if charge.bought else None
    if offer is None:
        return "It was added to your balance."
    if grant is None:
        return f"It was added to your balance. “{offer.title}” could not be bought with it."
    opens = f"{settings.BASE_URL}/library?{urlencode({'receipt': gate.receipt_of(grant, offer)})}"
    return f"It paid for “{offer.title}”:\n{offer.url}\n\nThis link opens the article again, on any device:\n{opens}"
