"""Receipts by mail: one for each card payment that succeeded, once it has bought what it was made for.

A purchase from a balance moves no money outside and sends no mail: articles may cost a tenth of a cent. The activity
page lists it.
"""

import uuid
from datetime import timedelta
from urllib.parse import urlencode

from django.conf import settings
from django.core import signing
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.formats import date_format

from payments import jobs, mailing
from payments.cards import wanted
from payments.models import Charge, Grant
from payments.money import dollars

_AT_ONCE = 100
# After a longer outage a receipt would only surprise.
_AT_MOST = timedelta(days=3)
_SALT = "payments.card_receipts"
_LINK_SECONDS = 90 * 86400


def grant_of(token: str) -> Grant | None:
    """The purchase that a mailed link opens; None when the token is forged or expired, or the purchase was refunded."""
    try:
        grant_id = uuid.UUID(signing.loads(token, salt=_SALT, max_age=_LINK_SECONDS))
    except (signing.BadSignature, ValueError, TypeError):
        return None
    return Grant.objects.filter(id=grant_id, revoked_at=None).first()


def send_due() -> int:
    """Send the receipts that are due. Two workers send each once. Returns how many.

    A receipt that the mail server does not take is due again, and the run ends.
    """
    sent = 0
    for charge in jobs.in_time(_due()[:_AT_ONCE]):
        mine, now = Charge.objects.filter(id=charge.id), timezone.now()
        if not mine.filter(receipt_sent_at=None).update(receipt_sent_at=now):
            continue
        if not _send(charge):
            mine.filter(receipt_sent_at=now).update(receipt_sent_at=None)
            break
        sent += 1
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
    if charge.purpose == Charge.Purpose.TAB:
        return "It paid what you owed on your tab."
    offer = wanted.offer_of(charge)
    grant = charge.bought.grants.filter(revoked_at=None).first() if charge.bought else None
    if offer is None:
        return "It was added to your balance."
    if grant is None:
        return f"It was added to your balance. “{offer.title}” could not be bought with it."
    token = signing.dumps(str(grant.id), salt=_SALT)
    opens = f"{settings.BASE_URL}/library?{urlencode({'mailed': token})}"
    price = dollars(offer.price.amount_micros)
    paid = f"It was added to your balance, and “{offer.title}” was bought from it for {price}:"
    return f"{paid}\n{offer.url}\n\nFor 90 days this link opens the article on any device:\n{opens}"
