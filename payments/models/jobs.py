"""What operators watch: who runs a periodic job now, what came of its last run (payments.jobs), and counted sales."""

from django.db import models
from django.db.models.functions import Now


class Job(models.Model):
    """One periodic job. Its lease lets one run at a time work, and expires when a run has crashed."""

    name = models.CharField(primary_key=True, max_length=40)
    holder = models.CharField(max_length=64, blank=True)
    held_until = models.DateTimeField(db_default=Now())
    began_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    # When a run last did all there was to do.
    succeeded_at = models.DateTimeField(null=True)
    # How often in a row the card processor did not answer, and until when it is not asked again.
    failures = models.PositiveSmallIntegerField(default=0)
    resume_at = models.DateTimeField(null=True)
    # One word about the last run, and how much it found, for a job that looks for something.
    result = models.CharField(max_length=16, blank=True)
    found = models.PositiveIntegerField(null=True)

    def __str__(self) -> str:
        return f"{self.name}: {self.result or 'not run yet'}"


class SalesCount(models.Model):
    """The sales of one rail so far, so that nothing has to count them all again (payments.books.reports)."""

    rail = models.CharField(primary_key=True, max_length=16)
    number = models.BigIntegerField(default=0)
    # Every sale whose id is lower is counted.
    counted_to = models.UUIDField()

    def __str__(self) -> str:
        return f"{self.rail}: {self.number}"
