"""API keys of a person's agents: creating them, authenticating them, and what their limits allow.

A key is shown once, and only its digest is kept. A conditional update in the commit of each sale keeps its budgets, so
two hundred concurrent requests cannot overspend one. Purchases that wait for approval are in payments.purses.approvals.
"""

import hashlib
import hmac
import re
import secrets
import string
import uuid
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.utils import timezone

from payments.models import ApiKey, Payment, Purse

from . import PurseRefused, approvals

KEYS_MAX = 50
# A key's last use is recorded at most this often, so that reading again does not cost a write each time.
_NOTED_EVERY = timedelta(minutes=1)
_ALPHABET = string.ascii_letters + string.digits
_FORM = re.compile(r"pp_([A-Za-z0-9]{12})_([A-Za-z0-9]{32})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key may do, in micros of a US dollar. None means no limit; empty `payees` means every publication."""

    day_budget_micros: int | None = None
    budget_micros: int | None = None
    ceiling_micros: int | None = None
    approve_above_micros: int | None = None
    payees: tuple[str, ...] = field(default=())
    expires_at: datetime | None = None

    def columns(self) -> dict[str, object]:
        """The limits as the columns of a key's row."""
        return {
            "day_budget_micros": self.day_budget_micros,
            "budget_micros": self.budget_micros,
            "ceiling_micros": self.ceiling_micros,
            "approve_above_micros": self.approve_above_micros,
            "payees": list(self.payees),
            "expires_at": self.expires_at,
        }


# --- Making, changing and revoking ------------------------------------------------------------------------


def make(purse: Purse, name: str, limits: Limits, key_id: uuid.UUID | None = None) -> tuple[ApiKey, str]:
    """Create a key; returns it with its text, which cannot be read again.

    `key_id` is the id of the form that asked for the key, so that one form makes one key. Raises PurseRefused.
    """
    public, secret = (_random(length) for length in (12, 32))
    text = f"pp_{public}_{secret}"
    key = ApiKey(purse=purse, name=name, public=public, digest=_digest(text), **limits.columns())
    if key_id:
        key.id = key_id
    try:
        with transaction.atomic():
            # The lock serialises the forms of one purse, so that concurrent ones cannot exceed KEYS_MAX.
            Purse.objects.select_for_update().get(id=purse.id)
            if in_use(purse).count() >= KEYS_MAX:
                raise PurseRefused("too_many_keys", f"You already have {KEYS_MAX} active keys. Revoke one first.")
            key.save(force_insert=True)
    except IntegrityError as error:
        raise PurseRefused("key_made_already", "This key was already created. We showed it only once.") from error
    return key, text


def change(key: ApiKey, name: str, limits: Limits) -> None:
    """Change a key's name and limits, from this commit on. Raises PurseRefused: nothing was changed."""
    row = ApiKey.objects.filter(id=key.id, revoked_at=None)
    if limits.budget_micros is not None:
        row = row.filter(spent_micros__lte=limits.budget_micros)
    if not row.update(name=name, **limits.columns()):
        if ApiKey.objects.filter(id=key.id, revoked_at=None).exists():
            raise PurseRefused("budget_below_spent", "The key has already spent more than this. Enter a higher budget.")
        raise PurseRefused("key_revoked", "This key is revoked.")


def revoke(key: ApiKey) -> None:
    """Revoke a key: from this commit on it is refused."""
    ApiKey.objects.filter(id=key.id, revoked_at=None).update(revoked_at=timezone.now())


def in_use(purse: Purse) -> QuerySet[ApiKey]:
    """A purse's live keys: neither revoked nor expired."""
    return ApiKey.objects.filter(_live(), purse=purse)


def _live() -> Q:
    return Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=timezone.now()))


def is_live(key: ApiKey) -> bool:
    """Whether the key is neither revoked nor expired."""
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > timezone.now())


# --- Checking ---------------------------------------------------------------------------------------------


def authenticate(text: str) -> ApiKey | None:
    """The live key with this text, or None. Runs one query and writes nothing."""
    match = _FORM.fullmatch(text)
    if not match:
        return None
    key = ApiKey.objects.select_related("purse").filter(_live(), public=match[1]).first()
    if key is None or not hmac.compare_digest(key.digest, _digest(text)):
        return None
    return key


