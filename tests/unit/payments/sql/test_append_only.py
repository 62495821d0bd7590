"""What the databases themselves refuse, whoever asks: changed, emptied, empty, late, mixed and unbalanced entries."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction

from payments.ids import uuid7
from payments.models import Account
from tests import cast

pytestmark = pytest.mark.django_db(transaction=True)

BOOKS = ("payments_account", "payments_transaction", "payments_posting")
KEPT = ("payments_payment", "payments_authorization", "payments_grant", "payments_transfer")
EVERYWHERE, POSTGRESQL, SQLITE = ("postgresql", "sqlite"), ("postgresql",), ("sqlite",)


@dataclass(frozen=True)
class Attempt:
    """Statements that must be refused, with the refusal's words; by a trigger, or else by what SQL itself knows."""

    name: str
    says: str
    statements: tuple[str, ...]
    on: tuple[str, ...] = EVERYWHERE
    trigger: bool = True


def attempt(name: str, says: str, *statements: str, **more: Any) -> Attempt:
    return Attempt(name, says, statements, **more)


def opens(entry: str, closing: str, key: str = "new", reverses: str = "NULL", verb: str = "INSERT") -> str:
    """A statement that opens an entry and names its closing posting."""
    values = f"'{{{entry}}}', '{key}', 'test', 'digest', '{{{closing}}}', {reverses}"
    return f'{verb} INTO payments_transaction (id, "key", kind, digest, last_posting_id, reverses_id) VALUES ({values})'


def posts(
    posting: str, entry: str, amount: str = "5", source: str = "world", target: str = "fees", verb: str = "INSERT"
) -> str:  # noqa: E501
    """A statement that adds a posting to an entry."""
    values = f"'{{{posting}}}', '{{{entry}}}', {{{source}}}, {{{target}}}, {amount}"
    return f"{verb} INTO payments_posting (id, transaction_id, source_id, target_id, amount_micros) VALUES ({values})"


def account(number: str, code: str, asset: str = "USDC", verb: str = "INSERT") -> str:
    return f"{verb} INTO payments_account (id, code, asset) VALUES ({number}, '{code}', '{asset}')"


CHANGED = [
    attempt("another amount", "append-only", "UPDATE payments_posting SET amount_micros = amount_micros + 1"),
    attempt("another source", "append-only", "UPDATE payments_posting SET source_id = {unused}"),
    attempt("another entry", "append-only", "UPDATE payments_posting SET transaction_id = '{other}'"),
    attempt("nothing changed", "append-only", "UPDATE payments_posting SET amount_micros = amount_micros"),
    attempt("another digest", "append-only", "UPDATE payments_transaction SET digest = 'x' WHERE id = '{entry}'"),
    attempt("another key", "append-only", "UPDATE payments_transaction SET \"key\" = 'x' WHERE id = '{entry}'"),
    attempt("another time", "append-only", "UPDATE payments_transaction SET made_at = CURRENT_TIMESTAMP"),
    attempt(
        "another closing",
        "append-only",
        "UPDATE payments_transaction SET last_posting_id = '{posting}' WHERE id = '{entry}'",
    ),
    attempt("another name", "append-only", "UPDATE payments_account SET code = 'x' WHERE id = {fees}"),
    attempt("another asset", "append-only", "UPDATE payments_account SET asset = 'EURC' WHERE id = {fees}"),
    *(attempt(f"{table} deleted", "append-only", f"DELETE FROM {table}") for table in (*BOOKS, *KEPT)),
    attempt("one posting deleted", "append-only", "DELETE FROM payments_posting WHERE id = '{posting}'"),
    attempt("an unused account deleted", "append-only", "DELETE FROM payments_account WHERE id = {unused}"),
    *(
        attempt(f"{table} emptied", "append-only", f"TRUNCATE {table} CASCADE", on=POSTGRESQL)
        for table in (*BOOKS, *KEPT)
    ),
    attempt(
        "upsert of a posting",
        "append-only|late posting",
        posts("closing", "entry") + " ON CONFLICT (id) DO UPDATE SET amount_micros = 9",
    ),
    attempt(
        "upsert of an account",
        "append-only",
        account("{unused}", "x") + " ON CONFLICT (id) DO UPDATE SET code = 'stolen'",
    ),
    attempt("replacing update", "append-only", "UPDATE OR REPLACE payments_account SET id = {fees}", on=SQLITE),
]

