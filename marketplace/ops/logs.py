"""Log lines: which process, request or task each comes from, as text or as one JSON object (LOG_FORMAT)."""

import json
import logging
import re
import secrets
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse

from payments import events, outages

HEADER = "X-Request-Id"
_GIVEN = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
_COMMANDS = {"settle": "settler", "watch": "watcher", "gunicorn": "web", "runserver": "web"}
# The first words of Celery's lines about a broker that does not answer, one for each try.
_BROKER_AWAY = re.compile(r"\s*consumer: (Cannot connect to|Connection to broker lost)")


class RequestId:
    """Middleware before all others: gives each request an id, for its log lines and for the answer.

    A proxy's id is taken only if TRUST_PROXY_HEADERS says that the proxy overwrites the header.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer under the request's id."""
        given = request.META.get("HTTP_X_REQUEST_ID", "") if settings.TRUST_PROXY_HEADERS else ""
        token = events.request_id.set(given if _GIVEN.fullmatch(given) else secrets.token_hex(8))
        try:
            response = self.get_response(request)
            response[HEADER] = events.request_id.get()
            return response
        finally:
            events.request_id.reset(token)


def process(command: Sequence[str]) -> str:
    """The name of a process by its command line: web, worker, beat, settler, watcher, or the command of manage.py."""
    program = Path(command[0])
    name = program.parent.name if program.stem == "__main__" else program.stem
    if name == "celery":
        return next((word for word in command[1:] if word in ("worker", "beat")), name)
    if name == "manage":
        name = next((word for word in command[1:] if not word.startswith("-")), name)
    return _COMMANDS.get(name, name)


class Source(logging.Filter):
    """Adds to each line the process, and the request or task that it belongs to."""

    _process = process(sys.argv)

    def filter(self, record: logging.LogRecord) -> bool:
        """Never drops a line."""
        named = {"request_id": events.request_id.get(), "task": events.task.get()}
        record.source = {"process": self._process} | {name: value for name, value in named.items() if value}
        record.during = next(reversed(record.source.values()))
        return True


class Json(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the source, and the fields of an event."""

    def format(self, record: logging.LogRecord) -> str:
        """A line break in a message or a traceback is escaped, so that a line is always one entry."""
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "source", {}),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False, default=str)


class Outages(logging.Filter):
    """Drops what Celery logs for each try during an outage of the broker or the database, which is logged once."""

    def filter(self, record: logging.LogRecord) -> bool:
        """False for such a line."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OperationalError | InterfaceError):
            outages.DATABASE.failed(error)
            return False
        if _BROKER_AWAY.match(message := record.getMessage()):
            outages.BROKER.failed(message)
            return False
        return True
