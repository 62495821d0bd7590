"""The ledger writes each entry once, whole, and in an order that never deadlocks; money is exact to the micro."""

import ast
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.test import override_settings
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as some

from payments import money
from payments.books import accounts, ledger
from payments.books.ledger import Entry, Move
from payments.models import Account, Posting, Transaction

on_database = pytest.mark.django_db(transaction=True)


def pair(amount: int, source: str = "world:test", target: str = "suspense:test") -> Move:
    return Move(source, target, amount)


# --- The ledger ---------------------------------------------------------------------------------------


@pytest.mark.planted  # An entry of no payment and no transfer, which is what the audit is there to find.
@on_database
def test_an_entry_is_posted_once_per_key():
    first = ledger.post("test", "one", [pair(5), pair(7, target="platform:fees")])
    again = ledger.post("test", "one", [pair(7, target="platform:fees"), pair(5)])
    assert first == again
    assert Posting.objects.count() == 2
    assert ledger.balance("world:test") == -12


@pytest.mark.parametrize(
    "other",
    [
        Entry("test", "one", (pair(6),)),
        Entry("another kind", "one", (pair(5),)),
        Entry("test", "one", (pair(5), pair(5))),
        Entry("test", "one", (pair(5, target="platform:fees"),)),
        Entry("test", "one", (pair(5, source="suspense:test", target="world:test"),)),
        Entry("test", "one", (pair(5),), asset="EURC"),
    ],
    ids=["amount", "kind", "one more", "target", "turned round", "asset"],
)
@pytest.mark.planted
@on_database
def test_a_key_stands_for_one_entry_only(other: Entry):
    ledger.post("test", "one", [pair(5)])
    with pytest.raises(ledger.KeyReused):
        ledger.post_all([Entry("test", "another", (pair(1),)), other])
    assert ledger.balance("suspense:test") == 5
    assert Transaction.objects.count() == 1


@on_database
def test_a_key_stands_for_one_entry_only_within_one_call_too():
    with pytest.raises(ledger.KeyReused):
        ledger.post_all([Entry("test", "one", (pair(5),)), Entry("test", "one", (pair(6),))])
    assert not Transaction.objects.exists()


@on_database
def test_an_entry_without_moves_is_refused_before_the_database_is_asked():
    with pytest.raises(ValueError, match="no moves"):
        ledger.post("test", "one", [])


@pytest.mark.planted
@on_database
def test_balances_are_what_came_in_less_what_went_out():
    ledger.post("test", "one", [Move("world:a", "suspense:a", 100), Move("world:a", "platform:fees", 11)])
    ledger.post("test", "two", [Move("suspense:a", "platform:fees", 30)])
    ledger.post("test", "three", [Move("world:a", "suspense:a", 7)], asset="EURC")
    assert ledger.balance("world:a") == -111
    assert ledger.balance("suspense:a") == 70
    assert ledger.balance("platform:fees") == 41
    assert ledger.balance("suspense:a", "EURC") == 7
    assert ledger.balance("nobody:ever") == 0
    every = ledger.balances(ledger.Q())
    assert sum(amount for (_, asset), amount in every.items() if asset == "USDC") == 0
    assert sum(amount for (_, asset), amount in every.items() if asset == "EURC") == 0


@pytest.mark.planted
@on_database
def test_a_reversal_takes_back_every_move():
    original = ledger.post("test", "one", [pair(5), pair(7, target="platform:fees")])
    ledger.post_all([ledger.reversal("reorganisation", original)])
    assert set(ledger.balances(ledger.Q()).values()) == {0}
    assert Transaction.objects.get(key="reversed:one").reverses == original


@pytest.mark.planted
@on_database
def test_posting_costs_the_same_number_of_statements_however_many_entries(django_assert_num_queries):
    def entries(first: int, many: int) -> list[Entry]:
        return [
            Entry("test", f"key {n}", (pair(n + 1), pair(n + 2, target="platform:fees"))) for n in range(first, many)
        ]

    ledger.post_all(entries(0, 1))
    with transaction.atomic():
        with django_assert_num_queries(6):
            ledger.post_all(entries(1, 2))
        with django_assert_num_queries(6):
            ledger.post_all(entries(2, 60))


# --- Many at once -------------------------------------------------------------------------------------


def at_once(acts: list[Callable[[], Any]]) -> list[Any]:
    """What each act returned or raised, all of them started together, each with a connection of its own."""
    barrier = threading.Barrier(len(acts))
    results: list[Any] = [None] * len(acts)

    def run(n: int) -> None:
        connection.ensure_connection()
        barrier.wait()
        try:
            results[n] = acts[n]()
        except Exception as raised:
            results[n] = raised
        connection.close()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def crossing(round_number: int, n: int) -> Callable[[], Any]:
    """One of several posters who need the same thirty new accounts, each in an order of its own."""
    names = [f"suspense:{round_number}:{one}" for one in range(30)]
    random.Random(n).shuffle(names)
    moves = [Move(names[i], names[i + 1], 1) for i in range(29)] + [Move(names[-1], names[0], 1)]
    return lambda: ledger.post("test", f"{round_number}:{n}", moves)


@pytest.fixture
def slow_books(transactional_db: None) -> Iterator[None]:
    """A new row takes two milliseconds to write, so that writers do meet. SQLite has one writer: they cannot."""
    if connection.vendor != "postgresql":
        yield
        return
    function = "BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS '{function}'")
        for table in ("payments_account", "payments_transaction"):
            cursor.execute(f"CREATE TRIGGER slowly BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION slowly()")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION slowly CASCADE")


