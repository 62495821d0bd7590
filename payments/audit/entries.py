"""The audit of the books themselves: every transaction is whole, has a reason, and moves money as its kind may."""

import itertools
import operator
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet

from payments.books import ledger
from payments.models import Account, Posting, Transaction

from .findings import SHOWN, Finding, finding, rule

# Between which accounts each kind of transaction moves money. `*` stands for any text without a colon.
MOVES = {
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
    "refund_fee": [("buyer:*:balance", "expense:processor"), ("expense:processor", "buyer:*:balance")],
    "forgiven": [("loss:forgiven", "buyer:*:balance")],
    "dispute": [("buyer:*:balance", "world:stripe"), ("world:stripe", "buyer:*:balance")],
    "dispute_fee": [("loss:dispute_fee", "world:stripe"), ("world:stripe", "loss:dispute_fee")],
    "dispute_lost": [("loss:chargeback", "buyer:*:balance")],
    "dispute_recovered": [("buyer:*:balance", "loss:chargeback")],
    "processor_other": [("world:stripe", "suspense:stripe"), ("suspense:stripe", "world:stripe")],
}
# The kinds that each reversing kind may reverse.
REVERSALS = {"reorganisation": ("sale", "unclaimed"), "refund": ("sale",), "charged_back": ("sale",)}

_USUAL = {(kind, *sides) for kind, moves in MOVES.items() for sides in moves} | {
    (kind, target, source) for kind, undone in REVERSALS.items() for one in undone for source, target in MOVES[one]
}
_SHAPES = [shape.split(":") for shape in sorted({shape for _, *sides in _USUAL for shape in sides})]

_LINES = """
SELECT t.id, t.kind, t.digest, c.transaction_id, p.source_id, p.target_id, p.amount_micros
FROM payments_transaction t
LEFT JOIN payments_posting p ON p.transaction_id = t.id
LEFT JOIN payments_posting c ON c.id = t.last_posting_id
ORDER BY t.id
"""


@dataclass(frozen=True, slots=True)
class _Pot:
    code: str
    asset: str
    shape: str


_UNKNOWN = _Pot("", "", "")


@dataclass
class Books:
    """What one pass over all postings shows: every account's balance, and the transactions that are not right."""

    # In micros, by the account's code and asset.
    balances: dict[tuple[str, str], int] = field(default_factory=dict)
    broken: list[uuid.UUID] = field(default_factory=list)
    # By kind.
    unexpected: dict[str, list[uuid.UUID]] = field(default_factory=dict)

    @classmethod
    def read(cls) -> "Books":
        """Two statements, of which the second is streamed, because there may be millions of postings."""
        rows = Account.objects.values_list("id", "code", "asset")
        pots = {pk: _Pot(code, asset, _shape(code)) for pk, code, asset in rows}
        books = cls({(pot.code, pot.asset): 0 for pot in pots.values()})
        with connection.chunked_cursor() as cursor:
            cursor.execute(_LINES)
            for (pk, kind, digest, closed_by), lines in itertools.groupby(cursor, key=operator.itemgetter(0, 1, 2, 3)):
                known = pk if isinstance(pk, uuid.UUID) else uuid.UUID(pk)
                moves = [
                    (pots.get(source, _UNKNOWN), pots.get(target, _UNKNOWN), amount)
                    for *_, source, target, amount in lines
                    if amount is not None  # A transaction without postings has one empty line.
                ]
                if closed_by != pk or _digest(kind, moves) != digest:
                    _note(books.broken, known)
                books._add(known, kind, moves)
        return books

    def _add(self, pk: uuid.UUID, kind: str, moves: Iterable[tuple[_Pot, _Pot, int]]) -> None:
        for source, target, amount in moves:
            for pot, change in ((source, -amount), (target, amount)):
                name = (pot.code, pot.asset)
                self.balances[name] = self.balances.get(name, 0) + change
            if (kind, source.shape, target.shape) not in _USUAL:
                _note(self.unexpected.setdefault(kind, []), pk)

    def findings(self) -> Iterator[Finding]:
        """What is wrong in the postings themselves."""
        yield from finding(
            "entry_broken", "A transaction's postings differ from those it was created with.", self.broken
        )
        for kind, ids in self.unexpected.items():
            yield from finding("entry_unexpected", f"A {kind} never moves money between these accounts.", ids)
        yield from finding("reversal_differs", "A reversal does not exactly undo its transaction.", _wrong_reversals())
        yield from self._floors()

    def _floors(self) -> Iterator[Finding]:
        """No account on the wrong side of zero: money from outside has a source, and no inside account is overdrawn."""
        for (code, _), amount in self.balances.items():
            if code.startswith("buyer:") and code.endswith(":balance"):
                continue  # May be negative by a tab or a dispute; the audit of cards checks these.
            if code in ("world:stripe", "suspense:stripe"):
                continue  # Either sign: we may owe the processor after a dispute, and it also posts adjustments.
            if amount > 0 if code.startswith(("world:", "expense:", "loss:")) else amount < 0:
                yield Finding("account_below_floor", f"The balance of {code} is {amount} micros.", (code,))


def _note(ids: list[uuid.UUID], pk: uuid.UUID) -> None:
    """Keep an id once, and no more than are shown: there may be as many as there are transactions."""
    if len(ids) < SHOWN and pk not in ids:
        ids.append(pk)


def _shape(code: str) -> str:
    """The pattern of MOVES that an account's code has, or "" if it has none."""
    given = code.split(":")
    for shape in _SHAPES:
        if len(shape) == len(given) and all(w in ("*", g) for g, w in zip(given, shape, strict=True)):
            return ":".join(shape)
    return ""


def _digest(kind: str, moves: list[tuple[_Pot, _Pot, int]]) -> str | None:
    """The digest of a transaction's postings; None when they are not all of one asset."""
    assets = {pot.asset for source, target, _ in moves for pot in (source, target)}
    plain = ((source.code, target.code, amount) for source, target, amount in moves)
    return ledger.digest(kind, assets.pop(), plain) if len(assets) == 1 else None


def _wrong_reversals() -> Iterator[uuid.UUID]:
    """The reversals that do not undo exactly their original. Reversals are rare, so they are read one by one."""
    for row in Transaction.objects.filter(Q(kind__in=REVERSALS) | Q(reverses__isnull=False)).iterator():
        undone = row.reverses
        lines = undone.postings.exists() if undone else False
        if not undone or not lines or ledger.reversal(row.kind, undone).digest != row.digest:
            yield row.id


@rule("posting_without_entry", "A posting belongs to no transaction.")
def _homeless() -> QuerySet:
    return Posting.objects.filter(~Exists(Transaction.objects.filter(id=OuterRef("transaction_id"))))


@rule("sale_without_payment", "A sale belongs to no payment.")
def _orphans() -> QuerySet:
    return Transaction.objects.filter(kind="sale", payment=None, reversed_by=None)


@rule("entry_without_transfer", "The books record money that never arrived.")
def _never_arrived() -> QuerySet:
    return Transaction.objects.filter(kind="unclaimed", transfer=None, reversed_by=None)


@rule("reversed_in_use", "A transaction was reversed but is still in use.")
def _undone_and_used() -> QuerySet:
    used = Q(kind="sale", payment__isnull=False) | Q(transfer__isnull=False)
    return Transaction.objects.filter(used, reversed_by__isnull=False)


RULES = (_homeless, _orphans, _never_arrived, _undone_and_used)
