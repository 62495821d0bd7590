"""A job: one run at a time, an end when its time is up, and no calls to a processor that does not answer."""

import logging
import time
from datetime import timedelta

import pytest
from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from marketplace.celery import app
from payments import jobs
from payments.cards import stripe_api
from payments.cards.facts import NoAnswer, NotAsked, ServerTrouble
from payments.models import Job
from payments.outages import CARDS

pytestmark = pytest.mark.django_db
ROWS = range(10)


class Silence(Exception):
    """No answer came."""


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of this process, which stands still until a test moves it."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


def call(answered: bool) -> None:
    try:
        with jobs.listening(Silence):
            if not answered:
                raise Silence
    except Silence:
        """As the callers take it."""


def row() -> Job:
    return Job.objects.get()


def working(*answers: bool) -> list[bool]:
    """Run a job that makes these calls, as far as it may; those it made."""
    made: list[bool] = []

    @jobs.job(seconds=20)
    def calling() -> None:
        for answered in jobs.in_time(answers):
            made.append(answered)
            call(answered)

    calling()
    return made


def test_a_second_run_returns_at_once_until_the_lease_has_expired():
    runs: list[str] = []

    @jobs.job(seconds=20)
    def slow() -> None:
        runs.append("began")
        if len(runs) == 1:
            slow()  # Beat has asked for another.
            assert runs == ["began"]
            Job.objects.update(held_until=Now())
            slow()  # As if this one had crashed.

    slow()
    assert runs == ["began", "began"]


def test_the_lease_of_a_run_that_crashed_expires_a_moment_after_its_time():
    assert jobs.JobLease("slow").take(20)
    assert timedelta(seconds=10) < row().held_until - timezone.now() <= timedelta(seconds=21)


def test_a_run_says_what_came_of_it():
    jobs.job(seconds=20)(lambda: 3)()
    assert (row().result, row().found) == ("ok", 3)
    assert row().succeeded_at
    assert row().held_until <= row().ended_at <= timezone.now() + timedelta(seconds=5)


def test_a_run_that_fails_lets_go_and_does_not_count_as_a_success():
    with pytest.raises(ZeroDivisionError):
        jobs.job(seconds=20)(lambda: 1 // 0)()
    assert (row().result, row().succeeded_at) == ("failed", None)
    assert jobs.JobLease("<lambda>").take(1)


def test_a_run_ends_between_two_rows_when_its_time_is_up(now):
    done = []

    @jobs.job(seconds=20)
    def long() -> None:
        for each in jobs.in_time(ROWS):
            done.append(each)
            now[0] += 8

    long()
    assert done == [0, 1, 2]
    assert (row().result, row().succeeded_at) == ("late", None)


def test_a_part_of_a_run_leaves_the_rest_its_time(now):
    done = []

    @jobs.job(seconds=20)
    def two() -> None:
        with jobs.part(0.5):
            for each in jobs.in_time(ROWS):
                done.append(each)
                now[0] += 6
        done.extend(jobs.in_time("rest"))

    two()
    assert done == [0, 1, *"rest"]


def test_three_calls_in_a_row_without_an_answer_end_a_run_and_pause_the_job(caplog):
    caplog.set_level(logging.INFO)
    assert working(False, True, False, False, False, True) == [False, True, False, False, False]
    assert row().result == "no_answer"
    assert timedelta(seconds=10) < row().resume_at - timezone.now() <= timedelta(seconds=15)
    assert working(True) == []
    assert row().result == "paused"
    assert len(caplog.records) == 1


def test_calls_in_a_row_are_counted_across_runs():
    for _ in range(3):
        assert working(False) == [False]
    assert working(True) == []


def test_the_pause_doubles_to_five_minutes_and_one_answer_ends_it(caplog):
    working(False, False, False)
    pauses = []
    for _ in range(6):
        Job.objects.update(resume_at=Now())
        assert working(False, True) == [False]
        pauses.append(round((row().resume_at - timezone.now()).total_seconds()))
    assert pauses == [30, 60, 120, 240, 300, 300]
    Job.objects.update(resume_at=Now())
    assert working(True, True) == [True, True]
    assert (row().failures, row().result) == (0, "ok")
    assert [line.getMessage() for line in caplog.records] == [
        "calling: the card processor does not answer, so it is left alone for a while",
        "calling: the card processor answers again",
    ]


def test_outside_of_a_job_nothing_is_limited():
    for _ in range(4):
        call(answered=False)
    assert list(jobs.in_time(ROWS)) == list(ROWS)


def test_a_call_that_a_job_does_not_make_is_neither_an_outage_nor_an_answer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jobs, "goes_on", lambda: False)
    asked: list[object] = []
    for lasts in (False, True):
        if lasts:
            CARDS.failed("no answer")
            monkeypatch.setattr(CARDS, "_failed_at", 0.0)  # Long ago.
        with pytest.raises(NotAsked):
            stripe_api._call(asked.append)
        assert (CARDS.lasts, asked) == (lasts, [])
    CARDS.answered()


def test_errors_of_the_processor_open_the_breaker_too(monkeypatch: pytest.MonkeyPatch):
    def trouble(_: object) -> None:
        raise ServerTrouble("500")

    monkeypatch.setattr(stripe_api, "_asked", trouble)
    said: list[type] = []

    @jobs.job(seconds=20)
    def asking() -> None:
        for _ in range(5):
            try:
                stripe_api._call(lambda v1: None)
            except NoAnswer as error:
                said.append(type(error))

    asking()
    assert said == [ServerTrouble] * 3 + [NotAsked] * 2


def test_every_task_of_the_schedule_is_a_job():
    for entry in settings.CELERY_BEAT_SCHEDULE.values():
        app.loader.import_default_modules()
        assert app.tasks[entry["task"]].run.__wrapped__, entry
