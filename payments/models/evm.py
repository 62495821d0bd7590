"""The exact rail's tables: authorizations claimed, transactions signed, and transfers seen on the chain."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from payments.fields import BytesField, Uint256Field

from .books import Transaction
from .purchases import Payment


class Chain(models.Model):
    """One chain that this database has read: its identity (the genesis block) and how far it has been read."""

    chain_id = models.BigIntegerField(primary_key=True)
    genesis_hash = BytesField(max_length=32)
    # The block where reading began, and what our address already held then, which is not in our books.
    started_at = models.BigIntegerField()
    opening_balance = Uint256Field(default=0)
    # Every transfer to our address up to and including this block is in Transfer.
    scanned_to = models.BigIntegerField()
    # The hash of that block at the time: a different hash now means that the chain was reorganised.
    scanned_hash = BytesField(max_length=32)

    def __str__(self) -> str:
        return f"eip155:{self.chain_id}"


class Lease(models.Model):
    """The lease on a settlement key: its holder alone may sign. Also the key's next nonce (its transaction count)."""

    key = BytesField(max_length=20)
    chain_id = models.BigIntegerField()
    holder = models.CharField(max_length=64, blank=True)
    # A fencing token: it grows with every new lease holder, and a statement with an old one changes no row.
    fence = models.BigIntegerField(default=0)
    expires_at = models.DateTimeField(db_default=Now())
    next_nonce = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["chain_id", "key"], name="lease_one_per_key")]

    def __str__(self) -> str:
        return f"0x{self.key.hex()} held by {self.holder or 'no process'}"


class Submission(models.Model):
    """One settlement transaction of ours: a key nonce and the call it carries. Signed and stored before it is sent."""

    class State(models.TextChoices):
        """What became of the key nonce."""

        SENT = "sent", "signed and on its way"
        MINED = "mined", "in a block"
        LOST = "lost", "its nonce was used by something else"

    chain_id = models.BigIntegerField()
    key = BytesField(max_length=20)
    key_nonce = models.BigIntegerField()
    to = BytesField(max_length=20)
    data = BytesField()
    gas_limit = models.BigIntegerField()
    state = models.CharField(max_length=8, choices=State, default=State.SENT)
    made_at = models.DateTimeField(db_default=Now())
    block_number = models.BigIntegerField(null=True)
    block_hash = BytesField(max_length=32, null=True)
    gas_used = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["chain_id", "key", "key_nonce"], name="submission_one_per_nonce")
        ]
        indexes = [models.Index(fields=["chain_id", "key_nonce"], condition=Q(state="sent"), name="submission_sent")]

    def __str__(self) -> str:
        return f"nonce {self.key_nonce}: {self.state}"


class Attempt(models.Model):
    """One signed form of a submission. A fee bump is another attempt with the same nonce: at most one is mined."""

    submission = models.ForeignKey(Submission, models.PROTECT, related_name="attempts")
    tx_hash = BytesField(max_length=32, unique=True)
    raw = BytesField()
    max_fee = models.BigIntegerField()
    priority_fee = models.BigIntegerField()
    made_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"0x{self.tx_hash.hex()}"


class Authorization(models.Model):
    """An EIP-3009 authorization, claimed once for one payment. The row marks its nonce as spent; see `record.prune`."""

    payment = models.OneToOneField(Payment, models.PROTECT, primary_key=True, related_name="authorization")
    chain_id = models.BigIntegerField()
    token = BytesField(max_length=20)
    payer = BytesField(max_length=20)
    nonce = BytesField(max_length=32)
    recipient = BytesField(max_length=20)
    valid_after = models.BigIntegerField()
    valid_before = models.BigIntegerField()
    signature = BytesField()
    contract_wallet = models.BooleanField(default=False)
    submission = models.ForeignKey(Submission, models.PROTECT, null=True, related_name="authorizations")
    # The client that presented it first (places.source_of its address).
    source = models.CharField(max_length=43, null=True)
    # When our transaction was mined without moving this authorization's money: the gas was lost on this payer.
    wasted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["chain_id", "token", "payer", "nonce"], name="authorization_spent_once"),
        ]
        indexes = [
            models.Index(fields=["payer", "wasted_at"], condition=Q(wasted_at__isnull=False), name="auth_wasted")
        ]

    def __str__(self) -> str:
        return f"0x{self.payer.hex()} nonce 0x{self.nonce.hex()}"


class Transfer(models.Model):
    """One Transfer log of our token to our address, as a block held it. This log decides a payment."""

    chain_id = models.BigIntegerField()
    block_number = models.BigIntegerField()
    block_hash = BytesField(max_length=32)
    tx_hash = BytesField(max_length=32)
    log_index = models.IntegerField()
    token = BytesField(max_length=20)
    sender = BytesField(max_length=20)
    recipient = BytesField(max_length=20)
    value = Uint256Field()
    # The EIP-3009 nonce whose AuthorizationUsed log came with it; null for a plain transfer.
    nonce = BytesField(max_length=32, null=True)
    seen_at = models.DateTimeField(db_default=Now())
    final = models.BooleanField(default=False)
    orphaned_at = models.DateTimeField(null=True)
    # How often its block left the chain: part of the key of its next transaction in the books.
    orphanings = models.PositiveSmallIntegerField(default=0)
    payment = models.ForeignKey(Payment, models.PROTECT, null=True, related_name="transfers")
    # The transaction in the books that recorded its arrival: a sale, or `unclaimed` into suspense.
    received = models.OneToOneField(Transaction, models.PROTECT, null=True, related_name="transfer")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["chain_id", "block_hash", "tx_hash", "log_index"], name="transfer_once"),
            models.UniqueConstraint(
                fields=["payment"], condition=Q(orphaned_at__isnull=True), name="transfer_one_per_payment"
            ),
        ]
        indexes = [
            models.Index(fields=["sender", "nonce"], name="transfer_by_authorization"),
            models.Index(fields=["chain_id", "block_number"], condition=Q(final=False), name="transfer_not_final"),
        ]

    def __str__(self) -> str:
        return f"0x{self.tx_hash.hex()}#{self.log_index}"
