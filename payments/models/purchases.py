"""Who bought what: the payment (one attempt to buy) and the grant (the right to read that it earned)."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from payments.ids import uuid7

from .books import Transaction


class PaymentState(models.TextChoices):
    """The life of a payment. Each step is one conditional update; docs/architecture.md draws the graph."""

    CLAIMED = "claimed", "claimed"
    SIGNED = "signed", "signed"
    CONFIRMED = "confirmed", "confirmed"
    FINAL = "final", "final"
    RELEASED = "released", "not charged"
    FAILED = "failed", "can never be charged"
    REFUNDED = "refunded", "refunded"


OPEN = (PaymentState.CLAIMED, PaymentState.SIGNED)
OWNED = (PaymentState.CONFIRMED, PaymentState.FINAL)
LIVE = OPEN + OWNED
# Payments that the settler and the watcher still work on: few rows, however many were ever sold.
UNSETTLED = (*OPEN, PaymentState.RELEASED, PaymentState.CONFIRMED)


class Payment(models.Model):
    """One buyer's attempt to buy one resource, bound before any money moves.

    `buyer` is the rail's name for the payer ("eip155:84532:0x…", lower case). `amount_micros` is the quoted price.
    At most one live payment per buyer and resource: stock clients answer a 503 by signing again, and a second
    signature must never become a second charge.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    rail = models.CharField(max_length=16)
    buyer = models.CharField(max_length=100)
    resource = models.CharField(max_length=100)
    version = models.PositiveIntegerField()
    payee = models.CharField(max_length=64)
    audience = models.CharField(max_length=16)
    price_id = models.BigIntegerField()
    amount_micros = models.BigIntegerField()
    # The random part of the echoed quote: known to the buyer, never on the chain. Empty: none was echoed.
    quote = models.CharField(max_length=64, blank=True)
    state = models.CharField(max_length=12, choices=PaymentState, default=PaymentState.CLAIMED)
    reason = models.CharField(max_length=64, blank=True)
    claimed_at = models.DateTimeField(db_default=Now())
    decided_at = models.DateTimeField(null=True)
    # How often a chain reorganisation reversed the sale: part of the next sale's key.
    reversals = models.PositiveSmallIntegerField(default=0)
    sale = models.OneToOneField(Transaction, models.PROTECT, null=True, related_name="payment")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["buyer", "resource"], condition=Q(state__in=LIVE), name="payment_one_live_per_buyer"
            ),
            models.CheckConstraint(condition=Q(amount_micros__gt=0), name="payment_positive"),
            models.CheckConstraint(
                condition=Q(state__in=OWNED, sale__isnull=False) | (~Q(state__in=OWNED) & Q(sale__isnull=True)),
                name="payment_owned_means_posted",
            ),
            # One refund per buyer and article: a second purchase of the article cannot be refunded.
            models.UniqueConstraint(
                fields=["buyer", "resource"],
                condition=Q(state="refunded", reason="buyer"),
                name="payment_refunded_once",
            ),
        ]
        indexes = [
            models.Index(fields=["payee", "-decided_at"], name="payment_by_payee"),
            models.Index(fields=["state", "claimed_at"], condition=Q(state__in=UNSETTLED), name="payment_unsettled"),
            models.Index(fields=["buyer"], condition=Q(state__in=OPEN), name="payment_undecided"),
        ]

    def __str__(self) -> str:
        return f"{self.resource} by {self.buyer}: {self.state}"


class Grant(models.Model):
    """The right of a buyer to read a resource, from the version bought onwards. Made with the sale, in one commit."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    payment = models.ForeignKey(Payment, models.PROTECT, related_name="grants")
    buyer = models.CharField(max_length=100)
    resource = models.CharField(max_length=100)
    version = models.PositiveIntegerField()
    made_at = models.DateTimeField(db_default=Now())
    revoked_at = models.DateTimeField(null=True)
    # When the article was first read as Markdown or JSON, after which the purchase cannot be refunded.
    machine_read_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["payment"], condition=Q(revoked_at__isnull=True), name="grant_one_per_payment"
            ),
            models.UniqueConstraint(
                fields=["buyer", "resource"], condition=Q(revoked_at__isnull=True), name="grant_one_per_buyer"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.buyer} may read {self.resource}"
