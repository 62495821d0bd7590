"""An agent's key: each of its limits with its word, how it changes, and how it ends."""

from datetime import timedelta

import pytest
from django.utils import timezone

from payments import gate, purses
from payments.models import Payment, Purse
from payments.offers import Presented
from payments.purses import api_keys
from tests import buyers
from tests.buyers import balance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


# --- Each limit with its word -----------------------------------------------------------------------------

LIMITS = [
    ({"ceiling_micros": 49_999}, "price_above_ceiling"),
    ({"budget_micros": 49_999}, "budget_exhausted"),
    ({"day_budget_micros": 49_999}, "day_budget_exhausted"),
    ({"payees": ("publisher:8",)}, "publication_not_allowed"),
    ({"approve_above_micros": 49_999}, "approval_required"),
    ({"expires_at": timezone.now() - timedelta(seconds=1)}, "invalid_key"),
]


@pytest.mark.parametrize(("limit", "word"), LIMITS)
def test_a_limit_refuses_with_its_word_and_takes_nothing(limit, word):
    purse = buyers.purse(1_000_000)
    with pytest.raises(gate.PaymentRequired) as no:
        buyers.present(buyers.key(purse, **limit), buyers.offer())
    assert (no.value.word, no.value.charged) == (word, False)
    assert balance(purse) == 1_000_000
    assert (purse.keys.get().spent_micros, Payment.objects.count()) == (0, 0)


@pytest.mark.parametrize(("limit", "word"), LIMITS[:-1])
def test_at_its_edge_a_limit_allows(limit, word):
    purse = buyers.purse(1_000_000)
    roomy = {name: ("publisher:7",) if name == "payees" else 50_000 for name in limit}
    assert buyers.present(buyers.key(purse, **roomy), buyers.offer()).grant
    assert balance(purse) == 950_000


@pytest.mark.parametrize(("limit", "word"), LIMITS)
def test_the_sale_itself_refuses_too_when_a_limit_came_after_the_first_look(limit, word, monkeypatch):
    """What is checked early is checked again in the commit of the sale, by the row as it is then."""
    purse = buyers.purse(1_000_000)
    admission = gate.verify(Presented(bearer=buyers.key(purse)), buyers.offer())
    assert admission.sells
    limit = limit | ({"payees": list(limit["payees"])} if "payees" in limit else {})
    purse.keys.update(**limit)
    with pytest.raises(gate.PaymentRequired) as no:
        admission.settle()
    assert no.value.word == word
    assert balance(purse) == 1_000_000
    assert (purse.keys.get().spent_micros, Payment.objects.count()) == (0, 0)


def test_budgets_end_exactly_and_a_new_day_has_a_new_one():
    purse = buyers.purse(1_000_000)
    text = buyers.key(purse, day_budget_micros=100_000, budget_micros=150_000)
    buyers.present(text, buyers.offer(1))
    buyers.present(text, buyers.offer(2))
    assert _word(text, 3) == "day_budget_exhausted"
    purse.keys.update(day=timezone.now().date() - timedelta(days=1))
    buyers.present(text, buyers.offer(3))
    key = purse.keys.get()
    assert (key.day_spent_micros, key.spent_micros) == (50_000, 150_000)
    assert api_keys.remaining(key) == (50_000, 0)
    assert _word(text, 4) == "budget_exhausted"
    assert buyers.present(text, buyers.offer(1)).grant
    assert balance(purse) == 850_000


def test_what_is_given_back_may_be_spent_again():
    purse = buyers.purse(1_000_000)
    text = buyers.key(purse, day_budget_micros=50_000, budget_micros=50_000)
    payment = buyers.present(text, buyers.offer(1)).payment
    buyers.taken_back(payment)
    assert (purse.keys.get().spent_micros, api_keys.spent_today(purse.keys.get())) == (0, 0)
    assert buyers.present(text, buyers.offer(2)).grant


@pytest.mark.parametrize("flag", ["past_due", "dispute", "fraud", "chargeback"])
def test_a_key_of_a_purse_that_is_not_in_order_buys_nothing_and_reads_what_was_bought(flag):
    purse = buyers.purse(1_000_000)
    text = buyers.key(purse)
    buyers.present(text, buyers.offer(1))
    Purse.objects.filter(id=purse.id).update(flag=flag)
    assert _word(text, 2) in ("purse_past_due", "purse_frozen")
    assert buyers.present(text, buyers.offer(1)).grant


def test_too_little_is_refused_and_leaves_the_budget_as_it_was():
    purse = buyers.purse(500_000)
    text = buyers.key(purse)
    with pytest.raises(gate.PaymentRequired) as no:
        buyers.present(text, buyers.offer(1, 500_001))
    assert no.value.word == "insufficient_balance"
    assert purse.keys.get().spent_micros == 0


def _word(text: str, number: int) -> str:
    with pytest.raises(gate.PaymentRequired) as no:
        buyers.present(text, buyers.offer(number))
    return no.value.word


# --- Changing and revoking --------------------------------------------------------------------------------


def test_a_key_revoked_between_the_look_and_the_sale_buys_nothing():
    purse = buyers.purse(1_000_000)
    admission = gate.verify(Presented(bearer=buyers.key(purse)), buyers.offer())
    api_keys.revoke(purse.keys.get())
    with pytest.raises(gate.PaymentRequired) as no:
        admission.settle()
    assert no.value.word == "invalid_key"
    assert balance(purse) == 1_000_000


def test_limits_change_from_the_next_request_on_and_never_below_what_was_spent():
    purse = buyers.purse(1_000_000)
    text = buyers.key(purse)
    buyers.present(text, buyers.offer(1))
    key = purse.keys.get()
    with pytest.raises(purses.PurseRefused) as no:
        api_keys.change(key, "reader", api_keys.Limits(budget_micros=49_999))
    assert no.value.word == "budget_below_spent"
    api_keys.change(key, "renamed", api_keys.Limits(budget_micros=50_000))
    assert _word(text, 2) == "budget_exhausted"
    assert purse.keys.get().name == "renamed"
    api_keys.revoke(key)
    with pytest.raises(purses.PurseRefused) as no:
        api_keys.change(key, "alive", api_keys.Limits())
    assert no.value.word == "key_revoked"


def test_one_form_makes_one_key_and_fifty_are_enough():
    purse = buyers.purse()
    key, _ = api_keys.make(purse, "first", api_keys.Limits())
    with pytest.raises(purses.PurseRefused) as no:
        api_keys.make(buyers.purse(), "first", api_keys.Limits(), key.id)
    assert no.value.word == "key_made_already"
    for _ in range(api_keys.KEYS_MAX - 1):
        buyers.key(purse)
    with pytest.raises(purses.PurseRefused) as no:
        api_keys.make(purse, "one more", api_keys.Limits())
    assert no.value.word == "too_many_keys"
    api_keys.revoke(key)
    buyers.key(purse)


# --- The secret -----------------------------------------------------------------------------------------


def test_a_key_can_hardly_be_guessed():
    purse = buyers.purse()
    texts = [buyers.key(purse) for _ in range(20)]
    assert len({text.rpartition("_")[2] for text in texts}) == 20
    assert all(len(text) == 48 for text in texts)
