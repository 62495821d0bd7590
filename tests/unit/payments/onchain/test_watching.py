"""The watcher's process: one of several looks, and an outage of the node or the database ends none of them."""

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from payments import jobs
from payments.models import Job
from payments.onchain import watcher
from payments.onchain.rpc import ChainUnreachable

pytestmark = pytest.mark.django_db


class Turns:
    """Ends the watcher after so many turns, and keeps the pauses between them."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pauses: list[float] = []

    def is_set(self) -> bool:
        return len(self.pauses) == self.number

    def wait(self, pause: float) -> None:
        self.pauses.append(pause)


def run(turns: int) -> list[float]:
    stop: Any = Turns(turns)
    watcher.run(stop)
    return stop.pauses


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Exception | None]:
    """What comes of the next looks, the first one last; then all is well."""
    coming: list[Exception | None] = []

    def look() -> None:
        if coming and (error := coming.pop()):
            raise error

    monkeypatch.setattr(watcher, "watch", look)
    monkeypatch.setattr(watcher, "close_old_connections", lambda: None)  # It would end the test's own transaction.
    return coming


def test_it_looks_every_four_seconds_and_says_when(looks):
    assert run(3) == [4, 4, 4]
    job = Job.objects.get(name=watcher.JOB)
    assert job.result == "ok"
    assert timezone.now() - job.succeeded_at < timedelta(seconds=10)


def test_another_watcher_does_not_look_until_the_lease_has_expired(looks):
    assert jobs.JobLease(watcher.JOB).take(60)
    looks.append(AssertionError("two of them look"))
    assert run(2) == [1, 1]
    looks.clear()
    Job.objects.update(held_until=Now())
    assert run(1) == [4]


def test_a_watcher_that_ends_lets_the_next_one_look_at_once(looks):
    assert run(1) == run(1) == [4]


@pytest.mark.parametrize("error", [ChainUnreachable("nobody answers"), ZeroDivisionError("a defect")])
def test_an_outage_is_retried_ever_later_and_logged_twice(looks, caplog, error):
    looks += [error] * 5
    with caplog.at_level(logging.INFO):
        assert run(7) == [1, 2, 4, 8, 8, 4, 4]
    said = [line.getMessage() for line in caplog.records]
    assert said == [
        *(["a look has failed"] if isinstance(error, ZeroDivisionError) else []),
        f"watching: outage: {error}",
        "watching: recovered after 0.0 s",
    ]


@pytest.mark.parametrize("seen", [b"", b"\x0b" * 32])
def test_only_at_the_start_another_chain_ends_it(looks, monkeypatch, seen: bytes):
    """Later it may be one wrong node of several behind one address."""
    monkeypatch.setattr(watcher._Looked, "hash", seen)
    looks.append(watcher.AnotherChain("This database belongs to another chain."))
    if seen:
        assert run(2) == [1, 4]
        return
    with pytest.raises(watcher.AnotherChain):
        run(1)
