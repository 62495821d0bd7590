"""The periodic jobs: one run of each at a time, for so many seconds, and no calls to a processor that does not answer.

The lease is in the database and by the database's clock. It saves work and decides nothing about money: every job is
idempotent, so a run that outlives its lease does no harm. The lease of a run that crashed expires.

A run that the card processor does not answer would hold its thread for a timeout with each call. After a few such calls
in a row the job makes no more for a while, which doubles, and does only what needs none.
"""

import functools
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from django.db.models import ExpressionWrapper, Q, QuerySet
from django.db.models.fields import BooleanField, DateTimeField
from django.db.models.functions import Now

from payments.models import Job

log = logging.getLogger(__name__)
_Row = TypeVar("_Row")
# The lease outlasts the run's time by this: for the call that is under way then.
_GRACE_SECONDS = 15
_UNANSWERED_MAX = 3
_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 15, 300


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


class _Run:
    """What this thread does for a job: until when, and how often in a row the card processor did not answer."""

    def __init__(self, name: str, seconds: float, failures: int, paused: bool) -> None:
        self.name = name
        self.began = time.monotonic()
        self.seconds = self.ends_after = seconds
        self.failures = failures
        # No call is made: since before this run, or since it has met with silence itself.
        self.paused = self.silent = paused
        self.unheard = self.late = False

    def goes_on(self) -> bool:
        self.late = self.late or time.monotonic() - self.began >= self.ends_after
        return not self.silent and time.monotonic() - self.began < self.ends_after

    def heard(self, answer: bool) -> None:
        """Note whether a call was answered. The log has one line when calls stop, and one when they go on."""
        if answer and self.failures >= _UNANSWERED_MAX:
            log.warning("%s: the card processor answers again", self.name)
        self.failures = 0 if answer else min(self.failures + 1, _UNANSWERED_MAX + 10)
        self.unheard = not answer
        self.silent = self.failures >= _UNANSWERED_MAX
        if self.failures == _UNANSWERED_MAX:
            log.warning("%s: the card processor does not answer, so it is left alone for a while", self.name)

    def outcome(self) -> dict[str, Any]:
        """What to note of a run that has come to its end."""
        word = "paused" if self.paused else "no_answer" if self.unheard else "late" if self.late else "ok"
        noted = {"result": word, "failures": self.failures}
        if word == "ok":
            noted["succeeded_at"] = Now()
        if self.unheard and self.silent:
            pause = _SHORTEST_PAUSE_SECONDS * 2 ** (self.failures - _UNANSWERED_MAX)
            noted["resume_at"] = after(min(pause, _LONGEST_PAUSE_SECONDS))
        return noted


class _Here(threading.local):
    """The run of this thread, if it works for a job."""

    run: _Run | None = None


_here = _Here()


def job(seconds: float) -> Callable[[Callable[[], int | None]], Callable[[], None]]:
    """Make a function a job that works for at most so many seconds; a second run meanwhile returns at once.

    The function asks `goes_on` or `in_time` between two rows. It may return how much it found.
    """

    def decorate(work: Callable[[], int | None]) -> Callable[[], None]:
        @functools.wraps(work)
        def run() -> None:
            lease = JobLease(work.__name__)
            if not lease.take(seconds + _GRACE_SECONDS):
                return
            paused = ExpressionWrapper(Q(resume_at__isnull=False, resume_at__gt=Now()), output_field=BooleanField())
            before = lease.mine().annotate(paused=paused).values_list("failures", "paused").get()
            this = _here.run = _Run(lease.name, seconds, *before)
            noted: dict[str, Any] = {"result": "failed"}
            try:
                found = work()
                noted = this.outcome() | ({} if found is None else {"found": found})
            finally:
                _here.run = None
                lease.ended(**noted, held_until=Now())

        return run

    return decorate


def goes_on() -> bool:
    """Whether a run has time left and the card processor answers it. True outside of a job."""
    return _here.run is None or _here.run.goes_on()


def in_time(rows: Iterable[_Row]) -> Iterator[_Row]:
    """These rows while the run goes on. The others are for the next run, so the oldest look comes first."""
    for row in rows:
        if not goes_on():
            return
        yield row


@contextmanager
def part(share: float) -> Iterator[None]:
    """A part of a run that may use only this share of its time, so that the rest has its turn."""
    run = _here.run
    if run:
        run.ends_after = run.seconds * share
    try:
        yield
    finally:
        if run:
            run.ends_after = run.seconds


@contextmanager
def listening(silence: type[Exception]) -> Iterator[None]:
    """Around one call to the card processor, which raises `silence` when no answer comes."""
    answer = True
    try:
        yield
    except silence:
        answer = False
        raise
    finally:
        if _here.run:
            _here.run.heard(answer)
