"""The ledger. Nothing else writes an Account, a Transaction or a Posting. The ledger knows no rail."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import Q, Sum

from payments.ids import uuid7
from payments.models import Account, Posting, Transaction


class KeyReused(Exception):
    """A bug: the key was posted before with other moves. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Move:
    """An amount in micros from one account to another."""

    source: str
    target: str
    amount_micros: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A transaction to post: its kind, its idempotency key and its moves."""

    kind: str
    key: str
    moves: tuple[Move, ...]
    asset: str = "USDC"
    reverses: Transaction | None = None

    def __post_init__(self) -> None:
        if not self.moves:
            raise ValueError(f"The entry {self.key} has no moves.")

    @property
    def digest(self) -> str:
        """SHA-256 over the kind, the asset and the moves. `post` compares it and the audit recomputes it."""
        return digest(self.kind, self.asset, [(m.source, m.target, m.amount_micros) for m in self.moves])


def digest(kind: str, asset: str, moves: Iterable[tuple[str, str, int]]) -> str:
    """The digest of a transaction from its plain parts. The order of the moves does not matter."""
    text = json.dumps([kind, asset, sorted(list(move) for move in moves)], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def post(kind: str, key: str, moves: Sequence[Move], asset: str = "USDC") -> Transaction:
    """Post one transaction. Idempotent: the same key and moves again return the transaction that is already posted.

    Raises KeyReused when the key is already posted with other moves.
    """
    return post_all([Entry(kind, key, tuple(moves), asset)])[0]


def post_all(entries: Sequence[Entry]) -> list[Transaction]:
    """Post many transactions at once, in the caller's database transaction and with a constant number of statements.

    Idempotent like `post`. The order of writing is: accounts sorted by code, then transactions sorted by key (no
    deadlock between two writers), then postings with the closing one of each transaction last (the database refuses a
    posting after it).
    """
    try:
        return _post_all(entries)
    except IntegrityError:
        # A concurrent writer posted one of these between our read and our write, so read again.
        return _post_all(entries)


def _post_all(entries: Sequence[Entry]) -> list[Transaction]:
    by_key: dict[str, Entry] = {}
    for entry in entries:
        if by_key.setdefault(entry.key, entry).digest != entry.digest:
            raise KeyReused(entry.key)
    with transaction.atomic():
        known = {t.key: t for t in Transaction.objects.filter(key__in=list(by_key))}
        for key, row in known.items():
            if row.digest != by_key[key].digest:
                raise KeyReused(key)
        fresh = [by_key[key] for key in sorted(by_key.keys() - known.keys())]
        accounts = _accounts(fresh)
        transactions, postings = [], []
        for entry in fresh:
            row = Transaction(key=entry.key, kind=entry.kind, digest=entry.digest, reverses=entry.reverses)
            lines = _lines(row, entry, accounts)
            row.last_posting_id = lines[-1].id
            transactions.append(row)
            postings += lines
            known[entry.key] = row
        Transaction.objects.bulk_create(transactions)
        Posting.objects.bulk_create(postings)
    return [known[entry.key] for entry in entries]


def _lines(row: Transaction, entry: Entry, accounts: dict[tuple[str, str], int]) -> list[Posting]:
    return [
        Posting(
            id=uuid7(),
            transaction=row,
            source_id=accounts[move.source, entry.asset],
            target_id=accounts[move.target, entry.asset],
            amount_micros=move.amount_micros,
        )
        for move in entry.moves
    ]


def posted(key: str) -> bool:
    """Whether a transaction is posted under this key."""
    return Transaction.objects.filter(key=key).exists()


def target_of(key: str) -> str:
    """The account that received the money of a transaction with a single posting."""
    return Posting.objects.select_related("target").get(transaction__key=key).target.code


def reversal(kind: str, original: Transaction) -> Entry:
    """The transaction that reverses another, at most once: the same amounts, with source and target exchanged."""
    lines = original.postings.select_related("source", "target")
    moves = tuple(Move(p.target.code, p.source.code, p.amount_micros) for p in lines)
    return Entry(kind, f"reversed:{original.key}", moves, asset=lines[0].source.asset, reverses=original)


def balance(code: str, asset: str = "USDC") -> int:
    """An account's balance now, in micros: the postings to it less the postings from it."""
    return balances(Q(code=code, asset=asset)).get((code, asset), 0)


def balances(which: Q) -> dict[tuple[str, str], int]:
    """The balances in micros of every account that `which` selects, by (code, asset), in two statements."""
    accounts = {a.id: (a.code, a.asset) for a in Account.objects.filter(which)}
    totals = dict.fromkeys(accounts.values(), 0)
    sides: list[tuple[str, int]] = [("target_id", 1), ("source_id", -1)]
    for side, sign in sides:
        rows = (
            Posting.objects.filter(**{f"{side}__in": list(accounts)}).values_list(side).annotate(Sum("amount_micros"))
        )
        for account_id, amount in rows:
            totals[accounts[account_id]] += sign * amount
    return totals


def _accounts(entries: Iterable[Entry]) -> dict[tuple[str, str], int]:
    """The ids of all accounts that the entries name. Missing accounts are created in sorted order (lock order)."""
    names = sorted({(code, e.asset) for e in entries for m in e.moves for code in (m.source, m.target)})
    if not names:
        return {}
    found = _find(names)
    missing = [Account(code=code, asset=asset) for code, asset in names if (code, asset) not in found]
    if missing:
        Account.objects.bulk_create(missing, ignore_conflicts=True)
        found = _find(names)
    return found


def _find(names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    rows = Account.objects.filter(code__in={code for code, _ in names}).values_list("code", "asset", "id")
    return {(code, asset): pk for code, asset, pk in rows}
