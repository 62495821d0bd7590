"""The audit finds every kind of corruption of purses, agents and cards, names it, and finds nothing in clean ones."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from payments import purses
from payments.books import accounts, ledger
from payments.books.ledger import Move
from payments.models import Card, CardRefund, Purse
from payments.purses import joining
from tests import buyers
from tests.unit.payments.audit.conftest import roll_back_what_was_planted
from tests.unit.payments.card_books import Books, sell
from tests.unit.payments.planting import found, past_the_guards, with_digest

pytestmark = pytest.mark.usefixtures("cards_on")
planted = [pytest.mark.django_db, pytest.mark.planted]


@pytest.fixture
def books(request: pytest.FixtureRequest, db: None) -> Iterator[Books]:
    """Of a transaction that is rolled back."""
    yield sell()
    roll_back_what_was_planted(request)


@pytest.mark.django_db
def test_clean_books_of_cards_are_found_clean(books: Books):
    assert found() == (0, {})
    assert ledger.balance("world:stripe", "USD") == -4_900_000


def changed(table: str, what: str, which: str) -> str:
    return f"UPDATE payments_{table} SET {what} WHERE {which}"


def gone(table: str, which: str) -> str:
    return f"DELETE FROM payments_{table} WHERE {which}"


PURSE, PAYMENT, CHARGE = "id = '{purse}'", "id = '{payment}'", "id = '{charge}'"
DEBIT, REFUND, DISPUTE = "payment_id = '{payment}'", "id = '{refund}'", "id = 'dp_test'"
PAID = "\"key\" = 'card_paid:{stripe_charge_id}'"

# The word that the audit must say and whose id it must name with it: what is done to the books.
CORRUPTIONS: dict[tuple[str, str], list[str]] = {
    ("balance_differs", "purse"): [changed("purse", "balance_micros = balance_micros + 1", PURSE)],
    ("owing_since_differs", "purse"): [
        changed("purse", "owing_since = CURRENT_TIMESTAMP", PURSE),
        changed("purse", "balance_micros = -1", PURSE),
    ],
    ("balance_of_nobody", "purse"): [gone("purse", PURSE)],
    ("payment_without_debit", "payment"): [gone("debit", DEBIT)],
    ("debit_without_purse", "payment"): [changed("payment", "rail = 'exact'", PAYMENT)],
    ("debit_of_another", "payment"): [
        changed("debit", "purse_id = '{other}'", DEBIT),
        changed("payment", "buyer = 'purse:nobody'", PAYMENT),
    ],
    ("key_of_another", "payment"): [changed("debit", "key_id = '{others_key}'", DEBIT)],
    ("key_differs", "key"): [
        changed("apikey", "spent_micros = 0", "id = '{key}'"),
        changed("debit", "key_id = NULL", DEBIT),
    ],
    ("purse_payment_open", "payment"): [changed("payment", "state = 'released', sale_id = NULL", PAYMENT)],
    ("final_not_cleared", "payment"): [changed("payment", "state = 'final'", PAYMENT)],
    ("charge_unbooked", "stripe_charge_id"): [
        gone("transaction", PAID),
        changed("transaction", "\"key\" = 'card_paid:ch_other'", PAID),
    ],
    ("entry_without_charge", "stripe_charge_id"): [
        changed("charge", "stripe_charge_id = 'ch_other'", CHARGE),
        changed("charge", "state = 'failed'", CHARGE),
        gone("charge", CHARGE),
    ],
    ("charge_differs", "stripe_charge_id"): [changed("charge", "amount_micros = amount_micros + 1", CHARGE)],
    ("charge_not_paid", "charge"): [changed("charge", "state = 'declined'", CHARGE)],
    ("refund_unbooked", "refund"): [changed("cardrefund", "stripe_refund_id = 're_other'", REFUND)],
    ("refunding_differs", "purse"): [changed("cardrefund", "state = 'asked', ours = TRUE", REFUND)],
    ("charge_refunds_differ", "charge"): [
        changed("charge", "refunded_micros = 0", CHARGE),
        changed("cardrefund", "amount_micros = 1", REFUND),
        gone("cardrefund", REFUND),
    ],
    ("charge_disputes_differ", "charge"): [
        changed("charge", "disputed_micros = 0", CHARGE),
        gone("dispute", DISPUTE),
    ],
    ("dispute_lost_for_nothing", "dp_test"): [changed("dispute", "withdrawn_micros = 0", DISPUTE)],
    ("card_of_another", "purse"): [
        changed("card", "purse_id = '{other}'", "id = {card}"),
        changed("card", "removed_at = made_at", "id = {card}"),
    ],
}


@pytest.mark.parametrize(
    ("statement", "word", "culprit"),
    [
        pytest.param(statement, *said, id=f"{said[0]} {number}", marks=planted)
        for said, statements in CORRUPTIONS.items()
        for number, statement in enumerate(statements, 1)
    ],
)
def test_a_corruption_is_found_and_named(books: Books, statement: str, word: str, culprit: str):
    names = books.names()
    past_the_guards(statement.format_map(names))
    check(word, str(names.get(culprit, culprit)))


def check(word: str, named: str) -> None:
    code, said = found()
    assert code == 1
    assert word in said, said
    assert named in said[word].replace("-", ""), said[word]


def _paid_by_another(books: Books) -> str:
    """With every digest and every balance as it should be: only the buyer's own name gives it away."""
    names, price = books.names(), books.payment.amount_micros
    with_digest(changed("posting", "source_id = {others_account}", "transaction_id = '{sale}'").format_map(names))
    past_the_guards(
        changed("purse", f"balance_micros = balance_micros + {price}", PURSE).format_map(names),
        changed("purse", f"balance_micros = balance_micros - {price}", "id = '{other}'").format_map(names),
    )
    return str(names["payment"])


