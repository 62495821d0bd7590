"""Approvals: the owner of an API key approves or declines purchases above an amount that the owner chose.

An approval covers one purchase of one article at up to one price, and lasts a week. Nothing here moves money: the sale
does, and uses the approval up in its own commit.
"""

import uuid
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from payments import purses
from payments.models import OWNED, ApiKey, Approval, Payment, Purse
from payments.offers import Offer

from . import PurseRefused

State = Approval.State
OPEN = (State.ASKED, State.APPROVED)
YES_IS_GOOD_FOR = timedelta(days=7)
# An agent cannot flood the page: it can ask for more approvals only when some of these are answered.
WAITING_MAX = 100


def url(approval_id: uuid.UUID | None = None) -> str:
    """The page where the owner approves or declines one purchase, or all that are waiting."""
    one = f"/{approval_id}" if approval_id else ""
    return f"{settings.BASE_URL}/purse/approvals{one}"


def _required(approve_at: str) -> PurseRefused:
    sentence = "The owner of this API key must approve this purchase."
    return PurseRefused("approval_required", sentence, approve_at=approve_at)


def needed(key: ApiKey, amount_micros: int) -> bool:
    """Whether the owner of the key must approve a purchase at this price."""
    return key.approve_above_micros is not None and amount_micros > key.approve_above_micros


def require_approval(key: ApiKey, offer: Offer, amount_micros: int) -> None:
    """Return when no approval is needed, or a valid one covers this price; otherwise ask for one.

    Raises PurseRefused with the address where the owner can approve. Moves no money.
    """
    if not needed(key, amount_micros):
        return
    rows = Approval.objects.filter(key=key, resource=offer.resource)
    found = rows.filter(state__in=OPEN).first()
    if found is None:
        if rows.filter(state=State.DECLINED, amount_micros__lte=amount_micros).exists():
            raise PurseRefused("approval_declined", "The owner of this API key declined this purchase.")
        if Approval.objects.filter(key=key, state=State.ASKED).count() >= WAITING_MAX:
            raise _required(url())
        found = _ask(key, offer, amount_micros) or rows.filter(state__in=OPEN).first()
        if found is None:
            raise _required(url())  # Asked, approved and used meanwhile: the next request sees that.
    if found.state == State.APPROVED and found.amount_micros >= amount_micros and _good(found):
        return
    if found.state == State.APPROVED or found.amount_micros != amount_micros:
        _ask_again(found, amount_micros)
    raise _required(url(found.id))


def _ask(key: ApiKey, offer: Offer, amount_micros: int) -> Approval | None:
    """Ask for approval; None when another request of this agent asked first or has just bought the article."""
    try:
        with transaction.atomic():
            asked = Approval.objects.create(
                key=key,
                resource=offer.resource,
                payee=offer.payee,
                title=offer.title[:200],
                url=offer.url,
                amount_micros=amount_micros,
            )
            # An approval that disappeared since we looked was used by a purchase, and that purchase is visible here.
            names = purses.buyers(key.purse)
            if Payment.objects.filter(buyer__in=names, resource=offer.resource, state__in=OWNED).exists():
                transaction.set_rollback(True)
                return None
            return asked
    except IntegrityError:
        return None


def _ask_again(found: Approval, amount_micros: int) -> None:
    """Ask again: the price changed or the approval expired. Never touches an approval that was used meanwhile."""
    same = Approval.objects.filter(id=found.id, state=found.state, amount_micros=found.amount_micros)
    same.update(amount_micros=amount_micros, state=State.ASKED, asked_at=timezone.now(), decided_at=None)


def _good(found: Approval) -> bool:
    return found.decided_at is not None and found.decided_at > timezone.now() - YES_IS_GOOD_FOR


def use(key: ApiKey, resource: str, amount_micros: int) -> None:
    """Use an approval up in the caller's database transaction. Raises PurseRefused; the caller must then roll back."""
    yes = Approval.objects.filter(key=key, resource=resource, state=State.APPROVED)
    good = yes.filter(amount_micros__gte=amount_micros, decided_at__gt=timezone.now() - YES_IS_GOOD_FOR)
    if not good.update(state=State.USED):
        raise _required(url())


# --- The owner's side -------------------------------------------------------------------------------------


def of(purse: Purse) -> QuerySet[Approval]:
    """Every approval that this purse's agents ever asked for."""
    return Approval.objects.filter(key__purse=purse).select_related("key")


def waiting(purse: Purse) -> QuerySet[Approval]:
    """Approvals that wait for an answer, oldest first, of keys that could still use them."""
    live = Q(key__expires_at=None) | Q(key__expires_at__gt=timezone.now())
    return of(purse).filter(live, state=State.ASKED, key__revoked_at=None).order_by("asked_at", "id")


def approve(approval: Approval, amount_micros: int) -> bool:
    """Approve at up to the price that the owner saw, also after declining; False when that is no longer possible."""
    row = Approval.objects.filter(id=approval.id, amount_micros=amount_micros, key__revoked_at=None)
    row = row.filter(state__in=(State.ASKED, State.DECLINED))
    try:
        with transaction.atomic():
            return row.update(state=State.APPROVED, decided_at=timezone.now()) == 1
    except IntegrityError:
        return False  # After this price was declined the agent asked at a lower one, which is open.


def decline(approval: Approval) -> bool:
    """Decline, also after an approval that is not used yet; False when it is too late."""
    row = Approval.objects.filter(id=approval.id, state__in=OPEN)
    return row.update(state=State.DECLINED, decided_at=timezone.now()) == 1
