"""The periodic jobs: one run of each at a time, by a lease in the database and by the database's clock.

The lease saves work and decides nothing about money: every job is idempotent, so a run that outlives its lease does no
harm. The lease of a run that crashed expires.
"""

import os
import secrets
import socket
from datetime import timedelta

from django.db.models import ExpressionWrapper, Q, QuerySet
from django.db.models.fields import DateTimeField
from django.db.models.functions import Now

from payments.models import Job


def after(seconds: float) -> ExpressionWrapper:
    """A moment so many seconds from now, by the database's clock."""
    return ExpressionWrapper(Now() + timedelta(seconds=seconds), output_field=DateTimeField())


class JobLease:
    """One runner's side of a job: takes the lease, notes what came of its run, and lets go."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.holder = f"{socket.gethostname()[:24]}:{os.getpid()}:{secrets.token_hex(4)}"

    def take(self, seconds: float) -> bool:
        """Take the lease if it is free or expired, or renew it. False while another runner holds it."""
        taken = {"holder": self.holder, "held_until": after(seconds), "began_at": Now()}
        free = Job.objects.filter(Q(held_until__lte=Now()) | Q(holder=self.holder), name=self.name)
        if free.update(**taken):
            return True
        if Job.objects.filter(name=self.name).exists():
            return False
        Job.objects.bulk_create([Job(name=self.name)], ignore_conflicts=True)
        return free.update(**taken) == 1

    def ended(self, result: str, **more: object) -> None:
        """Note one word about the run that ends now, and whatever else has changed."""
        self.mine().update(ended_at=Now(), result=result, **more)

    def let_go(self) -> None:
        """Release the lease, so that another runner need not wait for it to expire."""
        self.mine().update(held_until=Now())

    def mine(self) -> QuerySet[Job]:
        """The job's row while this runner holds it, and no row afterwards."""
        return Job.objects.filter(name=self.name, holder=self.holder)
