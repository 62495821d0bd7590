"""Outages of what this process depends on: one log line when one begins and one when it ends, not one for each try."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


class Outage:
    """The outages of one service, as this process sees them."""

    def __init__(self, service: str, calm_seconds: int = 0) -> None:
        """An answer within `calm_seconds` after a failure ends nothing: a service may answer every other call."""
        self.service = service
        self._calm_seconds = calm_seconds
        self._lock = threading.Lock()
        self._began: float | None = None
        self._failed_at = 0.0

    @property
    def lasts(self) -> bool:
        """Whether there is an outage now."""
        return self._began is not None

    def failed(self, error: object) -> None:
        """Note a failure, and log it if it is the first. The error's words must hold no secret."""
        now = time.monotonic()
        with self._lock:
            first = self._began is None
            if first:
                self._began = now
            self._failed_at = now
        if first:
            fields = {"event": "outage", "service": self.service}
            said = str(error).strip().partition("\n")[0]
            log.error("%s: outage: %s", self.service, said, extra={"fields": fields})

    @contextmanager
    def noticed(self, failure: type[Exception], *, but: type[Exception] | None = None) -> Iterator[None]:
        """Note what becomes of a call: `failure` is one, unless it is a `but`. All else is an answer."""
        try:
            yield
        except Exception as error:
            if isinstance(error, failure) and not (but and isinstance(error, but)):
                self.failed(error)
            else:
                self.answered()
            raise
        self.answered()

    def answered(self) -> None:
        """Note an answer. The first one after an outage is logged, with how long the outage lasted."""
        if self._began is None:
            return
        now = time.monotonic()
        with self._lock:
            if self._began is None or now - self._failed_at < self._calm_seconds:
                return
            lasted = round(now - self._began, 1)
            self._began = None
        fields = {"event": "recovered", "service": self.service, "seconds": lasted}
        log.warning("%s: recovered after %s s", self.service, lasted, extra={"fields": fields})


DATABASE = Outage("database")
NODE = Outage("node", calm_seconds=5)
SETTLING = Outage("settling")
WATCHING = Outage("watching")
CARDS = Outage("card processor", calm_seconds=5)
MAIL = Outage("mail server")
BROKER = Outage("broker")
