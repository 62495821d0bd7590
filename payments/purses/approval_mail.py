"""Mail to owners about purchases that wait for their approval: one message an hour at most, whatever an agent asks."""

from datetime import datetime, timedelta

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from payments import jobs, mailing
from payments.models import Approval, Purse
from payments.money import dollars

from . import approvals

_PURSES_AT_ONCE = 100
_SHOWN = 10
_EVERY = timedelta(hours=1)
# Never mailed, or asked again since.
_UNSAID = Q(mailed_at=None) | Q(mailed_at__lt=F("asked_at"))


def send_due() -> int:
    """Mail the owners of what waits and was not mailed yet. Returns how many messages."""
    owners = _owners(timezone.now() - _EVERY)[:_PURSES_AT_ONCE]
    return sum(_send(purse) for purse in jobs.in_time(owners))


def _owners(hour_ago: datetime) -> QuerySet[Purse]:
    asked = Approval.objects.filter(key__purse=OuterRef("pk"))
    new = asked.filter(Q(key__expires_at=None) | Q(key__expires_at__gt=timezone.now()), key__revoked_at=None)
    due = Exists(new.filter(_UNSAID, state=Approval.State.ASKED))
    return Purse.objects.filter(due, ~Exists(asked.filter(mailed_at__gt=hour_ago))).exclude(email="")


def _send(purse: Purse) -> bool:
    waiting = list(approvals.waiting(purse))
    unsaid = Approval.objects.filter(_UNSAID, id__in=[one.id for one in waiting])
    if not unsaid.update(mailed_at=timezone.now()):
        return False  # Another worker was first.
    lines = [f"- “{one.title}” for {dollars(one.amount_micros)}, asked by {one.key.name}" for one in waiting[:_SHOWN]]
    more = [f"- and {len(waiting) - _SHOWN} more"] if len(waiting) > _SHOWN else []
    text = "Your agents are waiting for your approval to buy:\n\n" + "\n".join(lines + more)
    text += f"\n\nNothing has been bought. Approve or decline:\n{approvals.url()}"
    count = "a purchase" if len(waiting) == 1 else f"{len(waiting)} purchases"
    return mailing.send([purse.email], f"Waiting for your approval: {count}", text)
