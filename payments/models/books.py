"""The books: double entry, append-only, balanced by construction. Only payments.books.ledger writes here.

A posting has a source, a target and a positive amount, so no unbalanced line can be written. A transaction names
its last posting through a deferred foreign key: the database refuses an empty one at commit, and a trigger refuses
any posting that comes after the last one. Other triggers refuse UPDATE, DELETE and TRUNCATE (migration 0002).
"""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from payments.ids import uuid7


class Account(models.Model):
    """A named pot of one asset. Codes read as sentences: world:eip155:84532, publisher:7:earned, platform:fees."""

    code = models.CharField(max_length=100)
    asset = models.CharField(max_length=16)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["code", "asset"], name="account_once")]

    def __str__(self) -> str:
        return f"{self.code} {self.asset}"


class Transaction(models.Model):
    """One event in the books. `key` names the event and is unique; `digest` proves what was posted for it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    key = models.CharField(max_length=200, unique=True)
    kind = models.CharField(max_length=32)
    digest = models.CharField(max_length=64)
    made_at = models.DateTimeField(db_default=Now())
    reverses = models.OneToOneField("self", models.PROTECT, null=True, related_name="reversed_by")
    last_posting = models.OneToOneField("Posting", models.PROTECT, related_name="closes")

    def __str__(self) -> str:
        return self.key


class Posting(models.Model):
    """An amount in micros that moves from one account to another of the same asset."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    transaction = models.ForeignKey(Transaction, models.PROTECT, related_name="postings")
    source = models.ForeignKey(Account, models.PROTECT, related_name="outgoing")
    target = models.ForeignKey(Account, models.PROTECT, related_name="incoming")
    amount_micros = models.BigIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount_micros__gt=0), name="posting_positive"),
            models.CheckConstraint(condition=~Q(source=F("target")), name="posting_between_two"),
        ]

    def __str__(self) -> str:
        return f"{self.source} → {self.target}: {self.amount_micros}"
