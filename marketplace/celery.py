"""The Celery application. Tasks are wake-ups; the work to do is in the database."""

import os
from typing import Any

from celery import Celery
from celery.signals import worker_init
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")

TRANSPORT_ALIASES["filesystem"] = "marketplace.ops.broker:Transport"
app = Celery("pennypress")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_init.connect
def _refuse_another_currency(**_: Any) -> None:
    from payments.cards import currency  # Not before Django is set up.

    currency.refuse_another()
