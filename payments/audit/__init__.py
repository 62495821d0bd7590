"""The audit: checks every invariant of docs/audit.md against the database and against the chain. Writes nothing.

The audit reads the database first, in one snapshot, and then the chain, as of the last scanned block.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

from payments import onchain

from . import cards, chain, entries, sales
from .findings import Finding

_RULES = (*entries.RULES, *sales.RULES, *cards.RULES)


def findings() -> Iterator[Finding]:
    """Every violated invariant; nothing when the books are right. An unreachable chain is a finding too."""
    with _snapshot():
        inside = list(_inside())
        facts = chain.Facts.read() if onchain.enabled() else None
    yield from inside
    if facts:
        yield from chain.findings(facts)


def _inside() -> Iterator[Finding]:
    """What the database alone shows: each transaction is read once, and each rule is one query."""
    books = entries.Books.read()
    yield from books.findings()
    for rule in _RULES:
        yield from rule.check()
    yield from cards.findings(books.balances)


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
