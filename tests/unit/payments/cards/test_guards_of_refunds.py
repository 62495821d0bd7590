"""Each guard of money that goes back to a card, alone."""

from typing import Any

import pytest

from payments import purses
from payments.books import ledger
from payments.cards import charges, disputes, refunds, stripe_api
from payments.cards.facts import RefundFacts
from payments.models import CardRefund, Charge, Purse
from tests import buyers

from .rows import balance, disputed, moved, paid

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nobody_is_asked")]


def word(purse: Purse, charge: Charge, micros: int, **more: Any) -> str:
    """Why nothing goes back; empty when it does."""
    try:
        refunds.to_card(purse, charge, micros, **more)
    except purses.PurseRefused as refused:
        return refused.word
    return ""


def test_no_more_goes_back_than_the_card_has_paid_though_the_balance_has_it(unsent: list[CardRefund]):
    purse = buyers.purse()
    first, _ = paid(purse), paid(purse, intent="pi_2")
    assert word(purse, first, 10_010_000) == "refund_too_large"
    assert word(purse, first, 10_000_000) == ""
    assert word(purse, first, 10_000) == "refund_too_large"
    assert (balance(purse), len(unsent)) == (10_000_000, 1)


def test_what_was_refunded_before_counts_though_the_balance_has_it(unsent: list[CardRefund]):
    purse = buyers.purse()
    first, _ = paid(purse), paid(purse, intent="pi_2")
    refund = refunds.to_card(purse, first, 4_000_000)
    refunds.apply(facts(refund))
    first.refresh_from_db()
    assert first.refunded_micros == 4_000_000
    assert word(purse, first, 6_010_000) == "refund_too_large"
    assert word(purse, first, 6_000_000) == ""


def test_no_more_goes_back_than_is_unspent_though_the_card_has_paid_it(unsent: list[CardRefund]):
    purse = buyers.purse()
    charge = paid(purse)
    buyers.press(purse, buyers.offer(1, 1_000_000))
    assert word(purse, charge, 9_010_000) == "insufficient_balance"
    assert word(purse, charge, 9_000_000) == ""


def test_a_disputed_charge_does_not_go_back_though_its_purse_is_in_order(unsent: list[CardRefund]):
    purse = buyers.purse()
    charge = paid(purse)
    paid(purse, intent="pi_2")
    disputes.apply(disputed("needs_response", moved("txn_1", -300)))
    Purse.objects.update(flag="")
    charge.refresh_from_db()
    assert charge.disputed_micros == 3_000_000
    for frozen in (False, True):
        assert word(purse, charge, 10_000, frozen=frozen) == "charge_disputed"
    assert unsent == []
    assert refunds.refundable(purse) == [(Charge.objects.get(intent="pi_2"), 10_000_000, 0)]
    Purse.objects.update(flag="dispute")


@pytest.mark.parametrize("flag", [flag.value for flag in Purse.Flag if flag.value])
def test_nothing_leaves_a_purse_that_is_not_in_order_though_nothing_is_disputed(unsent: list[CardRefund], flag: str):
    purse = buyers.purse()
    charge = paid(purse)
    assert refunds.refundable(purse) == [(charge, 10_000_000, 0)]
    Purse.objects.update(flag=flag)
    assert refunds.refundable(purse) == []
    assert word(purse, charge, 10_000) == "charge_disputed"
    assert word(purse, charge, 10_000, frozen=True) == ""


def test_another_purses_charge_does_not_go_back_from_mine(unsent: list[CardRefund]):
    purse, other = buyers.purse(), buyers.purse()
    paid(purse)
    with pytest.raises(Charge.DoesNotExist):
        refunds.to_card(purse, paid(other, intent="pi_2"), 10_000)
    assert unsent == []


@pytest.mark.parametrize("micros", [0, -10_000, 5_000, 10_001])
def test_only_whole_cents_go_back(unsent: list[CardRefund], micros: int):
    purse = buyers.purse()
    assert word(purse, paid(purse), micros) == "invalid_amount"


def facts(of: CardRefund, status: str = "succeeded") -> RefundFacts:
    return RefundFacts("re_1", status, of.amount_micros // charges.CENT, of.charge.intent, str(of.id))


@pytest.fixture
def refund(unsent: list[CardRefund]) -> CardRefund:
    """Four of ten dollars, asked for."""
    purse = buyers.purse()
    return refunds.to_card(purse, paid(purse), 4_000_000)


def test_a_refund_is_booked_once_by_whoever_brings_it(refund: CardRefund):
    stale = CardRefund.objects.select_related("charge").get()
    refunds.apply(facts(refund))
    refunds._done(stale, facts(refund))
    assert (Charge.objects.get().refunded_micros, CardRefund.objects.get().state) == (4_000_000, "done")
    assert ledger.balance("world:stripe", "USD") == -6_000_000


def test_a_refund_that_came_back_comes_back_once(refund: CardRefund):
    refunds.apply(facts(refund))
    stale = CardRefund.objects.select_related("charge").get()
    for _ in range(2):
        refunds._failed(stale, facts(refund, "failed"))
    assert (Charge.objects.get().refunded_micros, CardRefund.objects.get().state) == (0, "failed")
    assert balance(refund.charge.purse) == 10_000_000
    refunds.apply(facts(refund))
    assert (CardRefund.objects.get().state, balance(refund.charge.purse)) == ("failed", 10_000_000)


def test_old_news_that_it_failed_does_not_undo_what_went_meanwhile(refund: CardRefund):
    """Whoever brings it read the row while it was only asked for."""
    stale = CardRefund.objects.select_related("charge").get()
    refunds.apply(facts(refund))
    refunds._failed(stale, facts(refund, "failed"))
    assert CardRefund.objects.get().state == "done"
    assert balance(refund.charge.purse) == 6_000_000


def test_what_was_put_aside_comes_back_once(refund: CardRefund):
    stale = CardRefund.objects.select_related("charge").get()
    for _ in range(2):
        refunds._release(stale, "refused")
    assert (CardRefund.objects.get().state, balance(refund.charge.purse)) == ("refused", 10_000_000)
    refunds.apply(facts(refund))
    assert (CardRefund.objects.get().state, balance(refund.charge.purse)) == ("refused", 10_000_000)


def test_a_refund_that_is_decided_is_not_sent_again(refund: CardRefund, monkeypatch: pytest.MonkeyPatch):
    refunds.apply(facts(refund))
    monkeypatch.undo()
    assert refund.state == "asked"
    monkeypatch.setattr(stripe_api, "_call", lambda call: pytest.fail("the processor was asked"))
    assert refunds.drive(refund).state == "done"


def test_a_refund_made_by_hand_is_one_row_whoever_sees_it():
    purse = buyers.purse()
    paid(purse)
    by_hand = RefundFacts("re_hand", "succeeded", 300, "pi_1", "")
    for _ in range(2):
        refunds.apply(by_hand)
    assert (CardRefund.objects.count(), balance(purse)) == (1, 7_000_000)


def test_a_refund_of_what_was_never_paid_is_nobodys():
    charges.begin(buyers.purse(), Charge.Purpose.TOPUP, 5_000_000)
    Charge.objects.update(intent="pi_1", state="canceled")
    refunds.apply(RefundFacts("re_hand", "succeeded", 300, "pi_1", ""))
    assert not CardRefund.objects.exists()