@pytest.mark.planted
@on_database
def test_posters_who_need_the_same_new_accounts_never_deadlock(slow_books):
    for round_number in range(4):
        results = at_once([crossing(round_number, n) for n in range(8)])
        assert all(isinstance(result, Transaction) for result in results), results
    assert Transaction.objects.count() == 32
    assert Account.objects.count() == 120
    assert set(ledger.balances(ledger.Q()).values()) == {0}


@pytest.mark.postgresql
@pytest.mark.planted
@on_database
def test_without_the_order_they_do_deadlock(slow_books, monkeypatch):
    """The race above is real: the same posters with their accounts in random order."""

    def shuffled(things: Any) -> list:
        return random.sample(list(things), len(things)) if isinstance(things, set) else sorted(things)

    monkeypatch.setattr(ledger, "sorted", shuffled, raising=False)
    results = at_once([crossing(0, n) for n in range(8)])
    assert any(isinstance(result, OperationalError) and "deadlock" in str(result) for result in results), results


@pytest.mark.planted
@on_database
def test_posters_of_the_same_entries_in_any_order_all_get_the_one_that_was_written(slow_books):
    entries = [Entry("test", f"key {n}", (pair(n + 1),)) for n in range(30)]
    for round_number in range(4):
        named = [Entry(e.kind, f"{round_number}:{e.key}", e.moves) for e in entries]
        orders = [random.Random(n).sample(named, len(named)) for n in range(8)]
        results = at_once([lambda order=order: ledger.post_all(order) for order in orders])
        for order, written in zip(orders, results, strict=True):
            assert not isinstance(written, Exception), written
            assert [row.key for row in written] == [entry.key for entry in order]
        assert len({row.id for written in results for row in written}) == 30
    assert Transaction.objects.count() == Posting.objects.count() == 120


# --- Money --------------------------------------------------------------------------------------------

prices = some.integers(money.MIN_PRICE_MICROS, money.MAX_PRICE_MICROS)


fees = some.integers(0, 9_999)


def check_shares(price: int, fee_basis_points: int) -> None:
    publisher, platform = accounts.shares(price)
    assert type(publisher) is type(platform) is int
    assert publisher + platform == price
    assert publisher > 0
    assert platform * 10_000 <= price * fee_basis_points < (platform + 1) * 10_000


@given(prices, fees)
@examples(max_examples=500, deadline=None)
def test_shares_make_up_the_price_exactly_and_the_fraction_is_the_publishers(price: int, fee: int):
    with override_settings(PLATFORM_FEE_BASIS_POINTS=fee):
        check_shares(price, fee)


def test_ten_thousand_shares(settings):
    chance = random.Random(402)
    for _ in range(10_000):
        settings.PLATFORM_FEE_BASIS_POINTS = fee = chance.randrange(10_000)
        check_shares(chance.randint(money.MIN_PRICE_MICROS, money.MAX_PRICE_MICROS), fee)


@given(some.integers(0, 10**18 - 1))
@examples(max_examples=300, deadline=None)
def test_what_is_written_is_read_back_to_the_micro(micros: int):
    text = money.format_usd(micros)
    assert money.parse_usd(text) == micros
    whole, _, fraction = text.partition(".")
    assert 2 <= len(fraction) <= 6
    assert int(whole) * 1_000_000 + int(fraction.ljust(6, "0")) == micros


@given(some.integers(0, 10**12 - 1), some.integers(0, 999_999), some.integers(0, 12))
@examples(max_examples=300, deadline=None)
def test_a_price_is_read_exactly_however_many_zeros_follow(whole: int, fraction: int, zeros: int):
    assert money.parse_usd(f"{whole}.{fraction:06d}{'0' * zeros}") == whole * 1_000_000 + fraction


@pytest.mark.parametrize(
    ("text", "micros"),
    [("0.05", 50_000), ("1", 1_000_000), ("0.000001", 1), (" 12.50 ", 12_500_000), ("00.1", 100_000)],
)
def test_prices_as_people_write_them(text: str, micros: int):
    assert money.parse_usd(text) == micros


@pytest.mark.parametrize(
    "text",
    ["", ".", "1.", ".5", "-1", "+1", "1e3", "1E-30", "NaN", "inf", "0x10", "1_000", "1,5", "$1", "1 000"]
    + ["0.0000001", "1.00000000000000000001", "9" * 13, "1" * 5_000, "١", "１", "1\n2", "0.05\0", "½", "1.5.0", "--1"],
)
def test_anything_else_is_refused_with_a_sentence(text: str):
    with pytest.raises(ValueError, match=r"price") as refusal:
        money.parse_usd(text)
    assert str(refusal.value).endswith(".")


@pytest.mark.parametrize(
    ("micros", "text"), [(0, "0.00"), (5, "0.000005"), (-50_000, "-0.05"), (10**18, "1000000000000.00")]
)
def test_amounts_as_people_read_them(micros: int, text: str):
    assert money.format_usd(micros) == text


@pytest.mark.parametrize(
    "module",
    [
        *("money", "quotes", "gate", "offers", "books/ledger", "books/reports", "onchain/record"),
        *("audit/entries", "audit/sales", "audit/cards", "audit/chain"),
    ],
)
def test_no_amount_ever_meets_a_float(module: str):
    """No float literal of a fraction, no `float`, no true division where money is."""
    tree = ast.parse((Path(money.__file__).parent / f"{module}.py").read_text())
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Div), module
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), ast.unparse(node)
        assert not (isinstance(node, ast.Call) and ast.unparse(node.func) in ("float", "round")), ast.unparse(node)
