"""What a purse remembers: one balance per buyer, the card charges that fill it, and what the processor said of them.

The balance column is a projection of the books, kept in the same commit as its entries; the audit compares the two.
A purse belongs to a holder by value ("user:12", "guest:<uuid>"): payments knows no account of a person.
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
        """Why nothing more may be bought from it; each is lifted by a fact, the last one never by itself."""

        NONE = "", "in order"
        PAST_DUE = "past_due", "a tab could not be charged"
        DISPUTE = "dispute", "a card payment is disputed"
        FRAUD = "fraud", "the card's bank warned of fraud"
        CHARGEBACK = "chargeback", "a dispute was lost"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    holder = models.CharField(max_length=64, unique=True)
    email = models.EmailField(blank=True)
    balance_micros = models.BigIntegerField(default=0)
    # How far below zero purchases may take it. 0: no tab.
    tab_limit_micros = models.BigIntegerField(default=0, validators=[MinValueValidator(0)])
    # Since when the buyer has agreed to be charged while away. Null: no card is ever charged without its holder.
    tab_opened_at = models.DateTimeField(null=True)
    flag = models.CharField(max_length=12, choices=Flag, default=Flag.NONE, blank=True)
    # Since when something is owed: a tab is charged a week after this at the latest.
    owing_since = models.DateTimeField(null=True)
    # The processor's name for this buyer, and the card that a tab is charged to.
    customer = models.CharField(max_length=64, blank=True)
    card = models.ForeignKey("Card", models.PROTECT, null=True, related_name="+")
    # A guest's purse that was joined to an account's: it is empty for ever, and what it bought belongs to that one.
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
        return self.holder

    @property
    def buyer(self) -> str:
        """Its name in payments and grants."""
        return f"purse:{self.pk}"

    @staticmethod
    def id_of(buyer: str) -> str:
        """The id of the purse that has this name in payments and grants."""
        return buyer.removeprefix("purse:")


class Card(models.Model):
    """A saved card, as the processor knows it. No number is ever here."""

    purse = models.ForeignKey(Purse, models.PROTECT, related_name="cards")
    reference = models.CharField(max_length=64, unique=True)
    brand = models.CharField(max_length=24, blank=True)
    last4 = models.CharField(max_length=4, blank=True)
    expires = models.CharField(max_length=7, blank=True)
    made_at = models.DateTimeField(db_default=Now())
    removed_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.brand or 'card'} ending in {self.last4}"


class Charge(models.Model):
    """One attempt to get money from a card into a purse. One state machine for all purposes (cards/charges.py)."""

    class Purpose(models.TextChoices):
        """Why."""

        TOPUP = "topup", "top-up"
        TAB = "tab", "tab"
        DIRECT = "direct", "one article"

    class State(models.TextChoices):
        """Success is absorbing; refunds and disputes change the books and never this."""

        NEW = "new", "not sent yet"
        CREATED = "created", "waiting for the card"
        CONFIRMING = "confirming", "being charged"
        ACTION = "action", "waiting for the card holder's bank"
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
    # The processor's names: Checkout session, PaymentIntent, and the charge that succeeded.
    session = models.CharField(max_length=100, blank=True)
    intent = models.CharField(max_length=64, blank=True)
    reference = models.CharField(max_length=64, blank=True)
    # The processor's name of the attempt that was declined last: what is said of it again is no news of the next.
    declined_reference = models.CharField(max_length=64, null=True)  # noqa: DJ001 - a column that SQLite can just add.
    card = models.ForeignKey(Card, models.PROTECT, null=True, related_name="+")
    # Each dunning attempt has its own idempotency key, and a 5xx answer calls for another: docs/cards.md says why.
    attempt = models.PositiveSmallIntegerField(default=0)
    renewal = models.PositiveSmallIntegerField(default=0)
    retry_at = models.DateTimeField(null=True)
    reminders = models.PositiveSmallIntegerField(default=0)
    # The offer to buy with it, by value, and the quoted price; null: only fill the purse.
    wants = models.JSONField(null=True)
    bought = models.ForeignKey(Payment, models.PROTECT, null=True, related_name="+")
    fulfilled_at = models.DateTimeField(null=True)
    # When the processor lets go of the money; null until its balance transaction is known.
    available_at = models.DateTimeField(null=True)
    refunded_micros = models.BigIntegerField(default=0)
    disputed_micros = models.BigIntegerField(default=0)
    # From where it was asked for, to notice who tries stolen cards; and when the sweeper looks at it next.
    address = models.GenericIPAddressField(null=True)
    look_at = models.DateTimeField(db_default=Now())
    made_at = models.DateTimeField(db_default=Now())
    decided_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount_micros__gte=500_000), name="charge_above_floor"),
            models.UniqueConstraint(fields=["session"], condition=~Q(session=""), name="charge_one_per_session"),
            models.UniqueConstraint(fields=["intent"], condition=~Q(intent=""), name="charge_one_per_intent"),
            models.UniqueConstraint(fields=["reference"], condition=~Q(reference=""), name="charge_one_per_reference"),
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
        ]

    def __str__(self) -> str:
        return f"{self.purpose} {self.amount_micros} of {self.purse_id}: {self.state}"


class Setup(models.Model):
    """A hosted page on which a buyer saves a card; done when the card is kept."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    purse = models.ForeignKey(Purse, models.PROTECT, related_name="setups")
    session = models.CharField(max_length=100, blank=True)
    opens_tab = models.BooleanField(default=True)
    address = models.GenericIPAddressField(null=True)
    state = models.CharField(max_length=8, default="new")  # new, open, done, expired
    # When the sweeper looks at it next.
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
    """A webhook, stored once by its event id. A hint: what it is about is fetched before anything is believed."""

    id = models.CharField(primary_key=True, max_length=64)
    type = models.CharField(max_length=80)
    # What it is about, by the processor's name for it.
    about = models.CharField(max_length=100, blank=True)
    body = models.TextField()
    received_at = models.DateTimeField(db_default=Now())
    applied_at = models.DateTimeField(null=True)
    failures = models.PositiveSmallIntegerField(default=0)

    class Meta:
        indexes = [models.Index(fields=["received_at"], condition=Q(applied_at=None), name="event_unapplied")]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class CardRefund(models.Model):
    """Money on its way back to a card: asked for here, or seen at the processor (made by hand there)."""

    class State(models.TextChoices):
        """What became of it."""

        ASKED = "asked", "asked for"
        DONE = "done", "refunded"
        FAILED = "failed", "came back"
        REFUSED = "refused", "refused"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    charge = models.ForeignKey(Charge, models.PROTECT, related_name="refunds")
    amount_micros = models.BigIntegerField()
    state = models.CharField(max_length=8, choices=State, default=State.ASKED)
    reference = models.CharField(max_length=64, blank=True)
    reason = models.CharField(max_length=64, blank=True)
    renewal = models.PositiveSmallIntegerField(default=0)
    # Asked for here, so the money was put aside first; one made by hand at the processor takes it when it is seen.
    ours = models.BooleanField(default=True)
    made_at = models.DateTimeField(db_default=Now())
    decided_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount_micros__gt=0), name="card_refund_positive"),
            models.UniqueConstraint(fields=["reference"], condition=~Q(reference=""), name="card_refund_once"),
        ]
        indexes = [models.Index(fields=["made_at"], condition=Q(state="asked"), name="card_refund_open")]

    def __str__(self) -> str:
        return f"refund of {self.amount_micros} of {self.charge_id}: {self.state}"


class Dispute(models.Model):
    """A card holder's bank asks for the money back. Each of its balance transactions is an entry of its own."""

    id = models.CharField(primary_key=True, max_length=64)
    charge = models.ForeignKey(Charge, models.PROTECT, related_name="disputes")
    status = models.CharField(max_length=32)
    reason = models.CharField(max_length=64, blank=True)
    amount_micros = models.BigIntegerField()
    # What stands withdrawn now, by the balance transactions that were booked.
    withdrawn_micros = models.BigIntegerField(default=0)
    lost_at = models.DateTimeField(null=True)
    made_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.id}: {self.status}"
