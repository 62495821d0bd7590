"""The Django application of the payments package."""

from django.apps import AppConfig


class PaymentsConfig(AppConfig):
    """The payments application."""

    name = "payments"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from . import checks  # noqa: F401
