"""What waits for a person's word: one yes is one purchase, of one thing, at up to the price that was seen."""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from payments import gate
from payments.models import Approval, Debit, Payment
from payments.offers import Offer, Presented
from payments.purses import api_keys, approvals
from tests import buyers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def word(text: str, offer: Offer) -> str:
    """Why a key is refused; empty when it buys or reads."""
    try:
        buyers.present(text, offer)
    except gate.PaymentRequired as error:
        no = error
    else:
        return ""
    assert no.charged is False
    assert bool(no.approve_at) == (no.word == "approval_required")
    return no.word


def yes() -> None:
    (one,) = Approval.objects.filter(state="asked")
    assert approvals.approve(one, one.amount_micros)


@pytest.fixture
def text() -> str:
    return buyers.key(buyers.purse(5_000_000), approve_above_micros=100_000)


def test_what_is_cheap_enough_is_bought_unasked(text):
    assert word(text, buyers.offer(1, 100_000)) == ""
    assert not Approval.objects.exists()


def test_asking_twice_is_one_question_and_a_yes_is_one_purchase(text):
    offer = buyers.offer(1, 200_000)
    assert [word(text, offer), word(text, offer)] == ["approval_required"] * 2
    assert Approval.objects.count() == 1
    yes()
    assert word(text, offer) == ""
    assert word(text, offer) == ""
    assert Approval.objects.get().state == "used"
    buyers.taken_back(Payment.objects.get())
    assert word(text, offer) == "approval_required"
    assert Approval.objects.filter(state="asked").count() == 1


def test_a_yes_is_for_this_thing_and_this_key(text):
    assert word(text, buyers.offer(1, 200_000)) == "approval_required"
    yes()
    assert word(text, buyers.offer(2, 200_000)) == "approval_required"
    other = buyers.key(Approval.objects.first().key.purse, approve_above_micros=0)
    assert word(other, buyers.offer(1, 200_000)) == "approval_required"


def test_a_dearer_price_is_asked_again_and_a_lower_one_is_covered(text):
    assert word(text, buyers.offer(1, 200_000)) == "approval_required"
    yes()
    assert word(text, buyers.offer(1, 200_001)) == "approval_required"
    assert (Approval.objects.get().state, Approval.objects.get().amount_micros) == ("asked", 200_001)
    yes()
    assert word(text, buyers.offer(1, 150_000)) == ""
    assert Payment.objects.get().amount_micros == 150_000


def test_who_saw_one_price_does_not_approve_another(text):
    word(text, buyers.offer(1, 200_000))
    seen = Approval.objects.get()
    word(text, buyers.offer(1, 300_000))
    assert not approvals.approve(seen, 200_000)
    assert word(text, buyers.offer(1, 200_000)) == "approval_required"


def test_a_no_stands_at_this_price_and_above_and_a_lower_one_is_asked_anew(text):
    word(text, buyers.offer(1, 300_000))
    no = Approval.objects.get()
    assert approvals.decline(no)
    assert [word(text, buyers.offer(1, price)) for price in (300_000, 400_000)] == ["approval_declined"] * 2
    assert word(text, buyers.offer(1, 200_000)) == "approval_required"
    # The question at the lower price is open now, so the old no stays one.
    assert not approvals.approve(no, 300_000)
    yes()
    assert word(text, buyers.offer(1, 200_000)) == ""


def test_a_yes_is_good_for_a_week(text):
    offer = buyers.offer(1, 200_000)
    word(text, offer)
    yes()
    admission = gate.verify(Presented(bearer=text), offer)
    Approval.objects.update(decided_at=timezone.now() - approvals.YES_IS_GOOD_FOR - timedelta(seconds=1))
    with pytest.raises(gate.PaymentRequired) as late:
        admission.settle()
    assert (late.value.word, late.value.approve_at) == ("approval_required", approvals.url(Approval.objects.get().id))
    assert word(text, offer) == "approval_required"
    assert Approval.objects.get().state == "asked"
    yes()
    assert word(text, offer) == ""


def test_a_yes_beyond_the_budget_buys_nothing_and_is_not_used_up():
    purse = buyers.purse(5_000_000)
    text = buyers.key(purse, approve_above_micros=0, day_budget_micros=100_000)
    offer = buyers.offer(1, 200_000)
    assert word(text, offer) == "day_budget_exhausted"
    assert not Approval.objects.exists()
    purse.keys.update(day_budget_micros=None)
    word(text, offer)
    yes()
    purse.keys.update(day_budget_micros=100_000)
    assert word(text, offer) == "day_budget_exhausted"
    assert Approval.objects.get().state == "approved"


def test_a_dead_key_asks_nothing_and_its_questions_wait_no_longer(text):
    word(text, buyers.offer(1, 200_000))
    one = Approval.objects.get()
    assert list(approvals.waiting(one.key.purse)) == [one]
    api_keys.revoke(one.key)
    assert word(text, buyers.offer(2, 200_000)) == "invalid_key"
    assert list(approvals.waiting(one.key.purse)) == []
    assert not approvals.approve(one, 200_000)


def test_an_agent_that_asks_for_everything_is_told_where_and_fills_no_table(text, monkeypatch):
    monkeypatch.setattr(approvals, "WAITING_MAX", 3)
    assert {word(text, buyers.offer(number, 200_000)) for number in range(1, 7)} == {"approval_required"}
    assert Approval.objects.count() == 3


def test_many_first_tries_at_once_are_one_question(text):
    assert _at_once(12, text, buyers.offer(1, 200_000)) == ["approval_required"] * 12
    assert Approval.objects.count() == 1


def test_many_retries_after_one_yes_buy_once_and_all_read(text):
    offer = buyers.offer(1, 200_000)
    word(text, offer)
    yes()
    assert _at_once(12, text, offer) == [""] * 12
    assert (Payment.objects.count(), Approval.objects.get().state) == (1, "used")
    assert Debit.objects.get().key.spent_micros == 200_000


def _at_once(number: int, text: str, offer: Offer) -> list[str]:
    start, said = threading.Barrier(number), []

    def run() -> None:
        try:
            start.wait(20)
            said.append(word(text, offer))
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said
