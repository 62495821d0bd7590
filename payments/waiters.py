"""Waiting for payments: one thread of each web process serves all its waiting requests, one query per notification.

Caches use `generation()`, which grows with every notification, to learn that the database may have changed.
"""

import threading
import uuid

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from .models import OPEN, Payment
from .notify import Listener
from .outages import DATABASE
from .places import Full, Places

# At most this many requests wait for one payment: a client may ask again while its first request waits.
_EACH = 2


class _Hub:
    """The waiting requests of this process, and the thread that wakes them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[uuid.UUID, list[threading.Event]] = {}
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self.generation = 0

    def stop(self) -> None:
        self._stopping.set()
        if self._thread:
            self._thread.join()
        self._thread = None
        self._stopping.clear()

    def start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            with self._lock:
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(target=self._watch, name="payments-waiting", daemon=True)
                    self._thread.start()

    def wait(self, payment_id: uuid.UUID, seconds: float) -> None:
        event = threading.Event()
        with self._lock:
            self._waiting.setdefault(payment_id, []).append(event)
        self.start()
        try:
            event.wait(seconds)
        finally:
            with self._lock:
                events = self._waiting[payment_id]
                events.remove(event)
                if not events:
                    del self._waiting[payment_id]

    def count(self, payment_id: uuid.UUID) -> int:
        with self._lock:
            return len(self._waiting.get(payment_id, ()))

    def _watch(self) -> None:
        listener = Listener()
        while not self._stopping.is_set():
            heard = listener.wait(0.25)
            self.generation += heard
            with self._lock:
                ids = list(self._waiting)
            if ids:
                self._tell(ids)
        listener.close()
        connection.close()

    def _tell(self, ids: list[uuid.UUID]) -> None:
        try:
            close_old_connections()
            decided = list(Payment.objects.filter(id__in=ids).exclude(state__in=OPEN).values_list("id", flat=True))
        except DatabaseError as error:
            DATABASE.failed(error)
            connection.close()
            return
        DATABASE.answered()
        with self._lock:
            for payment_id in decided:
                for event in self._waiting.get(payment_id, ()):
                    event.set()


_hub = _Hub()
_places = Places()


def until_decided(payment_id: uuid.UUID, seconds: float, source: str) -> None:
    """Return when a payment has left its open states, or after `seconds`. The caller reads the payment's new state.

    Raises places.Full when so many requests wait already for this payment, of this source, or in all.
    """
    if _hub.count(payment_id) >= _EACH:
        raise Full
    with _places.one(source, settings.SETTLE_WAITERS_MAX):
        _hub.wait(payment_id, seconds)


def close() -> None:
    """Stop the thread and close its connection, for instance before dropping the database. The next use restarts it."""
    _hub.stop()


def count() -> int:
    """The number of requests of this process that are waiting now."""
    return _places.count()


def generation() -> int:
    """A number that grows whenever something in the database may have changed."""
    _hub.start()
    return _hub.generation
