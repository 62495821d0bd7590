"""The shop as a Django application."""

from django.apps import AppConfig


class MarketplaceConfig(AppConfig):
    """The shop."""

    name = "marketplace"
    default_auto_field = "django.db.models.BigAutoField"
