"""What a reader keeps: the library of a signed-in account."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class LibraryEntry(models.Model):
    """A grant that an account holds. The right itself is the grant's; this says whose shelf it stands on."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="library")
    grant = models.ForeignKey("payments.Grant", models.PROTECT, related_name="+")
    added_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "grant"], name="library_once")]

    def __str__(self) -> str:
        return f"{self.user}: {self.grant}"
