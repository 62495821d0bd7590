"""The tables of purses: one balance per buyer, the card charges that fill it, and the processor's events about them.

The balance column is a projection of the books, updated in the same commit as its postings; the audit compares the two.
A purse belongs to an owner by value ("user:12", "guest:<uuid>"): payments knows no account of a person.
"""

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from payments.ids import uuid7

from .purchases import Payment


class Purse(models.Model):
    """One buyer's money here, in micros of a US dollar: above zero prepaid, below zero owed on the tab."""

    class Flag(models.TextChoices):
        """Why the purse may not buy. A payment lifts PAST_DUE, the end of a dispute DISPUTE, and staff the others."""

        NONE = "", "in order"
        PAST_DUE = "past_due", "a tab could not be charged"
        DISPUTE = "dispute", "a card payment is disputed"
        FRAUD = "fraud", "the card's bank warned of fraud"
        CHARGEBACK = "chargeback", "a dispute was lost"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.CharField(max_length=64, unique=True)
    email = models.EmailField(blank=True)
    balance_micros = models.BigIntegerField(default=0)
    # How far below zero purchases may take the balance. 0 means no tab.
    tab_limit_micros = models.BigIntegerField(default=0, validators=[MinValueValidator(0)])
    # Since when the buyer has agreed to off-session charges. Null: a card is charged only with the cardholder present.
    tab_opened_at = models.DateTimeField(null=True)
    flag = models.CharField(max_length=12, choices=Flag, default=Flag.NONE, blank=True)
    # Since when something is owed: a tab is charged a week after this at the latest.
    owing_since = models.DateTimeField(null=True)
    # The processor's customer id for this buyer, and the card that a tab is charged to.
    customer = models.CharField(max_length=64, blank=True)
    card = models.ForeignKey("Card", models.PROTECT, null=True, related_name="+")
    # Set when this guest's purse was joined to an account's: it stays empty, and its purchases belong to that purse.
    joined_to = models.ForeignKey("self", models.PROTECT, null=True, related_name="joined")
    made_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(tab_limit_micros__gte=0), name="purse_limit_not_negative"),
            models.CheckConstraint(condition=Q(joined_to=None) | Q(balance_micros=0), name="purse_joined_is_empty"),
        ]
        indexes = [
            models.Index(fields=["owing_since"], condition=Q(balance_micros__lt=0), name="purse_owing"),
            models.Index(fields=["email"], condition=~Q(email=""), name="purse_email"),
        ]

    def __str__(self) -> str:
        return self.owner

    @property
    def buyer(self) -> str:
        """The purse's name in payments and grants."""
        return self.buyer_of(self.pk)

    @staticmethod
    def buyer_of(purse_id: object) -> str:
        """The name in payments and grants of the purse with this id."""
        return f"purse:{purse_id}"

    @staticmethod
    def id_of(buyer: str) -> str:
        """The id of the purse that has this name in payments and grants."""
        return buyer.removeprefix("purse:")


class Card(models.Model):
    """A saved card, as the processor knows it. A card number is never stored."""

    purse = models.ForeignKey(Purse, models.PROTECT, related_name="cards")
    stripe_card_id = models.CharField(max_length=64, unique=True)
    brand = models.CharField(max_length=24, blank=True)
    last4 = models.CharField(max_length=4, blank=True)
    expires = models.CharField(max_length=7, blank=True)
    made_at = models.DateTimeField(db_default=Now())
    # Removed here, and then at the processor. Null: not yet.
    removed_at = models.DateTimeField(null=True)
    forgotten_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["removed_at"], condition=Q(forgotten_at=None, removed_at__isnull=False), name="card_to_forget"
            )
        ]

    def __str__(self) -> str:
        return f"{self.brand or 'card'} ending in {self.last4}"


