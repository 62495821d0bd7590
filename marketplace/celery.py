"""The Celery application. Tasks are wake-ups; the work to do is in the database."""

import os
from typing import Any

from celery import Celery, bootsteps, signals
from celery.worker.consumer import Connection
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")

TRANSPORT_ALIASES["filesystem"] = "marketplace.ops.broker:Transport"
app = Celery("pennypress")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.worker_init.connect
def _refuse_another_currency(**_: Any) -> None:
    """Celery only logs an exception of a receiver, and goes on, but not this one."""
    from payments.cards import currency  # Not before Django is set up.

    try:
        currency.refuse_another()
    except currency.ImproperlyConfigured as error:
        raise SystemExit(str(error)) from error


@signals.setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """A receiver of this signal keeps Celery from changing the levels and handlers of settings.LOGGING."""


@signals.task_prerun.connect
def task_begins(task: Any, **_: Any) -> None:
    """The log lines of this thread belong to the task now."""
    from payments import events

    events.task.set(task.name)


@signals.task_postrun.connect
def task_ends(state: str | None, **_: Any) -> None:
    """And no longer do. A task that succeeded has read the database."""
    from payments import events, outages

    events.task.set("")
    if state == "SUCCESS":
        outages.DATABASE.answered()


class BrokerIsBack(bootsteps.StartStopStep):
    """Runs whenever a worker has connected to the broker, also after an outage."""

    requires = (Connection,)

    def start(self, parent: Any) -> None:
        """Say so if there was an outage."""
        from payments.outages import BROKER

        BROKER.answered()


app.steps["consumer"].add(BrokerIsBack)
