"""The audit finds every kind of corruption in the database and names it, and finds nothing in clean books."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.db import connection

from payments.audit import cards, chain, entries, sales
from payments.books import ledger
from payments.books.ledger import Move
from payments.models import Authorization
from tests.unit.payments.planting import Books, again, found, past_the_guards, with_digest

planted = [pytest.mark.django_db, pytest.mark.planted]


# --- Clean books --------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_clean_books_are_found_clean(books: Books):
    assert found() == (0, {})
    world, fees = f"world:eip155:{configured.CHAIN_ID}", ledger.balance("platform:fees")
    assert (ledger.balance(world), fees, ledger.balance("publisher:7:earned")) == (-1_334_567, 5_000, 95_000)


# --- Corruptions in the database ----------------------------------------------------------------------


def changed(table: str, what: str, which: str = "TRUE") -> str:
    return f"UPDATE payments_{table} SET {what} WHERE {which}"


def gone(table: str, which: str) -> str:
    return f"DELETE FROM payments_{table} WHERE {which}"


def granted(payment: str) -> str:
    """A grant that nobody sold: to the buyer whose wallet had too little, of this payment."""
    return (
        f"INSERT INTO payments_grant (id, payment_id, buyer, resource, version, made_at) SELECT '{{new}}', '{payment}',"
        " buyer, 'article:9', 1, CURRENT_TIMESTAMP FROM payments_payment WHERE id = '{released}'"
    )


def added(target: str) -> str:
    """A posting more in the entry of a sale."""
    return (
        "INSERT INTO payments_posting (id, transaction_id, source_id, target_id, amount_micros)"
        f" SELECT '{{new}}', transaction_id, source_id, {target}, 1 FROM payments_posting WHERE id = '{{share}}'"
    )


EMPTY = (
    'INSERT INTO payments_transaction (id, "key", kind, digest, last_posting_id)'
    " SELECT '{new}', 'empty', kind, digest, '{new}' FROM payments_transaction WHERE id = '{sale}'"
)
FEES = "(SELECT id FROM payments_account WHERE code = 'platform:fees')"
SHARE, ARRIVAL = "id = '{share}'", "transaction_id = '{unclaimed}'"
TRANSFER, PAYMENT = "id = {transfer}", "id = '{payment}'"

# The word that the audit must say and whose id it must name with it: what is done to the books.
CORRUPTIONS: dict[tuple[str, str], list[str]] = {
    ("entry_broken", "sale"): [
        changed("posting", "amount_micros = 1", SHARE),
        changed("posting", "target_id = {stranger}", SHARE),
        changed("transaction", "digest = 'x'", "id = '{sale}'"),
        changed("transaction", "last_posting_id = '{new}'", "id = '{sale}'"),
        changed("account", "code = 'mine'", "code = 'platform:fees'"),
        gone("posting", "id = '{fee}'"),
        gone("account", "code = 'platform:fees'"),
        added("target_id"),
        added("{euro}"),
    ],
    ("entry_broken", "new"): [EMPTY],
    ("posting_without_entry", "share"): [gone("transaction", "id = '{sale}'")],
    ("payment_without_sale", "payment"): [
        gone("transaction", "id = '{sale}'"),
        changed("transaction", "kind = 'x'", "id = '{sale}'"),
    ],
    ("sale_differs", "payment"): [
        gone("posting", "transaction_id = '{sale}'"),
        changed("payment", "amount_micros = 1", PAYMENT),
        changed("payment", "payee = 'me'", PAYMENT),
    ],
    ("payment_without_grant", "payment"): [gone("grant", "id = '{grant}'"), changed("grant", "revoked_at = made_at")],
    ("grant_without_payment", "new"): [granted("{released}"), granted("{new}")],
    ("grant_differs", "grant"): [
        changed("grant", "buyer = 'me'", "id = '{grant}'"),
        changed("grant", "resource = 'all'", "id = '{grant}'"),
    ],
    ("payment_without_proof", "payment"): [gone("authorization", "payment_id = '{payment}'")],
    ("transfer_unbooked", "arrival"): [changed("transfer", "received_id = NULL", "id = {arrival}")],
    ("transfer_differs", "arrival"): [
        changed("transfer", "value = '2234567'", "id = {arrival}"),
        changed("transfer", f"value = '{10**70}'", "id = {arrival}"),
    ],
    ("payment_without_transfer", "payment"): [
        gone("transfer", TRANSFER),
        changed("transfer", "payment_id = NULL", TRANSFER),
        changed("transfer", "orphaned_at = seen_at", TRANSFER),
    ],
    ("transfer_of_another", "transfer"): [
        changed("transfer", "sender = recipient", TRANSFER),
        changed("transfer", "recipient = sender", TRANSFER),
        changed("transfer", "token = sender", TRANSFER),
        changed("transfer", "nonce = NULL", TRANSFER),
        changed("transfer", "value = '49999'", TRANSFER),
        changed("authorization", "nonce = signature", "payment_id = '{payment}'"),
    ],
}  # fmt: skip

# The same with a digest that fits, which only what is around the entry can give away.
FORGERIES: dict[tuple[str, str], list[str]] = {
    ("sale_differs", "payment"): [
        changed("posting", "amount_micros = 1", SHARE),
        changed("posting", "target_id = {stranger}", SHARE),
        changed("posting", f"target_id = {FEES}", SHARE),
        changed("posting", f"target_id = {FEES}, amount_micros = 1", SHARE),
    ],
    ("entry_unexpected", "sale"): [changed("posting", "source_id = {stranger}", SHARE)],
    ("account_below_floor", "publisher:666:earned"): [changed("posting", "source_id = {stranger}", SHARE)],
    ("account_below_floor", "world:eip155:84532"): [
        changed("posting", f"source_id = {FEES}, target_id = source_id, amount_micros = 9000000", ARRIVAL)
    ],
    ("entry_unexpected", "unclaimed"): [
        changed("posting", "target_id = {stranger}", ARRIVAL),
        changed("transaction", "kind = 'gift'", "id = '{unclaimed}'"),
    ],
    ("transfer_differs", "arrival"): [changed("posting", "amount_micros = 5", ARRIVAL)],
    ("sale_without_payment", "unclaimed"): [changed("transaction", "kind = 'sale'", "id = '{unclaimed}'")],
}


def cases(rows: dict[tuple[str, str], list[str]]) -> list[Any]:
    return [
        pytest.param(statement, *said, id=f"{said[0]} {number}", marks=planted)
        for said, statements in rows.items()
        for number, statement in enumerate(statements, 1)
    ]


def check(books: Books, names: dict[str, Any], word: str, culprit: str) -> None:
    code, said = found()
    assert code == 1
    assert word in said, said
    named = str(names.get(culprit, culprit))
    assert named in said[word].replace("-", ""), said[word]


@pytest.mark.parametrize(("statement", "word", "culprit"), cases(CORRUPTIONS))
def test_a_corruption_is_found_and_named(books: Books, statement: str, word: str, culprit: str):
    names = books.names()
    past_the_guards(statement.format_map(names))
    check(books, names, word, culprit)


@pytest.mark.parametrize(("statement", "word", "culprit"), cases(FORGERIES))
def test_a_forged_entry_is_found_and_named(books: Books, statement: str, word: str, culprit: str):
    names = books.names()
    with_digest(statement.format_map(names))
    assert "entry_broken" not in found()[1]
    check(books, names, word, culprit)


def post(kind: str, *moves: Move, **more: Any) -> str:
    """An entry as the product itself writes them; its id."""
    return ledger.post_all([ledger.Entry(kind, f"planted:{kind}", moves, **more)])[0].id.hex


def duplicate_sale(books: Books) -> str:
    return post("sale", *again(books.sold.sale))


def duplicate_arrival(books: Books) -> str:
    return post("unclaimed", *again(books.arrival.received))


def unknown_kind(books: Books) -> str:
    return post("gift", *again(books.sold.sale))


def reversal_of_nothing(books: Books) -> str:
    moves = [Move(move.target, move.source, move.amount_micros) for move in again(books.sold.sale)]
    return post("reorganisation", *moves)


def reversal_of_a_sale_that_counts(books: Books) -> str:
    entry = replace(ledger.reversal("reorganisation", books.sold.sale), key="planted")
    ledger.post_all([entry])
    return books.sold.sale_id.hex


def reversal_of_half(books: Books) -> str:
    first = again(books.sold.sale)[0]
    return post("reorganisation", Move(first.target, first.source, 1), reverses=books.sold.sale)


def swapped_sales(books: Books) -> str:
    one, two = books.sold, books.other
    past_the_guards(
        changed("payment", "sale_id = NULL, state = 'signed'", f"id = '{one.id.hex}'"),
        changed("payment", f"sale_id = '{one.sale_id.hex}'", f"id = '{two.id.hex}'"),
        changed("payment", f"sale_id = '{two.sale_id.hex}', state = 'final'", f"id = '{one.id.hex}'"),
    )
    return str(one.transfers.get().id)


@pytest.mark.parametrize(
    ("plant", "word"),
    [
        pytest.param(plant, word, id=plant.__name__, marks=planted)
        for plant, word in [
            (duplicate_sale, "sale_without_payment"),
            (duplicate_arrival, "entry_without_transfer"),
            (duplicate_arrival, "books_differ"),
            (unknown_kind, "entry_unexpected"),
            (reversal_of_nothing, "reversal_differs"),
            (reversal_of_a_sale_that_counts, "reversed_in_use"),
            (reversal_of_half, "reversal_differs"),
            (swapped_sales, "transfer_of_another"),
        ]
    ],
)
def test_an_entry_too_many_is_found_and_named(books: Books, plant: Callable[[Books], str], word: str):
    culprit = plant(books)
    check(books, {}, word, "micros" if word == "books_differ" else culprit)


@pytest.mark.postgresql
@pytest.mark.planted
@pytest.mark.django_db
def test_an_authorization_that_was_claimed_twice_is_found(books: Books):
    """The constraint is the guard; SQLite cannot drop one."""
    known = Authorization.objects.get(payment=books.sold)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE payments_authorization DROP CONSTRAINT authorization_spent_once")
    Authorization.objects.filter(payment=books.released).update(payer=known.payer, nonce=known.nonce)
    check(books, {}, "authorization_twice", known.nonce.hex())


# --- The page that describes it -----------------------------------------------------------------------


def test_every_word_of_the_audit_is_documented_and_tested():
    rooms = [Path(module.__file__).read_text() for module in (cards, chain, entries, sales)]
    words = set(re.findall(r"(?:[fF]inding|rule)\(\s*\"([a-z_]+)\"", "".join(rooms)))
    page = (configured.BASE_DIR / "docs" / "audit.md").read_text().split("## What `manage.py audit` checks")[1]
    assert words == set(re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE))
    here = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert words == set(re.findall(r"\"([a-z_]+)\"", here)) & words


def test_every_kind_of_entry_and_of_account_is_documented():
    contract = (configured.BASE_DIR / "docs" / "audit.md").read_text()
    kinds = contract.split("## Kinds of transactions")[1].split("\n## ")[0]
    assert (
        set(re.findall(r"^\| `([a-z_]+)` \|", kinds, re.MULTILINE)) == entries.MOVES.keys() | entries.REVERSALS.keys()
    )
    accounts = contract.split("## Accounts")[1].split("\n## ")[0]
    sides = {code.split(":")[0] for moves in entries.MOVES.values() for move in moves for code in move}
    assert set(re.findall(r"^\| `([a-z_]+)` \|", accounts, re.MULTILINE)) == sides
