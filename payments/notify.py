"""Notifications between processes that the database has changed. A notification never says what changed.

A lost notification costs only waiting time: each waiter reads the database again when its timeout ends. PostgreSQL
delivers notifications with NOTIFY, at commit. On SQLite every commit counts as one: the waiter polls the file's
`data_version`.
"""

import contextlib
import sqlite3
import time

import psycopg
from django.db import connection

CHANNEL = "pennypress"
_POLL_SECONDS = 0.01


def send() -> None:
    """Wake every listener when the current database transaction commits."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])


class Listener:
    """Waits for notifications, in one thread, on a connection of its own. Reopens the connection after a failure."""

    def __init__(self) -> None:
        self._line: psycopg.Connection | None = None
        self._file: sqlite3.Connection | None = None
        self._version = -1

    def wait(self, seconds: float) -> bool:
        """Wait for a notification since the last call: True when one came, False after `seconds`.

        Also True on a first or failed connection, since a notification may have been missed.
        """
        ends = time.monotonic() + seconds
        try:
            return self._listen(seconds) if connection.vendor == "postgresql" else self._watch(ends)
        except (psycopg.Error, sqlite3.Error):
            self.close()
            time.sleep(max(0.0, min(ends - time.monotonic(), 0.5)))
            return True

    def close(self) -> None:
        """Close the connections. The next `wait` opens them again."""
        with contextlib.suppress(psycopg.Error, sqlite3.Error):
            if self._line:
                self._line.close()
            if self._file:
                self._file.close()
        self._line = self._file = None
        self._version = -1  # `data_version` values are comparable only within one connection.

    def _listen(self, seconds: float) -> bool:
        if self._line is None:
            known = connection.get_connection_params()
            wanted = {key: value for key, value in known.items() if key not in ("cursor_factory", "context")}
            self._line = psycopg.connect(**wanted, autocommit=True)
            self._line.execute(f"LISTEN {CHANNEL}")
            return True  # A notification may have come before LISTEN, so the caller reads once.
        return any(True for _ in self._line.notifies(timeout=seconds, stop_after=1))

    def _watch(self, ends: float) -> bool:
        if self._file is None:
            name = connection.get_connection_params()["database"]
            self._file = sqlite3.connect(name, uri=str(name).startswith("file:"), check_same_thread=False)
        while True:
            version = self._file.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:
                self._version = version
                return True
            left = ends - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(_POLL_SECONDS, left))
