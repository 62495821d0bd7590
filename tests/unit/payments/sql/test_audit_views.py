"""The audit contract: the views of docs/audit.md, with exactly these columns, saying what the product knows."""

import re
import sqlite3
from typing import Any

import psycopg
import pytest
from django.conf import settings as configured
from django.db import connection, transaction

from payments.models import Payment, Transfer
from tests.unit.payments.planting import Books

pytestmark = pytest.mark.django_db(transaction=True)

VIEWS = {
    "audit_journal": "id kind idem_key at",
    "audit_entry": "id journal_id account kind asset amount",
    "audit_payment": "id method chain token payer nonce amount resource state tx journal_id",
    "audit_grant": "id payment_id credit_id buyer resource at revoked_at",
    "audit_payout": "id publisher asset amount state tx journal_id",
    "audit_voucher": "channel charged highest_seen claimed",
    "audit_chain_seen": "chain block tx log from to token value",
}


def rows(query: str) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return [dict(zip([column[0] for column in cursor.description], row, strict=True)) for row in cursor.fetchall()]


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_has_exactly_the_columns_of_the_contract(view: str):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {view}")
        assert [column[0] for column in cursor.description] == VIEWS[view].split()


def test_the_page_documents_exactly_these_columns():
    page = (configured.BASE_DIR / "docs" / "audit.md").read_text()
    for view, columns in VIEWS.items():
        part = page.split(f"### {view}\n")[1].split("\n#")[0]
        listed = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", part, re.MULTILINE) or re.findall(r"Columns (.*)\.", part)
        assert [name for cell in listed for name in re.findall(r"`(\w+)`", cell)] == columns.split(), view


def test_nobody_writes_a_view(committed_books: Books):
    for view, columns in VIEWS.items():
        first = columns.split()[0]
        if connection.vendor == "sqlite" or view not in ("audit_journal", "audit_grant", "audit_chain_seen"):
            with pytest.raises(Exception, match="cannot|view"), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f'UPDATE {view} SET "{first}" = "{first}"')


def test_the_views_say_what_was_sold(committed_books: Books):
    (payment,) = rows(f"SELECT * FROM audit_payment WHERE id = '{committed_books.sold.id.hex}'")
    known = committed_books.sold.authorization
    assert payment == {
        "id": committed_books.sold.id.hex,
        "method": "exact",
        "chain": "eip155:84532",
        "token": configured.CHAIN_ASSET.lower(),
        "payer": f"0x{known.payer.hex()}",
        "nonce": f"0x{known.nonce.hex()}",
        "amount": 50_000,
        "resource": "article:1",
        "state": Payment.objects.get(id=committed_books.sold.id).state,
        "tx": f"0x{committed_books.sold.transfers.get().tx_hash.hex()}",
        "journal_id": committed_books.sold.sale_id.hex,
    }
    (journal,) = rows(f"SELECT * FROM audit_journal WHERE id = '{committed_books.sold.sale_id.hex}'")
    assert (journal["kind"], journal["idem_key"]) == ("sale", f"sale:{committed_books.sold.id}")
    entries = rows(f"SELECT * FROM audit_entry WHERE journal_id = '{journal['id']}'")
    assert sorted((entry["account"], entry["kind"], entry["asset"], entry["amount"]) for entry in entries) == [
        ("platform:fees", "platform", "USDC", 2_500),
        ("publisher:7:earned", "publisher", "USDC", 47_500),
        ("world:eip155:84532", "world", "USDC", -47_500),
        ("world:eip155:84532", "world", "USDC", -2_500),
    ]
    (grant,) = rows(f"SELECT * FROM audit_grant WHERE payment_id = '{payment['id']}'")
    assert (grant["buyer"], grant["resource"], grant["credit_id"], grant["revoked_at"]) == (
        f"eip155:84532:0x{known.payer.hex()}",
        "article:1",
        None,
        None,
    )
    (released,) = rows(f"SELECT * FROM audit_payment WHERE id = '{committed_books.released.id.hex}'")
    assert (released["state"], released["tx"], released["journal_id"]) == ("released", None, None)


def test_an_auditor_of_its_own_comes_to_the_same_result(committed_books: Books):
    """Balanced entries, booked transfers and custody, by SQL alone and the chain's own answer."""
    assert rows("SELECT journal_id FROM audit_entry GROUP BY journal_id, asset HAVING sum(amount) <> 0") == []
    assert (
        rows("SELECT j.id FROM audit_journal j LEFT JOIN audit_entry e ON e.journal_id = j.id WHERE e.id IS NULL") == []
    )
    (custody,) = rows("SELECT -sum(amount) AS micros FROM audit_entry WHERE account = 'world:eip155:84532'")
    (seen,) = rows("SELECT sum(value) AS micros FROM audit_chain_seen")
    assert (
        int(custody["micros"])
        == int(seen["micros"])
        == committed_books.counter.chain.balance(configured.PAY_TO)
        == 1_334_567
    )


@pytest.mark.planted
@pytest.mark.parametrize("value", [10**18 - 1, 10**18, 2**63, 2**256 - 1])
def test_a_transfer_of_any_size_is_shown_as_it_is(committed_books: Books, value: int):
    Transfer.objects.filter(id=committed_books.arrival.id).update(value=value)
    (seen,) = rows(f"SELECT value FROM audit_chain_seen WHERE tx = '0x{committed_books.arrival.tx_hash.hex()}'")
    assert int(seen["value"]) == value


def test_the_documented_way_in_reads_and_does_not_write(committed_books: Books):
    known = connection.get_connection_params()
    if connection.vendor == "sqlite":
        with sqlite3.connect(f"file:{known['database']}?mode=ro", uri=True) as auditor:
            assert len(auditor.execute("SELECT * FROM audit_payment").fetchall()) == 3
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                auditor.execute("DELETE FROM payments_payment")
        auditor.close()
        return
    page = (configured.BASE_DIR / "docs" / "audit.md").read_text()
    recipe = page.split("```sql\n")[1].split("```")[0].replace("…", "secret").split(";")[:3]
    with connection.cursor() as cursor:
        for statement in recipe:
            cursor.execute(statement)
    try:
        way = {name: known[name] for name in ("dbname", "host", "port")}
        with psycopg.connect(**way, user="auditor", password="secret", autocommit=True) as auditor:
            for view in VIEWS:
                auditor.execute(f"SELECT * FROM {view}")
            assert len(auditor.execute("SELECT * FROM audit_payment").fetchall()) == 3
            for statement in (
                "SELECT * FROM payments_payment",
                "DELETE FROM audit_grant",
                "CREATE TABLE mine (id int)",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    auditor.execute(statement)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP OWNED BY auditor")
            cursor.execute("DROP ROLE auditor")
