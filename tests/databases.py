"""On which database a test runs, and how the tables are emptied after one that commits.

Most tests are about one thing that no database changes, and run once. Money, races, faults, prices and roles are what
a database can get wrong: those run on SQLite and on PostgreSQL, except unit tests that commit nothing. `dev.py test`
starts all runs side by side.
"""

import functools
import re
from collections.abc import Sequence

import pytest
from django.db import connection, transaction

from dev.suite import BOTH, ON_SQLITE

# Folders whose tests start programs, and fixtures that do. The stand-in for Stripe is a thread, and not among them.
PROGRAMS = (
    *("browser/", "interop/", "contracts/", "project/", "faults/", "races/", "http/test_clocks.py"),
    *("standin/test_script.py", "standin/test_second_witness.py"),
)
STARTS_A_PROGRAM = {"chain", "_quiet_chain", "shop", "stage", "timed_stage"}
# Unit tests of queries that each database could answer in its own way. Of the others those that commit run on both.
_QUERIES = ("unit/payments/audit/", "unit/publishers/test_pricing.py")
# What `migrate` puts there, and no test changes.
_KEPT = {"django_migrations", "django_content_type", "django_site", "auth_permission"}
# Where the watcher, the settler and the jobs are: of no worth while nothing was claimed, booked or seen.
_NO_MONEY = {"payments_chain", "payments_job", "payments_lease", "payments_salescount"}


def mark(item: pytest.Item) -> None:
    """Say by markers which of the runs a test belongs to; `dev/suite.py` chooses by them."""
    path = item.path.relative_to(item.config.rootpath / "tests").as_posix()
    fixtures = set(getattr(item, "fixturenames", ()))
    once = path.startswith("unit/") and not path.startswith(_QUERIES) and not _commits(item, fixtures)
    if once or not path.startswith(BOTH):
        item.add_marker("on_sqlite" if path.startswith(ON_SQLITE) else "on_postgresql")
    if path.startswith(PROGRAMS) or fixtures & STARTS_A_PROGRAM:
        item.add_marker("programs")


def _commits(item: pytest.Item, fixtures: set[str]) -> bool:
    marked = item.get_closest_marker("django_db")
    return bool(fixtures & {"transactional_db", "live_server"} or marked and marked.kwargs.get("transaction"))


def has_money() -> bool:
    """Whether anything is there that the audit could say something about."""
    rows = [name for name in _tables() if name.startswith("payments_") and name not in _NO_MONEY]
    return bool(_filled(rows))


def empty() -> None:
    """Delete every row that a test has committed; tables without any cost nothing, and triggers are passed by.

    Django's own flush empties every table, and then makes anew what `migrate` had put there: twenty times as dear.
    """
    if filled := _filled([name for name in _tables() if name not in _KEPT]):
        past_the_triggers([f"DELETE FROM {name}" for name in filled])


def _filled(tables: list[str]) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {name})" for name in tables))
        return [name for (name,) in cursor.fetchall()]


@functools.cache
def _tables() -> tuple[str, ...]:
    return tuple(connection.introspection.django_table_names(only_existing=True, include_views=False))


def past_the_triggers(statements: Sequence[str]) -> None:
    """Run statements of which no trigger and no foreign key hears, in one transaction or in the one that is open."""
    if connection.vendor == "postgresql":
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("; ".join(["SET session_replication_role = replica", *statements]))
            cursor.execute("SET session_replication_role = origin")
        return
    with connection.cursor() as cursor:
        # Without effect in a transaction that is open: that one is rolled back before it asks for foreign keys.
        cursor.execute("PRAGMA foreign_keys = OFF")
        with transaction.atomic():
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            hit = [(name, sql) for name, sql in cursor.fetchall() if any(_table_of(sql) in each for each in statements)]
            for statement in [*(f"DROP TRIGGER {name}" for name, _ in hit), *statements, *(sql for _, sql in hit)]:
                cursor.execute(statement)
        cursor.execute("PRAGMA foreign_keys = ON")


def _table_of(trigger: str) -> str:
    found = re.search(r"\bON\s+(\w+)", trigger)
    assert found, trigger
    return found[1]
