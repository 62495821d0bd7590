"""The audit: checks every invariant of docs/audit.md against the database and against the chain. Writes nothing.

The audit reads the database first, in one snapshot, and then the chain, as of the last scanned block.
"""

import itertools
import operator
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, CharField, Count, Exists, F, OuterRef, Q, Sum, Value, When
from django.db.models.functions import Cast, Coalesce, Concat

from payments import onchain
from payments.books import accounts, ledger
from payments.models import (
    OPEN,
    OWNED,
    Account,
    Authorization,
    Chain,
    Grant,
    Payment,
    PaymentState,
    Posting,
    Transaction,
    Transfer,
)
from payments.onchain import rpc

from . import cards
from .findings import Finding, finding

_LOG_BLOCKS = 50_000
_SETTLING_SECONDS = 120


def findings() -> Iterator[Finding]:
    """Every violated invariant; nothing when the books are right. An unreachable chain is a finding too."""
    with _snapshot():
        inside = [found for check in _CHECKS for found in check()]
        facts = _Facts.read() if onchain.enabled() else None
    yield from inside
    if facts:
        try:
            yield from _against_chain(facts)
        except (rpc.ChainUnreachable, rpc.RpcRefused) as error:
            yield Finding("chain_unreachable", f"The books could not be compared with the chain: {error}")


@contextmanager
def _snapshot() -> Iterator[None]:
    """A read-only snapshot of the database for all checks, which blocks no writer."""
    if connection.in_atomic_block:
        with transaction.atomic():
            yield
        return
    database: Any = connection
    database.ensure_connection()
    usual = getattr(database, "transaction_mode", None)
    if database.vendor == "sqlite":
        # A read-only transaction must not take SQLite's single write lock.
        database.transaction_mode = "DEFERRED"
    try:
        with transaction.atomic():
            if database.vendor == "postgresql":
                with database.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield
    finally:
        if database.vendor == "sqlite":
            database.transaction_mode = usual


# --- The database alone -------------------------------------------------------------------------------


_LINES = """
SELECT t.id, t.kind, t.digest, c.transaction_id, p.source_id, p.target_id, p.amount_micros
FROM payments_transaction t
LEFT JOIN payments_posting p ON p.transaction_id = t.id
LEFT JOIN payments_posting c ON c.id = t.last_posting_id
ORDER BY t.id
"""


def _entries_are_whole() -> Iterator[Finding]:
    """Every transaction still has exactly its original postings, and every posting has a transaction."""
    accounts = {pk: (code, asset) for pk, code, asset in Account.objects.values_list("id", "code", "asset")}
    broken = []
    # Raw SQL, streamed, because there may be millions of postings.
    with connection.chunked_cursor() as cursor:
        cursor.execute(_LINES)
        for (pk, kind, digest, closed_by), lines in itertools.groupby(cursor, key=operator.itemgetter(0, 1, 2, 3)):
            if closed_by != pk or _digest(kind, lines, accounts) != digest:
                broken.append(pk if isinstance(pk, uuid.UUID) else uuid.UUID(pk))
    yield from finding("entry_broken", "A transaction's postings differ from those it was created with.", broken)
    known = Transaction.objects.filter(id=OuterRef("transaction_id"))
    homeless = Posting.objects.filter(~Exists(known)).values_list("id", flat=True)
    yield from finding("posting_without_entry", "A posting belongs to no transaction.", homeless)


def _digest(kind: str, lines: Iterable[tuple], accounts: dict[int, tuple[str, str]]) -> str | None:
    """The digest of a transaction's postings; None when they are not all of one asset."""
    unknown = ("", "")
    moves, assets = [], set()
    for *_, source_id, target_id, amount in lines:
        source, target = accounts.get(source_id, unknown), accounts.get(target_id, unknown)
        assets |= {source[1], target[1]}
        moves.append((source[0], target[0], amount))
    return ledger.digest(kind, assets.pop(), moves) if len(assets) == 1 else None


