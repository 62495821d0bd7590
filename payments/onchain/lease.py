"""The lease on a settlement key, in the database: of several settlers, only the lease holder may sign.

Every UPDATE that takes a nonce names the lease holder and its fence number. A settler that slept while another took
over therefore changes no row. All times are the database's own.
"""

import datetime
import os
import secrets
import socket
import time

from django.conf import settings
from django.db.models import ExpressionWrapper, F, Max, Q, QuerySet
from django.db.models.fields import DateTimeField
from django.db.models.functions import Now

from payments.models import Lease, Submission


class LeaseLost(Exception):
    """Another settler holds the lease now. The call has signed and stored nothing."""


class LeaseHolder:
    """One process that holds, or competes for, the lease on one key."""

    def __init__(self, chain_id: int, key: bytes) -> None:
        self.chain_id = chain_id
        self.key = key
        self.name = f"{socket.gethostname()[:24]}:{os.getpid()}:{secrets.token_hex(4)}"
        self.fence = -1
        self._renewed_at = float("-inf")

    def hold(self) -> bool:
        """Take the lease if it is free or expired, or renew it. False while another settler holds it.

        Writes only after a third of the lease has passed, so True can be out of date. The fence number protects the
        nonces, not this result.
        """
        if time.monotonic() - self._renewed_at < settings.LEASE_SECONDS / 3:
            return True
        started = time.monotonic()
        held = self._renew_or_take()
        self._renewed_at = started if held else float("-inf")
        return held

    def _renew_or_take(self) -> bool:
        if self._mine().update(expires_at=_later()):
            return True
        Lease.objects.bulk_create([Lease(chain_id=self.chain_id, key=self.key)], ignore_conflicts=True)
        free = self._all().filter(Q(expires_at__lte=Now()) | Q(holder=""))
        if free.update(holder=self.name, fence=F("fence") + 1, expires_at=_later()):
            self.fence = self._all().values_list("fence", flat=True).get()
            return True
        return False

    def let_go(self) -> None:
        """Release the lease, so that another settler need not wait for it to expire."""
        self._renewed_at = float("-inf")
        self._mine().update(holder="", expires_at=Now())

    def take_nonce(self) -> int:
        """Take the key's next nonce, valid only if the caller's database transaction commits. Raises LeaseLost."""
        if not self._mine().update(next_nonce=F("next_nonce") + 1, expires_at=_later()):
            self._renewed_at = float("-inf")
            raise LeaseLost
        return self._all().values_list("next_nonce", flat=True).get() - 1

    def catch_up(self, transaction_count: int) -> None:
        """Set the next nonce to follow our last transaction, or the chain's count if that is higher.

        The chain's count is higher when another program has used the key. The next nonce can also go down: otherwise a
        wrong count from the node, or a foreign transaction that was reorganised away, would leave a nonce gap.
        """
        made = Submission.objects.filter(chain_id=self.chain_id, key=self.key).aggregate(last=Max("key_nonce"))["last"]
        following = max(transaction_count, 0 if made is None else made + 1)
        self._mine().exclude(next_nonce=following).update(next_nonce=following)

    def _all(self) -> QuerySet[Lease]:
        return Lease.objects.filter(chain_id=self.chain_id, key=self.key)

    def _mine(self) -> QuerySet[Lease]:
        return self._all().filter(holder=self.name, fence=self.fence)


def _later() -> ExpressionWrapper:
    seconds = datetime.timedelta(seconds=settings.LEASE_SECONDS)
    return ExpressionWrapper(Now() + seconds, output_field=DateTimeField())
