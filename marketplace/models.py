"""The library of a signed-in account."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class LibraryEntry(models.Model):
    """A grant in an account's library. The grant is the right to read; this row only links it to the account."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="library")
    grant = models.ForeignKey("payments.Grant", models.PROTECT, related_name="+")
    added_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "grant"], name="library_once")]

    def __str__(self) -> str:
        return f"{self.user}: {self.grant}"