# INSERT OR REPLACE deletes the row in the way without firing a trigger on DELETE.
REPLACED = [
    attempt("account, by id", "already", account("{unused}", "x", verb="REPLACE"), on=SQLITE),
    attempt("account, by name", "already", account("99999", "unused:test", verb="REPLACE"), on=SQLITE),
    attempt("posting, by id", "already|late", posts("posting", "entry", verb="INSERT OR REPLACE"), on=SQLITE),
    attempt("entry, by id", "already", opens("entry", "new", verb="INSERT OR REPLACE"), on=SQLITE),
    attempt("entry, by key", "already", opens("fresh", "new", key="{key}", verb="INSERT OR REPLACE"), on=SQLITE),
    attempt("entry, by closing", "already", opens("fresh", "closing", verb="INSERT OR REPLACE"), on=SQLITE),
    *(
        attempt(f"{table}, by itself", "already|late", f"REPLACE INTO {table} SELECT * FROM {table}", on=SQLITE)
        for table in (*BOOKS, *KEPT)
    ),
]

UNBALANCED = [
    attempt("empty", "(?i)foreign key|never closed", opens("fresh", "new"), trigger=False),
    attempt(
        "one leg",
        "(?i)null|not there",
        opens("fresh", "new"),
        posts("new", "fresh", target="nobody"),
        trigger=False,
    ),
    attempt(
        "never closed",
        "(?i)foreign key|never closed",
        opens("fresh", "new"),
        posts("newer", "fresh"),
        trigger=False,
    ),
    attempt("of nothing", "posting_positive", opens("fresh", "new"), posts("new", "fresh", "0"), trigger=False),
    attempt("negative", "posting_positive", opens("fresh", "new"), posts("new", "fresh", "-5"), trigger=False),
    attempt(
        "to itself", "posting_between_two", opens("fresh", "new"), posts("new", "fresh", target="world"), trigger=False
    ),
    attempt(
        "too much",
        "(?i)range|integer|too big|datatype",
        opens("fresh", "new"),
        posts("new", "fresh", "1e40"),
        on=POSTGRESQL,
        trigger=False,
    ),
    attempt("half a micro", "(?i)whole number", opens("fresh", "new"), posts("new", "fresh", "5.5"), on=SQLITE),
    attempt("in words", "(?i)whole number", opens("fresh", "new"), posts("new", "fresh", "'lots'"), on=SQLITE),
    attempt("of an entry that is not there", "without its", posts("new", "fresh")),
    attempt("mixed assets", "mixes assets", opens("fresh", "new"), posts("new", "fresh", target="euro")),
    attempt(
        "mixed assets, the account made afterwards",
        "mixes assets",
        opens("fresh", "new"),
        posts("new", "fresh", target="absent"),
        account("{absent}", "afterwards", "EURC"),
    ),
]

LATE = [
    attempt("in a later commit", "late posting", posts("new", "entry")),
    attempt("in a later commit, ignoring conflicts", "late posting", posts("new", "entry") + " ON CONFLICT DO NOTHING"),
    attempt(
        "in the same commit",
        "late posting",
        opens("fresh", "new"),
        posts("new", "fresh"),
        posts("newer", "fresh"),
    ),
    attempt(
        "a balanced pair",
        "late posting",
        posts("new", "entry"),
        posts("newer", "entry", source="fees", target="world"),
    ),
    attempt(
        "closing another's entry",
        "closes another",
        opens("fresh", "new"),
        opens("fresher", "newer", key="newer"),
        posts("new", "fresher"),
        posts("newer", "fresher"),
    ),
    attempt("closed by a posting of another", "already there", opens("fresh", "posting")),
    attempt(
        "the same key twice",
        "(?i)unique|already",
        opens("fresh", "new", key="{key}"),
        posts("new", "fresh"),
        trigger=False,
    ),
    attempt(
        "reversed twice",
        "(?i)unique|already",
        opens("fresh", "new", reverses="'{entry}'"),
        posts("new", "fresh"),
        opens("fresher", "newer", key="newer", reverses="'{entry}'"),
        posts("newer", "fresher"),
        trigger=False,
    ),
]

ATTEMPTS = [*CHANGED, *REPLACED, *UNBALANCED, *LATE]


def here(attempts: list[Attempt]) -> list[Any]:
    """The attempts that this database has words for."""
    return [pytest.param(one, id=one.name) for one in attempts if connection.vendor in one.on]