def _entries_have_reasons() -> Iterator[Finding]:
    """Every transaction has the payment, transfer or reversal it came from, and moves money as its kind may."""
    sales = Transaction.objects.filter(kind="sale")
    orphans = sales.filter(payment=None, reversed_by=None).values_list("id", flat=True)
    yield from finding("sale_without_payment", "A sale belongs to no payment.", orphans)
    arrivals = Transaction.objects.filter(kind="unclaimed")
    nowhere = arrivals.filter(transfer=None, reversed_by=None).values_list("id", flat=True)
    yield from finding("entry_without_transfer", "The books record money that never arrived.", nowhere)
    used = Q(kind="sale", payment__isnull=False) | Q(transfer__isnull=False)
    undone = Transaction.objects.filter(used, reversed_by__isnull=False).values_list("id", flat=True)
    yield from finding("reversed_in_use", "A transaction was reversed but is still in use.", undone)
    yield from finding("reversal_differs", "A reversal does not exactly undo its transaction.", _wrong_reversals())
    kinds = Posting.objects.values_list("transaction__kind", "source_id", "target_id").distinct()
    codes = dict(Account.objects.values_list("id", "code"))
    for kind, source, target in kinds:
        if not usual(kind, codes.get(source, ""), codes.get(target, "")):
            lines = Posting.objects.filter(transaction__kind=kind, source_id=source, target_id=target)
            ids = lines.values_list("transaction_id", flat=True)
            yield from finding("entry_unexpected", f"A {kind} never moves money between these accounts.", ids)


# Between which accounts each kind of transaction moves money. `*` stands for any text without a colon.
_MOVES = {
    "sale": [
        ("world:eip155:*", "publisher:*:earned"),
        ("world:eip155:*", "platform:fees"),
        ("suspense:eip155:*", "publisher:*:earned"),
        ("suspense:eip155:*", "platform:fees"),
        ("buyer:*:balance", "publisher:*:pending"),
        ("buyer:*:balance", "platform:fees"),
    ],
    "unclaimed": [("world:eip155:*", "suspense:eip155:*")],
    "card_paid": [("world:stripe", "buyer:*:balance")],
    "card_fee": [("expense:processor", "world:stripe"), ("world:stripe", "expense:processor")],
    "cleared": [("publisher:*:pending", "publisher:*:earned")],
    "joined": [("buyer:*:balance", "buyer:*:balance")],
    "refund_reserved": [("buyer:*:balance", "buyer:*:refunding")],
    "refund_released": [("buyer:*:refunding", "buyer:*:balance")],
    "card_refund": [("buyer:*:refunding", "world:stripe"), ("buyer:*:balance", "world:stripe")],
    "card_refund_failed": [("world:stripe", "buyer:*:balance")],
    "dispute": [("buyer:*:balance", "world:stripe"), ("world:stripe", "buyer:*:balance")],
    "dispute_fee": [("loss:dispute_fee", "world:stripe"), ("world:stripe", "loss:dispute_fee")],
    "dispute_lost": [("loss:chargeback", "buyer:*:balance")],
    "dispute_recovered": [("buyer:*:balance", "loss:chargeback")],
    "processor_other": [("world:stripe", "suspense:stripe"), ("suspense:stripe", "world:stripe")],
}
# The kinds that each reversing kind may reverse.
_REVERSALS = {"reorganisation": ("sale", "unclaimed"), "refund": ("sale",), "charged_back": ("sale",)}


def usual(kind: str, source: str, target: str) -> bool:
    """Whether a transaction of this kind may move money from `source` to `target`."""
    if kind in _REVERSALS:
        return any(usual(undone, target, source) for undone in _REVERSALS[kind])
    return any(_like(source, one) and _like(target, other) for one, other in _MOVES.get(kind, ()))


def _like(code: str, pattern: str) -> bool:
    given, wanted = code.split(":"), pattern.split(":")
    return len(given) == len(wanted) and all(w in ("*", g) for g, w in zip(given, wanted, strict=True))


def _wrong_reversals() -> Iterator[uuid.UUID]:
    """The reversals that do not undo exactly their original. Reversals are rare, so they are read one by one."""
    for row in Transaction.objects.filter(Q(kind__in=_REVERSALS) | Q(reverses__isnull=False)).iterator():
        undone = row.reverses
        lines = undone.postings.exists() if undone else False
        if not undone or not lines or ledger.reversal(row.kind, undone).digest != row.digest:
            yield row.id


