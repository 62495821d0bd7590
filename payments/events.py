"""Events of money in the log, written after their commit; and the request or task that a log line belongs to.

The fields are ids, amounts and words. No key, signature, token or mail address is ever one.
"""

import logging
from contextvars import ContextVar

from django.db import transaction

log = logging.getLogger(__name__)
# The id of the request, or the name of the task, that this thread is working on; empty outside both.
request_id: ContextVar[str] = ContextVar("request_id", default="")
task: ContextVar[str] = ContextVar("task", default="")


def note(event: str, outcome: str, **fields: object) -> None:
    """Log one event when the caller's database transaction commits; nothing if it rolls back.

    The line has the fields that are not empty, as name=value, and LOG_FORMAT=json has them as they are.
    """
    told = {name: value for name, value in fields.items() if value != ""}
    words = " ".join(f"{name}={value}" for name, value in told.items())
    extra = {"fields": {"event": event, "outcome": outcome, **told}}
    transaction.on_commit(lambda: log.info("%s %s: %s", event, outcome, words, extra=extra), robust=True)