def _cleared(books: Books) -> str:
    line = Move("publisher:7:pending", "publisher:7:earned", 47_500)
    ledger.post("cleared", f"cleared:{books.payment.id.hex}", [line], asset="USD")
    return books.payment.id.hex


def _no_such_move(books: Books) -> str:
    line = Move(accounts.balance(books.purse.id), accounts.balance(books.other.id), 5)
    entry = ledger.post("card_paid", "card_paid:ch_planted", [line], asset="USD")
    return entry.id.hex


@pytest.mark.parametrize(
    ("plant", "word"),
    [
        pytest.param(plant, word, id=word, marks=planted)
        for plant, word in [
            (_paid_by_another, "sale_from_another"),
            (_cleared, "cleared_not_final"),
            (_no_such_move, "entry_unexpected"),
        ]
    ],
)
def test_an_entry_that_should_not_be_there_is_found_and_named(books: Books, plant: Any, word: str):
    check(word, plant(books))


@pytest.mark.planted
@pytest.mark.django_db
def test_paid_by_another_is_seen_by_nothing_else(books: Books):
    """So that check is needed."""
    _paid_by_another(books)
    assert set(found()[1]) == {"sale_from_another"}


@pytest.mark.django_db
def test_a_guest_who_signs_in_with_a_card_and_a_refund_on_its_way_leaves_clean_books():
    guest, owner = buyers.purse(owner="guest:1"), buyers.purse()
    charge = buyers.fill(guest, 5_000_000)
    card = Card.objects.create(purse=guest, stripe_card_id="pm_guest")
    Purse.objects.filter(id=guest.id).update(card=card, customer="cus_guest")
    with transaction.atomic():
        back = CardRefund.objects.create(charge=charge, amount_micros=1_000_000)
        line = Move(accounts.balance(guest.id), accounts.refunding(guest.id), 1_000_000)
        ledger.post("refund_reserved", f"refund_reserved:{back.id}", [line], asset="USD")
        purses.move(guest.id, -1_000_000)
    joining.join(guest, owner)
    assert found() == (0, {})
    owner.refresh_from_db()
    assert (owner.balance_micros, owner.customer) == (4_000_000, "cus_guest")