@pytest.fixture
def names() -> dict[str, str]:
    """Two sales in the books, and what the statements above call them."""
    article = cast.article(cast.publication(cast.person("alice")))
    first, second = cast.sale(article), cast.sale(article)
    unused = Account.objects.create(code="unused:test", asset="USDC")
    euro = Account.objects.create(code="world:test", asset="EURC")
    lines = list(first.sale.postings.order_by("id"))
    fresh = {name: uuid7().hex for name in ("new", "newer", "fresh", "fresher")}
    return fresh | {
        "entry": first.sale_id.hex,
        "other": second.sale_id.hex,
        "key": first.sale.key,
        "closing": first.sale.last_posting_id.hex,
        "posting": next(line.id.hex for line in lines if line.id != first.sale.last_posting_id),
        "world": str(lines[0].source_id),
        "fees": str(Account.objects.get(code="platform:fees").id),
        "unused": str(unused.id),
        "euro": str(euro.id),
        "absent": str(euro.id + 1000),
        "nobody": "NULL",
    }


def everything() -> list[list[tuple]]:
    """Every row of the books and of what is kept."""
    with connection.cursor() as cursor:
        tables = []
        for table in (*BOOKS, *KEPT):
            cursor.execute(f"SELECT * FROM {table}")
            tables.append(sorted(cursor.fetchall(), key=repr))
        return tables


@contextmanager
def another_program() -> Iterator[Any]:
    """A connection that owes nothing to the product: SQLite's does not even check foreign keys."""
    known = connection.get_connection_params()
    if connection.vendor == "sqlite":
        other = sqlite3.connect(known["database"], isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
    else:
        wanted = {name: known[name] for name in ("dbname", "user", "password", "host", "port") if name in known}
        other = psycopg.connect(**wanted)
    try:
        yield other
        other.commit()
    finally:
        other.close()


@pytest.mark.parametrize("attempt", here(ATTEMPTS))
def test_it_is_refused_to_everybody_and_nothing_changes(attempt: Attempt, names: dict[str, str]):
    before = everything()
    statements = [statement.format_map(names) for statement in attempt.statements]
    with pytest.raises(DatabaseError, match=attempt.says):
        commit(statements)
    assert everything() == before
    if attempt.trigger or connection.vendor == "postgresql":
        with pytest.raises((psycopg.Error, sqlite3.Error), match=attempt.says):
            commit_as_another_program(statements)
        assert everything() == before
    if attempt.trigger:
        # Without our triggers they go through: so it is those that refuse, and not a mistake in a statement.
        changed = re.search("nothing changed|by itself", attempt.name) is None
        assert (rehearsed([*dropped_triggers(), *statements]) != before) is changed
        assert everything() == before


def commit(statements: list[str]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def commit_as_another_program(statements: list[str]) -> None:
    with another_program() as other:
        for statement in statements:
            other.execute(statement)


def rehearsed(statements: list[str]) -> list:
    """What the tables would be after these statements; nothing of it stays."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        would_be = everything()
        transaction.set_rollback(True)
    return would_be


def dropped_triggers() -> list[str]:
    """Statements that take every trigger of ours away."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            return [f"DROP TRIGGER {name}" for (name,) in cursor.fetchall()]
        cursor.execute(
            "SELECT tgname, tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal AND tgrelid::regclass::text"
            " LIKE 'payments_%'"
        )
        return [f"DROP TRIGGER {name} ON {table}" for name, table in cursor.fetchall()]


@pytest.mark.planted  # What the second session writes is whole, and belongs to no payment.
@pytest.mark.postgresql
def test_two_sessions_cannot_make_an_empty_entry_between_them(names: dict[str, str]):
    """Each looks right to itself: one opens an entry, the other gives its closing posting to an entry of its own."""
    before = everything()
    with another_program() as first, another_program() as second:
        first.execute(opens("fresh", "new").format_map(names))
        for statement in (opens("fresher", "newer", key="newer"), posts("new", "fresher"), posts("newer", "fresher")):
            second.execute(statement.format_map(names))
        second.commit()
        with pytest.raises(psycopg.Error, match="never closed"):
            first.commit()
        first.rollback()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id FROM payments_transaction WHERE id = '{names['fresh']}'")
        assert cursor.fetchall() == []
    assert len(everything()[1]) == len(before[1]) + 1
