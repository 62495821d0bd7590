"""How long the settler's ether lasts, for operators. Nothing about money is decided by it."""

from datetime import timedelta
from typing import NamedTuple

from django.conf import settings
from django.db.models import Max
from django.utils import timezone

from payments.models import Lease, Submission

# Use is measured over the newest transactions, and over a day at least.
_NEWEST = 200
_DAY_SECONDS = 86_400
_LOW_DAYS = 7


class Use(NamedTuple):
    """What the settler spends in a day, and what its next transaction may cost at least, in wei. 0: none sent yet."""

    day_wei: int = 0
    next_wei: int = 0


class Gas(NamedTuple):
    """The state of the settler's ether (`ok`, `low`, `out`), and for how many days it lasts. None: not known."""

    state: str
    days_left: int | None


def settler() -> bytes | None:
    """The address whose settler holds the lease, or held it last. None before the first settler."""
    return (
        Lease.objects.filter(chain_id=settings.CHAIN_ID).order_by("-expires_at").values_list("key", flat=True).first()
    )


def use(key: bytes) -> Use:
    """What the newest transactions of a settler cost, without a rollup's fee for its data.

    Each offers twice the base fee and the tip (`Settler._fair_fee`), and pays the base fee and the tip.
    """
    mined = Submission.objects.filter(chain_id=settings.CHAIN_ID, key=key, state=Submission.State.MINED).exclude(
        data=b""
    )
    newest = list(mined.order_by("-key_nonce").values_list("id", flat=True)[:_NEWEST])
    rows = Submission.objects.filter(id__in=newest).order_by("key_nonce")
    rows = rows.annotate(fee=Max("attempts__max_fee"), tip=Max("attempts__priority_fee"))
    read = list(rows.values_list("made_at", "gas_used", "gas_limit", "fee", "tip"))
    if not read:
        return Use()
    spent = sum((used or 0) * (fee + tip) // 2 for _, used, _, fee, tip in read)
    seconds = max((timezone.now() - read[0][0]) // timedelta(seconds=1), _DAY_SECONDS)
    return Use(spent * _DAY_SECONDS // seconds, min(limit for _, _, limit, _, _ in read) * read[-1][3])


def left(balance_wei: int, used: Use) -> Gas:
    """What a balance means for a settler that spends this much."""
    days = balance_wei // used.day_wei if used.day_wei else None
    if balance_wei == 0 or balance_wei < used.next_wei:
        return Gas("out", 0)
    return Gas("low" if days is not None and days < _LOW_DAYS else "ok", days)
