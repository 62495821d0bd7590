"""A bell between processes: it says that the database may hold something new, never what.

A bell that is lost costs waiting time and nothing else: whoever waits looks again when its time is up. PostgreSQL
carries it with NOTIFY, sent at commit. On SQLite every commit rings: a waiter sees the file's version change.
"""

import contextlib
import sqlite3
import time

import psycopg
from django.db import connection

CHANNEL = "pennypress"
_POLL_SECONDS = 0.004


def ring() -> None:
    """Wake everybody who waits, when the current transaction commits."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])


class Doorbell:
    """One waiter's ear; for one thread. Holds a connection of its own, made anew after a failure."""

    def __init__(self) -> None:
        self._ear: sqlite3.Connection | psycopg.Connection | None = None
        self._version = -1

    def wait(self, seconds: float) -> bool:
        """Return True as soon as the bell rang since the last call, or False when `seconds` have passed."""
        ends = time.monotonic() + seconds
        try:
            if connection.vendor == "postgresql":
                return self._listen(seconds)
            return self._watch(ends)
        except (psycopg.Error, sqlite3.Error):
            self.close()
            time.sleep(max(0.0, min(ends - time.monotonic(), 0.5)))
            return True

    def close(self) -> None:
        """Let go of the connection."""
        if self._ear is not None:
            with contextlib.suppress(Exception):
                self._ear.close()
        self._ear = None

    def _listen(self, seconds: float) -> bool:
        if self._ear is None:
            wanted = {k: v for k, v in connection.get_connection_params().items() if k not in ("cursor_factory", "context")}
            self._ear = psycopg.connect(**wanted, autocommit=True)
            self._ear.execute(f"LISTEN {CHANNEL}")
            return True  # What rang before we listened is not lost: look once.
        rang = any(True for _ in self._ear.notifies(timeout=seconds, stop_after=1))  # type: ignore[union-attr]
        return rang

    def _watch(self, ends: float) -> bool:
        if self._ear is None:
            name = connection.get_connection_params()["database"]
            self._ear = sqlite3.connect(name, uri=str(name).startswith("file:"), check_same_thread=False)
        while True:
            version = self._ear.execute("PRAGMA data_version").fetchone()[0]  # type: ignore[union-attr]
            if version != self._version:
                self._version = version
                return True
            left = ends - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(_POLL_SECONDS, left))
