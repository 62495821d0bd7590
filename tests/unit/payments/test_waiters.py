"""Notifications and waiters: a commit wakes those who wait, on both databases. A lost notification costs time only."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction

from payments import notify, places, waiters
from payments.ids import uuid7
from payments.models import Payment, PaymentState
from payments.notify import Listener

pytestmark = pytest.mark.django_db(transaction=True)


def a_payment(n: int = 1) -> Payment:
    return Payment.objects.create(
        rail="card", buyer=f"buyer {n}", resource="article:1", version=1, payee="publisher:7", audience="people",
        price_id=1, amount_micros=5,
    )  # fmt: skip


def decide(payment: Payment) -> None:
    with transaction.atomic():
        Payment.objects.filter(id=payment.id).update(state=PaymentState.RELEASED)
        notify.send()


def elsewhere(act: Callable[[], Any]) -> None:
    """In another thread, with a connection of its own, to the end."""

    def run() -> None:
        act()
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


@pytest.fixture
def listener() -> Iterator[Listener]:
    opened = Listener()
    opened.wait(0)  # The first time it says: look once.
    while opened.wait(0):
        pass
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _hub() -> Iterator[None]:
    yield
    waiters.close()


def took(act: Callable[[], Any]) -> tuple[float, Any]:
    began = time.monotonic()
    result = act()
    return time.monotonic() - began, result


# --- The listener -------------------------------------------------------------------------------------


def test_a_new_listener_looks_once_and_then_hears_nothing():
    listener = Listener()
    assert listener.wait(0)
    seconds, notified = took(lambda: listener.wait(0.15))
    assert not notified
    assert 0.1 < seconds < 2
    listener.close()


def test_a_commit_notifies(listener: Listener):
    elsewhere(lambda: decide(a_payment()))
    seconds, notified = took(lambda: listener.wait(5))
    assert notified
    assert seconds < 2
    assert not listener.wait(0.05)


def test_a_commit_wakes_who_is_waiting(listener: Listener):
    later = threading.Timer(0.1, elsewhere, [lambda: decide(a_payment())])
    later.start()
    seconds, notified = took(lambda: listener.wait(10))
    later.join()
    assert notified
    assert seconds < 5


def test_what_is_rolled_back_does_not_notify(listener: Listener):
    def undone() -> None:
        with transaction.atomic():
            a_payment()
            notify.send()
            transaction.set_rollback(True)

    elsewhere(undone)
    assert not listener.wait(0.1)


def test_no_notification_comes_before_the_commit(listener: Listener):
    heard: list[bool] = []

    def slow() -> None:
        with transaction.atomic():
            a_payment()
            notify.send()
            heard.append(listener.wait(0.1))

    # The listener has a connection of its own, so this other thread may use it.
    elsewhere(slow)
    assert heard == [False]
    assert listener.wait(5)


@pytest.mark.postgresql
def test_a_listener_that_was_cut_off_looks_and_hears_again(listener: Listener):
    assert listener._line
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [listener._line.info.backend_pid])
    assert listener.wait(0.2)
    assert listener.wait(0.2)  # Connected anew: look once.
    assert not listener.wait(0.1)
    elsewhere(lambda: decide(a_payment()))
    assert listener.wait(5)


def test_a_closed_listener_opens_again(listener: Listener):
    listener.close()
    listener.close()
    assert listener.wait(0.1)
    assert not listener.wait(0.1)


# --- The waiters --------------------------------------------------------------------------------------


def wait_for(payments: list[Payment], seconds: float) -> list[float]:
    """How long each of so many requests waited."""
    times: list[float] = []

    def request(payment: Payment) -> None:
        times.append(took(lambda: waiters.until_decided(payment.id, seconds, str(payment.id)))[0])
        connection.close()

    threads = [threading.Thread(target=request, args=(payment,)) for payment in payments]
    for thread in threads:
        thread.start()
    while waiters.count() < len(payments) and not times:
        time.sleep(0.01)
    threading.Timer(0.1, elsewhere, [lambda: [decide(payment) for payment in payments]]).start()
    for thread in threads:
        thread.join()
    return times


def test_everybody_who_waits_is_woken_by_the_decision():
    payment = a_payment()
    times = wait_for([payment] * 2 + [a_payment(n) for n in range(2, 16)], 20)
    assert max(times) < 10
    assert waiters.count() == 0


def test_a_third_request_for_one_payment_does_not_wait():
    payment = a_payment()
    two = [threading.Thread(target=waiters.until_decided, args=(payment.id, 60, str(n))) for n in range(2)]
    for thread in two:
        thread.start()
    ends = time.monotonic() + 30
    while waiters._hub.count(payment.id) < 2:
        assert time.monotonic() < ends
        time.sleep(0.01)
    with pytest.raises(places.Full):
        waiters.until_decided(payment.id, 60, "3")
    elsewhere(lambda: decide(payment))
    for thread in two:
        thread.join()


def test_who_waits_for_something_else_is_not_woken():
    payment = a_payment()
    threading.Timer(0.05, elsewhere, [lambda: decide(a_payment(2))]).start()
    seconds, _ = took(lambda: waiters.until_decided(payment.id, 0.5, ""))
    assert seconds >= 0.45
    assert waiters.count() == 0


def test_what_was_decided_before_is_noticed_without_a_notification():
    payment = a_payment()
    decide(payment)
    seconds, _ = took(lambda: waiters.until_decided(payment.id, 20, ""))
    assert seconds < 10


def test_a_lost_notification_costs_a_quarter_of_a_second_and_not_the_decision(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(notify, "send", lambda: None)
    assert max(wait_for([a_payment()], 20)) < 10


def test_nobody_waits_longer_than_was_asked():
    seconds, _ = took(lambda: waiters.until_decided(uuid7(), 0.2, ""))
    assert 0.15 < seconds < 5


def test_the_watch_starts_again_after_it_was_closed():
    payment = a_payment()
    waiters.until_decided(payment.id, 0.01, "")
    waiters.close()
    waiters.close()
    assert max(wait_for([payment], 20)) < 10


def test_whoever_waits_gives_the_connection_back_meanwhile():
    """Forty waiting requests must not hold forty connections of a pool."""
    payment = a_payment()
    assert connection.connection is not None
    waiters.until_decided(payment.id, 0.01, "")
    assert (connection.connection is None) is (connection.vendor == "postgresql")


@pytest.mark.postgresql
def test_the_watch_survives_a_database_that_hangs_up():
    payment = a_payment()
    threading.Timer(0.3, elsewhere, [_hang_up]).start()
    threading.Timer(1.0, elsewhere, [lambda: _decide_on_a_live_connection(payment)]).start()
    seconds, _ = took(lambda: waiters.until_decided(payment.id, 20, ""))
    assert 0.5 < seconds < 15


def _decide_on_a_live_connection(payment: Payment) -> None:
    """The pool may still hold what was hung up; marketplace.ops.outage has it looked at in the same way."""
    connection.pool.check()
    decide(payment)


def _hang_up() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    connection.pool.check()  # As the first request does that finds a dead connection.


def test_the_generation_grows_with_what_may_have_changed():
    first = waiters.generation()
    elsewhere(lambda: decide(a_payment()))
    ends = time.monotonic() + 10
    while waiters.generation() == first:
        assert time.monotonic() < ends
        time.sleep(0.01)
