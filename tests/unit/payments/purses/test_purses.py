"""Buying from a purse: once, within the balance, by a person or an agent, and giving it back."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from marketplace.reader import statement
from payments import gate, purses, quotes
from payments.books import accounts, ledger
from payments.models import Payment, Purse
from payments.offers import Presented, Price
from payments.purses import joining, movements
from tests import buyers
from tests.bank import Bank

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def _balance(purse: Purse) -> int:
    purse.refresh_from_db()
    assert purse.balance_micros == ledger.balance(accounts.balance(purse.id), "USD")
    return purse.balance_micros


def test_a_person_buys_and_reads_again_for_nothing():
    purse = buyers.purse(1_000_000)
    admitted = buyers.press(purse, buyers.offer(1, 250_000))
    assert admitted.grant.resource == "article:1"
    again = buyers.press(purse, buyers.offer(1, 250_000))
    assert again.grant == admitted.grant
    assert _balance(purse) == 750_000
    assert ledger.balance("publisher:7:pending", "USD") == 237_500
    assert ledger.balance("platform:fees", "USD") == 12_500


def test_too_little_is_refused_and_nothing_is_left_behind():
    purse = buyers.purse(500_000)
    with pytest.raises(gate.PaymentRequired) as refused:
        buyers.press(purse, buyers.offer(1, 500_001))
    assert refused.value.word == "insufficient_balance"
    assert _balance(purse) == 500_000
    assert not Payment.objects.exists()


def test_a_tab_goes_below_zero_to_its_limit():
    purse = buyers.purse(tab=500_000)
    buyers.press(purse, buyers.offer(1, 500_000))
    assert _balance(purse) == -500_000
    assert purse.owing_since
    with pytest.raises(gate.PaymentRequired) as refused:
        buyers.press(purse, buyers.offer(2, 1_000))
    assert refused.value.word == "tab_limit_reached"
    buyers.fill(purse, 500_000)
    assert _balance(purse) == 0
    assert purse.owing_since is None


@pytest.mark.parametrize("flag", ["past_due", "dispute", "fraud", "chargeback"])
def test_a_flagged_purse_buys_nothing(flag: str):
    purse = buyers.purse(1_000_000)
    Purse.objects.filter(id=purse.id).update(flag=flag)
    with pytest.raises(gate.PaymentRequired) as refused:
        buyers.press(purse, buyers.offer())
    assert refused.value.word in ("purse_past_due", "purse_frozen")
    assert _balance(purse) == 1_000_000


def test_a_session_that_did_not_press_pays_nothing():
    purse = buyers.purse(1_000_000)
    with pytest.raises(gate.PaymentRequired):
        gate.verify(Presented(purse=str(purse.pk)), buyers.offer())
    buyers.press(purse, buyers.offer())
    assert gate.verify(Presented(purse=str(purse.pk)), buyers.offer()).grant


def test_an_agent_buys_what_its_person_then_owns():
    purse = buyers.purse(1_000_000)
    text = buyers.key(purse)
    buyers.present(text, buyers.offer())
    assert buyers.press(purse, buyers.offer()).grant
    assert _balance(purse) == 950_000
    assert purse.keys.get().spent_micros == 50_000


def test_an_article_is_given_back_once_and_within_its_time(settings):
    purse = buyers.purse(1_000_000)
    payment = buyers.press(purse, buyers.offer()).payment
    purses.refund(payment.id, purse)
    assert _balance(purse) == 1_000_000
    assert ledger.balance("publisher:7:pending", "USD") == 0
    with pytest.raises(gate.PaymentRequired):
        gate.verify(Presented(purse=str(purse.pk)), buyers.offer())
    with pytest.raises(purses.PurseRefused) as refused:
        purses.refund(payment.id, purse)
    assert refused.value.word == "refund_too_late"
    second = buyers.press(purse, buyers.offer()).payment
    with pytest.raises(purses.PurseRefused) as refused:
        purses.refund(second.id, purse)
    assert refused.value.word == "refund_used"
    other = buyers.press(purse, buyers.offer(2)).payment
    late = timezone.now() - timedelta(seconds=settings.REFUND_SECONDS + 1)
    Payment.objects.filter(id=other.id).update(decided_at=late)
    with pytest.raises(purses.PurseRefused):
        purses.refund(other.id, purse)
    with pytest.raises(purses.PurseRefused):
        purses.refund(second.id, buyers.purse())
    assert _balance(purse) == 900_000


def test_a_guest_who_signs_in_keeps_balance_and_articles():
    guest, owner = buyers.purse(500_000, owner="guest:1"), buyers.purse(600_000)
    payment = buyers.press(guest, buyers.offer()).payment
    joining.join(guest, owner)
    joining.join(guest, owner)
    assert _balance(guest) == 0
    assert _balance(owner) == 1_050_000
    assert buyers.present(buyers.key(owner), buyers.offer()).payment == payment
    purses.refund(payment.id, owner)
    assert (_balance(guest), _balance(owner)) == (0, 1_100_000)
    (refunded, *_), *_ = movements.pages(owner)
    assert (refunded.kind, refunded.payment_id, refunded.amount_micros) == ("refund", payment.id, 50_000)
    assert statement.lines(owner, 10)[0].what == "Refund", "also when it was bought as a guest"
    with pytest.raises(gate.PaymentRequired):
        buyers.press(guest, buyers.offer(2))


def test_a_joined_purse_is_locked_together_with_the_account_and_joined_once(django_assert_num_queries):
    """In one statement, ordered: two writers who lock both cannot deadlock, and a second sign-in locks nothing."""
    owner = buyers.purse(owner="user:1")
    guest = buyers.purse(owner="guest:1")
    joining.join(guest, owner)
    with transaction.atomic(), CaptureQueriesContext(connection) as asked:
        assert purses.locked(guest.id).id == owner.id
    locking = [query["sql"] for query in asked if 'ORDER BY "payments_purse"."id"' in query["sql"]]
    assert len(locking) == 1
    with django_assert_num_queries(1):
        joining.join(guest, owner)


def test_the_statement_explains_the_balance_line_by_line():
    purse = buyers.purse(1_000_000)
    payment = buyers.press(purse, buyers.offer(1, 250_000)).payment
    buyers.present(buyers.key(purse), buyers.offer(2, 100_000))
    purses.refund(payment.id, purse)
    (lines,) = movements.pages(purse)
    assert [(line.kind, line.amount_micros, line.after_micros) for line in lines] == [
        ("refund", 250_000, 900_000),
        ("sale", -100_000, 650_000),
        ("sale", -250_000, 750_000),
        ("card_paid", 1_000_000, 1_000_000),
    ]
    assert [line.agent for line in lines] == ["", "reader", "", ""]
    assert lines[1].title == "Article 2"


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_the_statement_is_the_same_in_pages_of_any_size(size: int):
    """A purchase has two postings, and may be on both sides of an edge."""
    purse = buyers.purse(1_000_000)
    for number in range(4):
        buyers.press(purse, buyers.offer(number, 100_000 + number))
    pages = list(movements.pages(purse, size))
    lines = [line for page in pages for line in page]
    assert len({line.key for line in lines}) == len(lines) == 5
    assert sum(line.amount_micros for line in lines) == lines[0].after_micros == _balance(purse)
    assert [line.after_micros - line.amount_micros for line in lines] == [line.after_micros for line in lines[1:]] + [0]
    assert all(len(page) <= size for page in pages)


def test_a_joined_guests_history_is_the_accounts_and_counts_once():
    owner, guest = buyers.purse(600_000), buyers.purse(500_000, owner="guest:1")
    payment = buyers.press(guest, buyers.offer(1, 200_000)).payment
    buyers.press(owner, buyers.offer(2, 100_000))
    joining.join(guest, owner)
    purses.refund(payment.id, owner)
    owner.refresh_from_db()
    buyers.press(owner, buyers.offer(3, 50_000))
    lines = statement.lines(owner, 100)
    assert [(line.what, line.title, line.amount_micros) for line in lines] == [
        ("Purchase", "Article 3", -50_000),
        ("Refund", "Article 1", 200_000),
        ("Purchase", "Article 2", -100_000),
        ("Purchase", "Article 1", -200_000),
        ("Top-up by card", "", 500_000),
        ("Top-up by card", "", 600_000),
    ]
    assert lines[0].after_micros == sum(line.amount_micros for line in lines) == _balance(owner) == 950_000
    assert [row[7] for row in statement.csv_rows(owner)] == [line.amount_micros for line in lines]


def test_a_price_for_agents_is_no_price_for_people(bank: Bank):
    purse = buyers.purse(1_000_000)
    cheap = buyers.offer(1, 50_000)
    dear = replace(cheap, price=Price(2, "people", 250_000), mime_type="text/html")
    quote = quotes.issue(cheap).token
    with pytest.raises(gate.PaymentRequired) as refused:
        gate.verify(Presented(purse=str(purse.pk), spend=True, quote=quote), dear)
    assert refused.value.word == "invalid_quote"
