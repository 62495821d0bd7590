"""A person's agents: their API keys, the limits on each, and the purchases that wait for approval."""

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from payments.ids import uuid7

from .purchases import Payment
from .purses import Purse


class ApiKey(models.Model):
    """A bearer key that spends from a purse, within limits. Only a digest of it is kept."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    purse = models.ForeignKey(Purse, models.PROTECT, related_name="keys")
    name = models.CharField(max_length=60)
    # The public half finds the row; the SHA-256 digest of the whole key is compared.
    public = models.CharField(max_length=16, unique=True)
    digest = models.CharField(max_length=64)
    # Null means no limit. A day is a UTC day.
    day_budget_micros = models.BigIntegerField(null=True)
    budget_micros = models.BigIntegerField(null=True)
    ceiling_micros = models.BigIntegerField(null=True)
    approve_above_micros = models.BigIntegerField(null=True)
    # The publications that the key may buy from ("publisher:7"); empty means all.
    payees = models.JSONField(default=list)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    # What the key has spent, in total and on `day`; updated in the commit of each sale.
    spent_micros = models.BigIntegerField(default=0)
    day = models.DateField(null=True)
    day_spent_micros = models.BigIntegerField(default=0)
    made_at = models.DateTimeField(db_default=Now())
    used_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(spent_micros__gte=0, day_spent_micros__gte=0), name="key_spent_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(budget_micros=None) | Q(spent_micros__lte=models.F("budget_micros")), name="key_in_budget"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} (pp_{self.public}_…)"


class Approval(models.Model):
    """An owner's approval of a purchase by an agent. One is open per key and article, and it covers one purchase."""

    class State(models.TextChoices):
        """The owner's answer, and whether it was used."""

        ASKED = "asked", "waiting"
        APPROVED = "approved", "approved"
        DECLINED = "declined", "declined"
        USED = "used", "bought"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    key = models.ForeignKey(ApiKey, models.PROTECT, related_name="approvals")
    resource = models.CharField(max_length=100)
    payee = models.CharField(max_length=64)
    title = models.CharField(max_length=200)
    url = models.CharField(max_length=400)
    amount_micros = models.BigIntegerField()
    state = models.CharField(max_length=8, choices=State, default=State.ASKED)
    asked_at = models.DateTimeField(db_default=Now())
    decided_at = models.DateTimeField(null=True)
    # When the owner was told of it by mail.
    mailed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["key", "resource"], condition=Q(state__in=["asked", "approved"]), name="approval_one_open"
            ),
        ]
        indexes = [
            models.Index(fields=["key"], condition=Q(state="asked"), name="approval_asked"),
        ]

    def __str__(self) -> str:
        return f"{self.title}: {self.state}"


class Debit(models.Model):
    """What a payment took from a purse and who asked for it: evidence for the buyer, kept beside the transaction.

    A tab rests only on our records, so the API key, the IP address and the user agent of the request are kept as sent.
    """

    payment = models.OneToOneField(Payment, models.PROTECT, primary_key=True, related_name="debit")
    purse = models.ForeignKey(Purse, models.PROTECT, related_name="debits")
    key = models.ForeignKey(ApiKey, models.PROTECT, null=True, related_name="debits")
    title = models.CharField(max_length=200, blank=True)
    address = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=200, blank=True)

    def __str__(self) -> str:
        return f"{self.payment_id} from {self.purse_id}"
