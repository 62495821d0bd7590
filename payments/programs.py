"""A person's programs: making keys, checking them, and what waits for the person's word.

A key is shown once; only its digest is kept. Its budgets are kept by conditional updates in the commit of each sale,
so two hundred requests at once cannot overspend one.
"""

import hashlib
import hmac
import re
import secrets
import string
import uuid
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Case, F, Q, Value, When
from django.utils import timezone

from .models import Approval, ProgramKey, Purse
from .offers import Offer
from .purses import Refused

KEYS_MAX = 50
_ALPHABET = string.ascii_letters + string.digits
_FORM = re.compile(r"pp_([A-Za-z0-9]{12})_([A-Za-z0-9]{32})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key may do, in micros of a US dollar; None: no such limit. `payees` empty: buys from everybody."""

    day_budget_micros: int | None = None
    budget_micros: int | None = None
    ceiling_micros: int | None = None
    approve_above_micros: int | None = None
    payees: tuple[str, ...] = field(default=())
    expires_at: datetime | None = None


def make(purse: Purse, name: str, limits: Limits) -> tuple[ProgramKey, str]:
    """A new key and its text, which nobody can read again. Raises Refused when there are too many."""
    if purse.keys.filter(revoked_at=None).count() >= KEYS_MAX:
        raise Refused("too_many_keys", f"There are {KEYS_MAX} keys in use already. Revoke one first.")
    public, secret = (_random(length) for length in (12, 32))
    text = f"pp_{public}_{secret}"
    key = ProgramKey.objects.create(
        purse=purse,
        name=name,
        public=public,
        digest=_digest(text),
        day_budget_micros=limits.day_budget_micros,
        budget_micros=limits.budget_micros,
        ceiling_micros=limits.ceiling_micros,
        approve_above_micros=limits.approve_above_micros,
        payees=list(limits.payees),
        expires_at=limits.expires_at,
    )
    return key, text


def revoke(key: ProgramKey) -> None:
    """From this commit on the key opens nothing."""
    ProgramKey.objects.filter(id=key.id, revoked_at=None).update(revoked_at=timezone.now())


def known(text: str) -> ProgramKey | None:
    """The live key that this text is, or None. One query."""
    match = _FORM.fullmatch(text)
    if not match:
        return None
    key = ProgramKey.objects.select_related("purse").filter(public=match[1], revoked_at=None).first()
    if key is None or not hmac.compare_digest(key.digest, _digest(text)):
        return None
    return None if key.expires_at and key.expires_at <= timezone.now() else key


def permit(key: ProgramKey, offer: Offer, amount_micros: int) -> None:
    """Say no early to what the key may not buy. Raises Refused; a purchase above the person's limit is written down
    for the person to approve, which moves nothing."""
    if key.ceiling_micros is not None and amount_micros > key.ceiling_micros:
        raise Refused("price_above_ceiling", "This costs more than this key may spend on one article.")
    if key.budget_micros is not None and key.spent_micros + amount_micros > key.budget_micros:
        raise Refused("budget_exhausted", "This key has spent its budget.")
    today = key.day_spent_micros if key.day == timezone.now().date() else 0
    if key.day_budget_micros is not None and today + amount_micros > key.day_budget_micros:
        raise Refused("day_budget_exhausted", "This key has spent its budget of today (UTC).")
    if needs_approval(key, amount_micros):
        _ask(key, offer, amount_micros)


def allowed_payee(key: ProgramKey, payee: str) -> bool:
    """Whether the key may be used with this publication at all."""
    return not key.payees or payee in key.payees


def needs_approval(key: ProgramKey, amount_micros: int) -> bool:
    """Whether the person wants to be asked."""
    return key.approve_above_micros is not None and amount_micros > key.approve_above_micros


def approval_url(approval_id: uuid.UUID) -> str:
    """Where the person says yes or no."""
    return f"{settings.BASE_URL}/purse/approvals/{approval_id}"


def _ask(key: ProgramKey, offer: Offer, amount_micros: int) -> None:
    """Find the open approval for this key and thing, or ask. A yes to a lower price is asked again."""
    opened = Approval.objects.filter(key=key, resource=offer.resource)
    found = opened.filter(state__in=(Approval.State.ASKED, Approval.State.APPROVED)).first()
    if found is None:
        try:
            with transaction.atomic():
                found = Approval.objects.create(
                    key=key,
                    resource=offer.resource,
                    payee=offer.payee,
                    title=offer.title[:200],
                    url=offer.url,
                    amount_micros=amount_micros,
                )
        except IntegrityError:
            found = opened.get(state__in=(Approval.State.ASKED, Approval.State.APPROVED))
    if found.state == Approval.State.APPROVED and found.amount_micros >= amount_micros:
        return
    if found.amount_micros != amount_micros:
        Approval.objects.filter(id=found.id).update(amount_micros=amount_micros, state=Approval.State.ASKED)
    where = approval_url(found.id)
    raise Refused("approval_required", f"The owner of this key has to approve this purchase at {where}")


def decide(approval: Approval, yes: bool) -> bool:
    """The person's word; False when it was not open any more."""
    asked = Approval.objects.filter(id=approval.id, state=Approval.State.ASKED)
    said = Approval.State.APPROVED if yes else Approval.State.DECLINED
    return asked.update(state=said, decided_at=timezone.now()) == 1


def spend(key_id: uuid.UUID, offer_resource: str, amount_micros: int) -> None:
    """Book an amount on a key's budgets in the caller's transaction; the last word on all its limits.

    Raises Refused, and then the caller's transaction must not be committed.
    """
    today = timezone.now().date()
    so_far = Case(When(day=today, then=F("day_spent_micros")), default=Value(0))
    row = (
        ProgramKey.objects.filter(id=key_id, revoked_at=None)
        .filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))
        .filter(Q(ceiling_micros=None) | Q(ceiling_micros__gte=amount_micros))
        .filter(Q(budget_micros=None) | Q(budget_micros__gte=F("spent_micros") + amount_micros))
        .alias(so_far=so_far)
        .filter(Q(day_budget_micros=None) | Q(day_budget_micros__gte=F("so_far") + amount_micros))
    )
    changed = row.update(
        spent_micros=F("spent_micros") + amount_micros,
        day_spent_micros=so_far + amount_micros,
        day=today,
        used_at=timezone.now(),
    )
    if not changed:
        raise Refused("budget_exhausted", "This key has spent its budget.")
    key = ProgramKey.objects.get(id=key_id)
    if needs_approval(key, amount_micros):
        approved = Approval.objects.filter(
            key=key, resource=offer_resource, state=Approval.State.APPROVED, amount_micros__gte=amount_micros
        )
        if not approved.update(state=Approval.State.USED):
            raise Refused("approval_required", "The owner of this key has to approve this purchase.")


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