def mark_used(key: ApiKey) -> None:
    """Record when a key was last used, at most once a minute, so that its owner also sees uses that bought nothing."""
    now = timezone.now()
    if key.used_at is None or key.used_at < now - _NOTED_EVERY:
        unseen = Q(used_at=None) | Q(used_at__lt=now - _NOTED_EVERY)
        ApiKey.objects.filter(unseen, id=key.id).update(used_at=now)


def allowed_payee(key: ApiKey, payee: str) -> bool:
    """Whether the key may be used with this publication at all."""
    return not key.payees or payee in key.payees


def spent_today(key: ApiKey) -> int:
    """What the key has spent on this UTC day, in micros."""
    return key.day_spent_micros if key.day == _today() else 0


def remaining(key: ApiKey) -> tuple[int | None, int | None]:
    """What remains of the daily and of the total budget, in micros; None means no such budget."""
    today = None if key.day_budget_micros is None else max(key.day_budget_micros - spent_today(key), 0)
    in_all = None if key.budget_micros is None else max(key.budget_micros - key.spent_micros, 0)
    return today, in_all


def check_limits(key: ApiKey, payee: str, amount_micros: int) -> None:
    """Refuse early what the key may not buy. Writes nothing; `spend` decides. Raises PurseRefused."""
    if refused := _beyond(key, payee, amount_micros):
        raise refused


def _beyond(key: ApiKey, payee: str, amount_micros: int) -> PurseRefused | None:
    """The limit that forbids a purchase, if any; first the limits that only the owner can change."""
    if not is_live(key):
        return invalid()
    if not allowed_payee(key, payee):
        return PurseRefused("publication_not_allowed", "This API key is not allowed for this publication.")
    if key.ceiling_micros is not None and amount_micros > key.ceiling_micros:
        return PurseRefused("price_above_ceiling", "The price is above this API key's maximum per article.")
    today, in_all = remaining(key)
    if in_all is not None and amount_micros > in_all:
        return PurseRefused("budget_exhausted", "This API key's budget is too low.")
    if today is not None and amount_micros > today:
        return PurseRefused("day_budget_exhausted", "This API key's daily budget is too low until midnight UTC.")
    return None


def invalid() -> PurseRefused:
    """The one refusal of every text that is no live key, so that the answer does not reveal which keys once existed."""
    return PurseRefused("invalid_key", "This API key is unknown, expired or revoked.")


def spend(key_id: uuid.UUID, payment: Payment) -> None:
    """Count a payment against a key's budgets in the caller's database transaction; decides on all its limits.

    Raises PurseRefused; the caller must then roll back.
    """
    today, amount = _today(), payment.amount_micros
    so_far = Case(When(day=today, then=F("day_spent_micros")), default=Value(0))
    row = (
        ApiKey.objects.filter(_live(), id=key_id)
        .filter(Q(ceiling_micros=None) | Q(ceiling_micros__gte=amount))
        .filter(Q(budget_micros=None) | Q(budget_micros__gte=F("spent_micros") + amount))
        .alias(so_far=so_far)
        .filter(Q(day_budget_micros=None) | Q(day_budget_micros__gte=F("so_far") + amount))
    )
    changed = row.update(
        spent_micros=F("spent_micros") + amount,
        day_spent_micros=so_far + amount,
        day=today,
        used_at=timezone.now(),
    )
    key = ApiKey.objects.get(id=key_id)
    if not changed:
        # Another sale or the owner was first. If the budget has room again by now, a retry succeeds.
        no = _beyond(key, payment.payee, amount)
        raise no or PurseRefused("budget_exhausted", "This API key's budget is too low.")
    if not allowed_payee(key, payment.payee):
        raise PurseRefused("publication_not_allowed", "This API key is not allowed for this publication.")
    if approvals.needed(key, amount):
        approvals.use(key, payment.resource, amount)


def _today() -> date:
    return timezone.now().date()


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
