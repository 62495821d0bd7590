"""What the databases themselves refuse about purses, agents and cards: nothing is deleted, emptied or replaced."""

import sqlite3

import psycopg
import pytest
from django.apps import apps
from django.db import DatabaseError, connection

from payments import gate
from payments.management.commands.migrate import _KEPT
from payments.models import Charge, ProcessorEvent
from tests import buyers
from tests.unit.payments.card_books import Books, sell
from tests.unit.payments.sql.test_append_only import commit, commit_as_another_program, dropped_triggers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]
TABLES = ("purse", "charge", "cardrefund", "dispute", "apikey", "approval", "debit", "processorevent")
VERBS = {"sqlite": ("DELETE", "REPLACE"), "postgresql": ("DELETE", "TRUNCATE")}[connection.vendor]
STATEMENTS = {
    "DELETE": "DELETE FROM payments_{0}",
    "TRUNCATE": "TRUNCATE payments_{0} CASCADE",
    "REPLACE": "REPLACE INTO payments_{0} SELECT * FROM payments_{0}",
}


@pytest.fixture
def rows(transactional_db: None) -> Books:
    """One row in each of the tables at least."""
    books = sell()
    with pytest.raises(gate.PaymentRequired):
        buyers.present(buyers.key(books.purse, approve_above_micros=0), buyers.offer(9))
    ProcessorEvent.objects.create(id="evt_test", type="charge.updated", about="ch_test", body="{}")
    return books


def everything() -> list[list[tuple]]:
    with connection.cursor() as cursor:
        found = []
        for table in TABLES:
            cursor.execute(f"SELECT * FROM payments_{table}")  # noqa: S608
            found.append(sorted(cursor.fetchall(), key=repr))
            assert found[-1], table
        return found


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("verb", VERBS)
def test_it_is_refused_to_everybody_and_nothing_changes(rows, verb, table):
    statement, before = STATEMENTS[verb].format(table), everything()
    if (verb, table) == ("REPLACE", "processorevent"):
        commit([statement])  # A webhook that comes again is no error, and changes nothing.
        assert everything() == before
        return
    with pytest.raises(DatabaseError, match="append-only"):
        commit([statement])
    with pytest.raises((psycopg.Error, sqlite3.Error), match="append-only"):
        commit_as_another_program([statement])
    assert everything() == before
    # It is the triggers that refuse, and not a mistake in the statement.
    with pytest.raises(DatabaseError, match="(?i)undone|foreign key") as past:
        commit([*dropped_triggers(), statement, "SELECT undone"])
    assert "append-only" not in str(past.value)
    assert everything() == before


REPLACED = {
    "purse, by owner": ("purse", "id = '{new}'"),
    "charge, by what paid it": ("charge", "id = '{new}'"),
    "charge, by its page": ("charge", "id = '{new}', stripe_charge_id = '', intent = ''"),
    "charge, by its intent": ("charge", "id = '{new}', stripe_charge_id = '', session = ''"),
    "refund, by its name there": ("cardrefund", "id = '{new}'"),
    "key, by its public half": ("apikey", "id = '{new}'"),
    "approval, by what it asks": ("approval", "id = '{new}'"),
    "a live tab, by its purse": ("charge", "id = '{new}', stripe_charge_id = '', intent = '', session = ''"),
}


def a_row_is_not_replaced_by_its_natural_key(rows, name):
    table, changes = REPLACED[name]
    Charge.objects.filter(id=rows.charge.id).update(session="cs_test", intent="pi_test")
    if "tab" in name:
        Charge.objects.create(purse=rows.purse, purpose="tab", amount_micros=500_000)
    before, new = everything(), "f" * 32
    copy = [
        f"CREATE TEMPORARY TABLE copied AS SELECT * FROM payments_{table}",  # noqa: S608
        *(["DELETE FROM copied WHERE purpose <> 'tab'"] if "tab" in name else []),
        *([f"DELETE FROM copied WHERE purpose = 'tab' OR stripe_charge_id <> '{rows.charge.stripe_charge_id}'"]  # noqa: S608
          if table == "charge" and "tab" not in name else []),
        "DELETE FROM copied WHERE rowid > 1 AND rowid > (SELECT min(rowid) FROM copied)",
        f"UPDATE copied SET {changes.format(new=new)}",
        f"REPLACE INTO payments_{table} SELECT * FROM copied",
    ]  # fmt: skip
    with pytest.raises(DatabaseError, match="already has this row"):
        commit(copy)
    assert everything() == before
    with pytest.raises(DatabaseError, match="(?i)undone|foreign key"):
        commit([*dropped_triggers(), *copy, "SELECT undone"])


if connection.vendor == "sqlite":  # No other database replaces rows so.
    test_a_row_is_not_replaced_by_its_natural_key = pytest.mark.parametrize("name", REPLACED)(
        a_row_is_not_replaced_by_its_natural_key
    )


def test_every_column_may_change_or_is_kept_for_ever():
    """So that whoever adds one decides: without the right, PostgreSQL's application could not write it."""
    for_ever = {
        "purse": "id owner made_at",
        "debit": "payment_id key_id title address user_agent",
        "apikey": "id purse_id public digest made_at",
        "approval": "id key_id resource payee title url",
        "charge": "id purpose amount_micros wants keep_card address made_at",
        "cardrefund": "id charge_id amount_micros fee_micros ours made_at",
        "dispute": "id charge_id reason amount_micros made_at",
        "processorevent": "id type about body received_at",
    }
    for table in TABLES:
        changing = {column.strip() for column in _KEPT[f"payments_{table}"].split(",")}
        columns = {field.column for field in apps.get_model("payments", table)._meta.concrete_fields}
        assert changing | set(for_ever[table].split()) == columns, table
        assert not changing & set(for_ever[table].split())
