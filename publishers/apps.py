"""The sellers as a Django application."""

from django.apps import AppConfig


class PublishersConfig(AppConfig):
    """The sellers."""

    name = "publishers"
    default_auto_field = "django.db.models.BigAutoField"