class Charge(models.Model):
    """One attempt to get money from a card into a purse. One state machine for all purposes (cards/charges.py)."""

    class Purpose(models.TextChoices):
        """What the charge pays for."""

        TOPUP = "topup", "top-up"
        TAB = "tab", "tab"
        DIRECT = "direct", "one article"

    class State(models.TextChoices):
        """Success is absorbing; refunds and disputes change the books and never this state."""

        NEW = "new", "not sent yet"
        CREATED = "created", "waiting for the card"
        CONFIRMING = "confirming", "being charged"
        ACTION = "action", "waiting for the cardholder's bank"
        PROCESSING = "processing", "being processed"
        DECLINED = "declined", "declined, to be tried again"
        SUCCEEDED = "succeeded", "paid"
        FAILED = "failed", "failed"
        CANCELED = "canceled", "canceled"

    LIVE = (State.NEW, State.CREATED, State.CONFIRMING, State.ACTION, State.PROCESSING, State.DECLINED)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    purse = models.ForeignKey(Purse, models.PROTECT, related_name="charges")
    purpose = models.CharField(max_length=8, choices=Purpose)
    amount_micros = models.BigIntegerField()
    state = models.CharField(max_length=12, choices=State, default=State.NEW)
    reason = models.CharField(max_length=64, blank=True)
    # The processor's ids: Checkout session, PaymentIntent, and the charge that succeeded.
    session = models.CharField(max_length=100, blank=True)
    intent = models.CharField(max_length=64, blank=True)
    stripe_charge_id = models.CharField(max_length=64, blank=True)
    # The processor's id of the attempt that was declined last: a repeated report of it says nothing about the next.
    declined_stripe_charge_id = models.CharField(max_length=64, null=True)  # noqa: DJ001 - a column that SQLite can just add.
    card = models.ForeignKey(Card, models.PROTECT, null=True, related_name="+")
    # The buyer asked to save the card that pays on the hosted page.
    keep_card = models.BooleanField(null=True)
    # Each dunning attempt has its own idempotency key, and a 5xx answer needs a new one: docs/cards.md says why.
    attempt = models.PositiveSmallIntegerField(default=0)
    renewal = models.PositiveSmallIntegerField(default=0)
    retry_at = models.DateTimeField(null=True)
    reminders = models.PositiveSmallIntegerField(default=0)
    # The offer to buy with the money, by value, with the quoted price. Null: the charge only fills the purse.
    wants = models.JSONField(null=True)
    bought = models.ForeignKey(Payment, models.PROTECT, null=True, related_name="+")
    fulfilled_at = models.DateTimeField(null=True)
    receipt_sent_at = models.DateTimeField(null=True)
    # When the processor releases the money; null until its balance transaction is known.
    available_at = models.DateTimeField(null=True)
    # The processor's fee, which it keeps when the charge is refunded; known with `available_at`.
    fee_micros = models.BigIntegerField(null=True)
    refunded_micros = models.BigIntegerField(default=0)
    disputed_micros = models.BigIntegerField(default=0)
    # The IP address that asked for the charge, to notice tests of stolen cards; and when the sweeper looks next.
    address = models.GenericIPAddressField(null=True)
    look_at = models.DateTimeField(db_default=Now())
    made_at = models.DateTimeField(db_default=Now())
    decided_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount_micros__gte=500_000), name="charge_above_floor"),
            models.UniqueConstraint(fields=["session"], condition=~Q(session=""), name="charge_one_per_session"),
            models.UniqueConstraint(fields=["intent"], condition=~Q(intent=""), name="charge_one_per_intent"),
            models.UniqueConstraint(
                fields=["stripe_charge_id"], condition=~Q(stripe_charge_id=""), name="charge_one_per_stripe_charge"
            ),
            models.UniqueConstraint(
                fields=["purse"],
                condition=Q(
                    purpose="tab", state__in=["new", "created", "confirming", "action", "processing", "declined"]
                ),
                name="charge_one_live_tab",
            ),
            models.CheckConstraint(
                condition=Q(refunded_micros__gte=0, disputed_micros__gte=0)
                & Q(refunded_micros__lte=F("amount_micros"), disputed_micros__lte=F("amount_micros")),
                name="charge_not_taken_twice",
            ),
        ]
        indexes = [
            models.Index(
                fields=["look_at"],
                condition=Q(state__in=["new", "created", "confirming", "action", "processing", "declined"]),
                name="charge_live",
            ),
            models.Index(fields=["made_at"], name="charge_made"),
            models.Index(
                fields=["decided_at"], condition=Q(state="succeeded", fulfilled_at=None), name="charge_unfulfilled"
            ),
            models.Index(
                fields=["decided_at"], condition=Q(state="succeeded", available_at=None), name="charge_unavailable"
            ),
            models.Index(
                fields=["decided_at"], condition=Q(state="succeeded", receipt_sent_at=None), name="charge_no_receipt"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} {self.amount_micros} of {self.purse_id}: {self.state}"


class Setup(models.Model):
    """A hosted page on which a buyer saves a card; done when the card is saved."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    purse = models.ForeignKey(Purse, models.PROTECT, related_name="setups")
    session = models.CharField(max_length=100, blank=True)
    address = models.GenericIPAddressField(null=True)
    state = models.CharField(max_length=8, default="new")  # new, open, done, expired
    # When the sweeper looks at the page next.
    look_at = models.DateTimeField(db_default=Now())
    made_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["session"], condition=~Q(session=""), name="setup_one_per_session"),
        ]
        indexes = [models.Index(fields=["look_at"], condition=Q(state="open"), name="setup_open")]

    def __str__(self) -> str:
        return f"card of {self.purse_id}: {self.state}"


class ProcessorEvent(models.Model):
    """A webhook, stored once by its event id. Only a hint: the object it is about is fetched from the processor."""

    id = models.CharField(primary_key=True, max_length=64)
    type = models.CharField(max_length=80)
    # The processor's id of the object that the event is about.
    about = models.CharField(max_length=100, blank=True)
    body = models.TextField()
    received_at = models.DateTimeField(db_default=Now())
    applied_at = models.DateTimeField(null=True)
    failures = models.PositiveSmallIntegerField(default=0)

    class Meta:
        indexes = [
            models.Index(fields=["received_at"], condition=Q(applied_at=None), name="event_unapplied"),
            models.Index(fields=["received_at"], name="event_received"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class Reconciliation(models.Model):
    """How far the processor's books have been compared with ours. One row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    read_to = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="reconciliation_one_row")]

    def __str__(self) -> str:
        return f"compared to {self.read_to}"


class CardRefund(models.Model):
    """A refund to a card: asked for here, or made by hand at the processor and seen there."""

    class State(models.TextChoices):
        """What became of the refund."""

        ASKED = "asked", "asked for"
        DONE = "done", "refunded"
        FAILED = "failed", "came back"
        REFUSED = "refused", "refused"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    charge = models.ForeignKey(Charge, models.PROTECT, related_name="refunds")
    # What the card gets, and what the buyer paid beside it of the processor's fee.
    amount_micros = models.BigIntegerField()
    fee_micros = models.BigIntegerField(null=True)
    state = models.CharField(max_length=8, choices=State, default=State.ASKED)
    stripe_refund_id = models.CharField(max_length=64, blank=True)
    reason = models.CharField(max_length=64, blank=True)
    renewal = models.PositiveSmallIntegerField(default=0)
    # Asked for here, so the money was reserved first. A refund made by hand takes the money when it is seen.
    ours = models.BooleanField(default=True)
    # When the sweeper last took it up: those that it has not come to have their turn first.
    look_at = models.DateTimeField(null=True)
    made_at = models.DateTimeField(db_default=Now())
    decided_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount_micros__gt=0), name="card_refund_positive"),
            models.UniqueConstraint(
                fields=["stripe_refund_id"], condition=~Q(stripe_refund_id=""), name="card_refund_once"
            ),
        ]
        indexes = [models.Index(fields=["made_at"], condition=Q(state="asked"), name="card_refund_open")]

    def __str__(self) -> str:
        return f"refund of {self.amount_micros} of {self.charge_id}: {self.state}"


class Dispute(models.Model):
    """A cardholder's bank asks for the money back. Our books have one transaction for each of its movements."""

    id = models.CharField(primary_key=True, max_length=64)
    charge = models.ForeignKey(Charge, models.PROTECT, related_name="disputes")
    status = models.CharField(max_length=32)
    reason = models.CharField(max_length=64, blank=True)
    amount_micros = models.BigIntegerField()
    # The amount withdrawn now, according to the balance transactions that were booked.
    withdrawn_micros = models.BigIntegerField(default=0)
    lost_at = models.DateTimeField(null=True)
    made_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.id}: {self.status}"
