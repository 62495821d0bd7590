"""The shop: what a visitor, a reader and an agent see. Imports publishers and payments; nothing imports it."""

from .celery import app as celery_app

__all__ = ["celery_app"]
