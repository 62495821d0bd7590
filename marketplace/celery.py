"""The Celery application. Tasks are wake-ups; the work to do is in the database."""

import os

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")

TRANSPORT_ALIASES["filesystem"] = "marketplace.ops.broker:Transport"
app = Celery("pennypress")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
