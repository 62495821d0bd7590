"""Mail to owners about purchases that wait for their approval: one message an hour at most, whatever an agent asks."""

from datetime import timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from payments import mailing
from payments.models import Approval, Purse
from payments.money import dollars

from . import approvals

_PURSES_AT_ONCE = 100
_SHOWN = 10
_EVERY = timedelta(hours=1)


def send_due() -> int:
    """Mail the owners of what waits and was not mailed yet. Returns how many messages."""
    now = timezone.now()
    return sum(_send(purse) for purse in _owners(now - _EVERY)[:_PURSES_AT_ONCE])


def _owners(hour_ago: object) -> QuerySet[Purse]:
    asked = Approval.objects.filter(key__purse=OuterRef("pk"))
    new = asked.filter(Q(key__expires_at=None) | Q(key__expires_at__gt=timezone.now()), key__revoked_at=None)
    due = Exists(new.filter(state=Approval.State.ASKED, mailed_at=None))
    return Purse.objects.filter(due, ~Exists(asked.filter(mailed_at__gt=hour_ago))).exclude(email="")


def _send(purse: Purse) -> bool:
    waiting = list(approvals.waiting(purse))
    unsaid = Approval.objects.filter(id__in=[one.id for one in waiting], mailed_at=None)
    if not unsaid.update(mailed_at=timezone.now()):
        return False  # Another worker was first.
    lines = [f"- “{one.title}” for {dollars(one.amount_micros)}, asked by {one.key.name}" for one in waiting[:_SHOWN]]
    more = [f"- and {len(waiting) - _SHOWN} more"] if len(waiting) > _SHOWN else []
    text = "Your agents are waiting for your approval to buy:\n\n" + "\n".join(lines + more)
    text += f"\n\nNothing has been bought. Approve or decline:\n{approvals.url()}"
    count = "a purchase" if len(waiting) == 1 else f"{len(waiting)} purchases"
    return mailing.send([purse.email], f"Waiting for your approval: {count}", text)
