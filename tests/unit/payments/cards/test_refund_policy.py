"""What money back may cost the shop: the processor's fee, articles read for nothing, and debts too small for a card."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from payments import purses
from payments.books import ledger, reports
from payments.cards import holds, refunds, tabs
from payments.models import CardRefund, Charge, Grant, Payment, Purse
from tests import buyers
from tests.bank import Bank
from tests.buyers import balance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]
FEE = 450_000  # Of a $5 payment: 2.9% and 30 cents.


@pytest.fixture(autouse=True)
def as_an_operator_has_it(settings: Any) -> None:
    settings.REFUND_FEE_PAID_BY = "buyer"


def costs() -> int:
    return -ledger.balance("expense:processor", "USD")


@pytest.mark.both_sides("REFUNDS_PER_DAY")
def test_reading_everything_and_giving_it_all_back_has_a_bound_and_costs_the_shop_nothing(bank: Bank):
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    words = []
    for number in range(40):
        bought = buyers.press(purse, buyers.offer(number, 1_000_000))
        try:
            purses.refund(bought.payment.id, purse)
        except purses.PurseRefused as refused:
            words.append(refused.word)
            break
    assert (number, words, balance(purse)) == (3, ["too_many_refunds"], 4_000_000)
    assert costs() == FEE
    (found,) = refunds.refundable(purse)
    assert (found.micros, found.fee_micros, found.to_card_micros) == (4_000_000, 360_000, 3_640_000)
    refund = refunds.to_card(purse, charge, 4_000_000)
    assert (refund.state, refund.amount_micros, balance(purse)) == ("done", 3_640_000, 0)
    assert costs() == FEE - 360_000
    assert refunds.refundable(purse) == []
    bank.agrees()


def test_a_buyer_may_refund_again_a_day_later(settings: Any):
    settings.REFUNDS_PER_DAY = 1
    purse = buyers.purse(5_000_000)
    for number in range(2):
        bought = buyers.press(purse, buyers.offer(number, 1_000_000))
        purses.refund(bought.payment.id, purse)
        assert purses.refunds_left(purse) == 0
        Payment.objects.update(decided_at=F("decided_at") - timedelta(days=1))


def test_the_shop_may_pay_the_fee(bank: Bank, settings: Any):
    settings.REFUND_FEE_PAID_BY = "shop"
    purse = buyers.purse()
    refund = refunds.to_card(purse, bank.top_up(purse, 500), 5_000_000)
    assert (refund.amount_micros, costs()) == (5_000_000, FEE)


def test_of_a_card_that_the_bank_warned_of_all_goes_back(bank: Bank):
    purse = buyers.purse()
    assert refunds.of_warned(bank.top_up(purse, 500)).amount_micros == 5_000_000


@pytest.mark.parametrize("ends", ["refused", "fails later"])
def test_the_fee_of_a_refund_that_does_not_reach_the_card_returns(bank: Bank, ends: str):
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    if ends == "refused":
        Charge.objects.update(intent="pi_gone")
        assert refunds.to_card(purse, charge, 5_000_000).state == "refused"
        Charge.objects.update(intent=charge.intent)
    else:
        refund = refunds.to_card(purse, charge, 5_000_000)
        bank.do(f"refunds/{refund.stripe_refund_id}/fail")
        bank.bring()
        assert CardRefund.objects.get().state == "failed"
    assert (balance(purse), costs()) == (5_000_000, FEE)
    assert refunds.refundable(purse)[0].micros == 5_000_000
    bank.agrees()


def test_before_the_fee_is_known_nothing_can_be_refunded(bank: Bank):
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    Charge.objects.update(fee_micros=None, available_at=None)
    assert refunds.refundable(purse) == []
    with pytest.raises(purses.PurseRefused, match="refund_too_early"):
        refunds.to_card(purse, charge, 5_000_000)
    assert balance(purse) == 5_000_000


# --- Machines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["key", "format", "person"])
def test_what_machines_bought_or_read_is_not_refunded(by: str):
    purse = buyers.purse(5_000_000)
    if by == "key":
        bought = buyers.present(buyers.key(purse), buyers.offer(1, 1_000_000))
    else:
        bought = buyers.press(purse, buyers.offer(1, 1_000_000))
    if by == "format":
        purses.read_by_machine(bought.grant, bought.payment)
    if by == "person":
        purses.refund(bought.payment.id, purse)
        assert balance(purse) == 5_000_000
        return
    with pytest.raises(purses.PurseRefused, match="refund_of_machines"):
        purses.refund(bought.payment.id, purse)
    assert balance(purse) == 4_000_000


def test_the_first_reading_by_a_machine_is_remembered():
    bought = buyers.press(buyers.purse(5_000_000), buyers.offer(1, 1_000_000))
    purses.read_by_machine(bought.grant, bought.payment)
    first = Grant.objects.get().machine_read_at
    purses.read_by_machine(bought.grant, bought.payment)
    assert Grant.objects.get().machine_read_at == first is not None


def test_what_was_refunded_meanwhile_is_not_sent_to_a_machine():
    purse = buyers.purse(5_000_000)
    bought = buyers.press(purse, buyers.offer(1, 1_000_000))
    purses.refund(bought.payment.id, purse)
    assert purses.read_by_machine(bought.grant, bought.payment) is False
    assert Grant.objects.get().machine_read_at is None


# --- Small debts -----------------------------------------------------------------------------------------------------


def owing(micros: int, **more: Any) -> Purse:
    purse = buyers.purse(tab=1_000_000)
    buyers.press(purse, buyers.offer(1, micros))
    tabs.close_tab(purse)
    given = {"owing_since": timezone.now() - timedelta(days=8)} | more
    Purse.objects.filter(id=purse.id).update(**given)
    return purse


@pytest.mark.both_sides("TAB_FORGIVE_CENTS")
def test_a_debt_too_small_for_a_card_is_written_off_when_its_tab_was_closed_for_long():
    purse = owing(100_000)
    assert [tabs.forgive_small(), tabs.forgive_small()] == [1, 0]
    assert (balance(purse), ledger.balance("loss:forgiven", "USD")) == (0, -100_000)


@pytest.mark.both_sides("TAB_FORGIVE_CENTS")
@pytest.mark.parametrize(
    ("micros", "more"),
    [
        (100_001, {}),
        (100_000, {"tab_limit_micros": 1_000_000}),
        (100_000, {"owing_since": timezone.now() - timedelta(days=6)}),
        (100_000, {"flag": "dispute"}),
    ],
)
def test_no_other_debt_is_written_off(micros: int, more: dict[str, Any]):
    purse = owing(micros, **more)
    assert tabs.forgive_small() == 0
    assert balance(purse) == -micros


def test_the_publisher_earns_what_a_written_off_debt_bought():
    owing(100_000)
    week = timedelta(days=8)
    assert holds.clear(timezone.now() + week) == 0
    tabs.forgive_small()
    assert holds.clear(timezone.now() + week) == 1
    assert ledger.balance("publisher:7:earned", "USD") == 95_000


def test_the_fee_that_a_buyer_paid_covers_no_sale(bank: Bank):
    """Of $10 half is spent and half refunded: what a tab bought beside it is not paid."""
    purse = buyers.purse()
    charge = bank.top_up(purse, 1000)
    buyers.press(purse, buyers.offer(1, 5_000_000))
    refunds.to_card(purse, charge, 5_000_000)
    Purse.objects.update(tab_limit_micros=1_000_000)
    buyers.press(purse, buyers.offer(2, 200_000))
    assert holds.clear(timezone.now() + timedelta(days=8)) == 1
    assert [one.resource for one in Payment.objects.filter(state="final")] == ["article:1"]


def test_nothing_is_written_off_when_the_setting_says_so(settings: Any):
    settings.TAB_FORGIVE_CENTS = 0
    purse = owing(100)
    assert tabs.forgive_small() == 0
    assert balance(purse) == -100


def test_the_next_top_up_pays_a_small_debt(bank: Bank):
    purse = owing(100_000)
    bank.top_up(purse, 500)
    assert (tabs.forgive_small(), balance(purse)) == (0, 4_900_000)


def test_the_owner_sees_what_was_written_off():
    owing(100_000)
    tabs.forgive_small()
    assert reports.cards().losses_micros == 100_000


def test_what_was_refunded_with_its_fee_cannot_be_refunded_again(bank: Bank):
    purse = buyers.purse()
    charge = bank.top_up(purse, 1000)
    bank.top_up(purse, 500)
    refunds.to_card(purse, charge, 10_000_000)
    charge.refresh_from_db()
    assert refunds._unrefunded(charge) == 0
    with pytest.raises(purses.PurseRefused, match="refund_too_large"):
        refunds.to_card(purse, charge, 100_000)