def _sales_match_payments() -> Iterator[Finding]:
    """Every paid payment has its own sale, of its amount, to its payee and the platform."""
    owned = Payment.objects.filter(state__in=OWNED)
    odd = owned.exclude(sale__kind="sale").values_list("id", flat=True)
    yield from finding("payment_without_sale", "A paid payment has no sale.", odd)
    line = "sale__postings"
    share = Case(When(rail="purse", then=Value(":pending")), default=Value(":earned"))
    publishers = Q(**{f"{line}__target__code": Concat("payee", share)})
    booked = owned.annotate(
        posted=Coalesce(Sum(f"{line}__amount_micros"), 0),
        lines=Count(line),
        earned=Count(line, filter=publishers),
        fees=Count(line, filter=Q(**{f"{line}__target__code": "platform:fees"})),
    )
    right = Q(posted=F("amount_micros"), earned=1, fees__lte=1, lines=F("earned") + F("fees"))
    wrong = booked.exclude(right).values_list("id", flat=True)
    yield from finding("sale_differs", "A sale differs from its payment.", wrong)


def _grants_match_payments() -> Iterator[Finding]:
    """Every live grant has a paid payment by the same buyer, and every paid payment has exactly one live grant."""
    live = Q(grants__revoked_at=None, grants__isnull=False)
    missing = Payment.objects.filter(state__in=OWNED).annotate(held=Count("grants", filter=live)).exclude(held=1)
    yield from finding(
        "payment_without_grant", "A paid payment has no live grant or several.", missing.values_list("id", flat=True)
    )
    granted = Grant.objects.filter(revoked_at=None)
    paid = Payment.objects.filter(id=OuterRef("payment_id"), state__in=OWNED)
    free = granted.filter(~Exists(paid)).values_list("id", flat=True)
    yield from finding("grant_without_payment", "A grant has no paid payment.", free)
    other = granted.exclude(buyer=F("payment__buyer"), resource=F("payment__resource")).values_list("id", flat=True)
    yield from finding("grant_differs", "A grant names another buyer or resource than its payment.", other)


def _proofs_are_spent_once() -> Iterator[Finding]:
    """Every authorization is claimed once, and every payment of the exact rail has one."""
    keys = Authorization.objects.values("chain_id", "token", "payer", "nonce").annotate(n=Count("payment_id"))
    doubled = keys.filter(n__gt=1).values_list("nonce", flat=True)
    yield from finding("authorization_twice", "An authorization was claimed twice.", (n.hex() for n in doubled))
    bare = Payment.objects.filter(rail="exact", authorization=None).values_list("id", flat=True)
    yield from finding("payment_without_proof", "A payment has no authorization.", bare)


def _transfers_are_booked() -> Iterator[Finding]:
    """Every transfer is posted with its amount, and every paid payment of the exact rail has exactly one transfer."""
    seen = Transfer.objects.filter(orphaned_at=None)
    unbooked = seen.filter(received=None).exclude(value=0).values_list("id", flat=True)
    yield from finding("transfer_unbooked", "A transfer is in no transaction.", unbooked)
    booked = seen.exclude(received=None)
    totals = booked.annotate(posted=_digits(Coalesce(Sum("received__postings__amount_micros"), 0)))
    differing = totals.exclude(value=F("posted")).values_list("id", flat=True)
    yield from finding("transfer_differs", "A transfer's transaction has another amount.", differing)
    paid = Payment.objects.filter(state__in=OWNED, rail="exact")
    paired = paid.annotate(moved=Count("transfers", filter=Q(transfers__orphaned_at=None))).exclude(moved=1)
    yield from finding(
        "payment_without_transfer", "A paid payment has no transfer or several.", paired.values_list("id", flat=True)
    )
    proof = "payment__authorization__"
    same = {name: F(proof + name) for name in ("chain_id", "token", "nonce", "recipient")}
    mine = seen.exclude(payment=None)
    right = Q(sender=F(f"{proof}payer"), value=_digits(F("payment__amount_micros")), **same)
    # On arrival a transfer is posted as its payment's sale, or to suspense if it was still unclaimed.
    wrong = mine.exclude(right & (Q(received=F("payment__sale")) | Q(received__kind="unclaimed")))
    yield from finding(
        "transfer_of_another", "A transfer is not the one its payment authorized.", wrong.values_list("id", flat=True)
    )


def _digits(number: Any) -> Cast:
    """A number as decimal digits, the form in which transfers store theirs (a uint256 fits no integer column)."""
    return Cast(number, CharField(max_length=78))


def _floors_hold() -> Iterator[Finding]:
    """No account is on the wrong side of zero: money from outside has a source, and no inside account is overdrawn."""
    for (code, _), amount in ledger.balances(Q()).items():
        if code.startswith("buyer:") and code.endswith(":balance"):
            continue  # May be negative by a tab or a dispute; the audit of cards checks these.
        if code in ("world:stripe", "suspense:stripe"):
            continue  # Either sign: we may owe the processor after a dispute, and it also posts adjustments of its own.
        if amount > 0 if code.startswith(("world:", "expense:", "loss:")) else amount < 0:
            yield Finding("account_below_floor", f"The balance of {code} is {amount} micros.", (code,))


_CHECKS = (
    _entries_are_whole,
    _entries_have_reasons,
    _sales_match_payments,
    _grants_match_payments,
    _proofs_are_spent_once,
    _transfers_are_booked,
    _floors_hold,
    *cards.CHECKS,
)


# --- Against the chain ----------------------------------------------------------------------------------


@dataclass
class _Facts:
    """The database's view of the chain, as of the last scanned block."""

    known: Chain | None
    rows: list[tuple]
    arrived: int
    booked: int
    in_books: int
    undecided: list[tuple]

    @classmethod
    def read(cls) -> "_Facts":
        chain_id = settings.CHAIN_ID
        known = Chain.objects.filter(chain_id=chain_id).first()
        scanned = known.scanned_to if known else 0
        on_chain = Transfer.objects.filter(chain_id=chain_id, orphaned_at=None)
        values = on_chain.values_list("value", "block_number", "received_id")
        totals = [(value, number <= scanned, bool(received)) for value, number, received in values.iterator()]
        window = on_chain.filter(block_number__range=(scanned - _LOG_BLOCKS, scanned))
        open_ones = Authorization.objects.filter(chain_id=chain_id, payment__state__in=(*OPEN, PaymentState.RELEASED))
        return cls(
            known=known,
            rows=list(window.values_list("block_hash", "tx_hash", "log_index", "sender", "value", "nonce")),
            arrived=sum(value for value, below, _ in totals if below),
            booked=sum(value for value, _, received in totals if received),
            in_books=-ledger.balance(accounts.world(chain_id)),
            undecided=list(open_ones.values_list("payment_id", "valid_before")),
        )


def _against_chain(facts: _Facts) -> Iterator[Finding]:
    known = facts.known
    if known is None:
        if Account.objects.filter(code=accounts.world(settings.CHAIN_ID)).exists():
            yield Finding("chain_unknown", "The books have transactions of a chain that the database does not know.")
        return
    if rpc.genesis_hash() != known.genesis_hash:
        yield Finding("another_chain", "The node is on another chain than the books.")
        return
    head = rpc.block("latest")
    if rpc.block(min(known.scanned_to, head.number)).hash != known.scanned_hash:
        yield Finding(
            "reorganised", "The chain was reorganised since it was last read; run the watcher, then audit again."
        )
        return
    yield from _money_is_there(facts, known)
    yield from _logs_agree(facts, known)
    final = rpc.block(max(head.number - settings.CHAIN_FINALITY_DEPTH, 0)).time
    late = (pk for pk, valid_before in facts.undecided if valid_before + _SETTLING_SECONDS < final)
    yield from finding("undecided_too_long", "A payment that can no longer happen is still open.", late)


def _money_is_there(facts: _Facts, known: Chain) -> Iterator[Finding]:
    """Custody: the transfers seen add up to what our address has gained on the chain, as of the last scanned block."""
    holds = rpc.balance_of(rpc.pay_to(), hex(known.scanned_to)) - known.opening_balance
    if holds != facts.arrived:
        yield Finding(
            "custody_differs", f"Our address gained {holds} micros on the chain, {facts.arrived} by the transfers seen."
        )
    if facts.in_books != facts.booked:
        yield Finding(
            "books_differ", f"The books have {facts.in_books} micros from the chain, the transfers {facts.booked}."
        )


def _logs_agree(facts: _Facts, known: Chain) -> Iterator[Finding]:
    """The token's logs and our recorded transfers are the same set, in the last _LOG_BLOCKS scanned blocks."""
    first = max(known.scanned_to - _LOG_BLOCKS, known.started_at + 1)
    ours, theirs = set(facts.rows), set()
    while first <= known.scanned_to:
        last = min(first + settings.CHAIN_LOG_RANGE - 1, known.scanned_to)
        for s in rpc.transfers_between(first, last):
            theirs.add((s.block_hash, s.tx_hash, s.log_index, s.sender, s.value, s.nonce))
        first = last + 1
    yield from finding(
        "transfer_unseen", "The chain has transfers that we never recorded.", (t[1].hex() for t in theirs - ours)
    )
    yield from finding(
        "transfer_invented", "We recorded transfers that the chain does not have.", (t[1].hex() for t in ours - theirs)
    )
