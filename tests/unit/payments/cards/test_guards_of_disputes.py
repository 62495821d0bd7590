"""Each guard of a dispute and of the flags it leaves, alone."""

from datetime import timedelta

import pytest
from django.utils import timezone

from payments.books import ledger
from payments.cards import charges, disputes, holds
from payments.cards.facts import Money
from payments.models import CardRefund, Charge, Dispute, Payment, PaymentState, Purse, Transaction
from tests import buyers

from .rows import FLAGS, balance, disputed, moved, paid

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nobody_is_asked")]


@pytest.fixture
def spender() -> Purse:
    """Ten dollars came, four were spent: three that are cleared and one that is not."""
    purse = buyers.purse()
    paid(purse)
    buyers.press(purse, buyers.offer(1, 3_000_000))
    Payment.objects.update(decided_at=timezone.now() - timedelta(days=20))
    Charge.objects.update(available_at=timezone.now() - timedelta(days=1))
    assert holds.clear() == 1
    buyers.press(purse, buyers.offer(2, 1_000_000))
    return purse


OUT, BACK = moved("txn_out", -1000, 1500), moved("txn_back", 1000, -1500)


def test_each_movement_of_a_dispute_is_booked_once(spender: Purse):
    for _ in range(2):
        disputes.apply(disputed("needs_response", OUT))
    assert (balance(spender), Dispute.objects.get().withdrawn_micros) == (-4_000_000, 10_000_000)
    assert ledger.balance("loss:dispute_fee", "USD") == -15_000_000


def test_a_fee_without_a_movement_is_booked_once(spender: Purse):
    for _ in range(2):
        disputes.apply(disputed("needs_response", moved("txn_fee", 0, 1500)))
    assert ledger.balance("loss:dispute_fee", "USD") == -15_000_000


def test_a_loss_is_taken_once(spender: Purse):
    for _ in range(2):
        disputes.apply(disputed("lost", OUT))
    assert (balance(spender), ledger.balance("loss:chargeback", "USD")) == (0, -3_000_000)
    assert Payment.objects.filter(state=PaymentState.REFUNDED).count() == 1
    Dispute.objects.update(status="needs_response")
    disputes.apply(disputed("lost", OUT))
    assert ledger.balance("loss:chargeback", "USD") == -3_000_000


def test_a_loss_that_is_told_again_takes_nothing_of_what_is_owed_since(spender: Purse):
    """Staff has trusted the buyer again, who has read on a tab: that is no part of what was lost."""
    disputes.apply(disputed("lost", OUT))
    assert disputes.unfreeze(spender)
    Purse.objects.update(tab_limit_micros=20_000_000)
    bought = buyers.press(spender, buyers.offer(3, 2_000_000)).payment
    disputes.apply(disputed("lost", OUT))
    assert (balance(spender), ledger.balance("loss:chargeback", "USD")) == (-2_000_000, -3_000_000)
    bought.refresh_from_db()
    assert bought.state == PaymentState.CONFIRMED
    assert spender.flag == ""


def test_a_loss_takes_nothing_before_money_has_gone(spender: Purse):
    """Otherwise sales were taken back for a debt that is not there; until then the dispute is open."""
    disputes.apply(disputed("lost"))
    spender.refresh_from_db()
    assert (spender.flag, spender.balance_micros, Dispute.objects.get().lost_at) == ("dispute", 6_000_000, None)
    assert not disputes.unfreeze(spender)
    disputes.apply(disputed("lost", OUT))
    spender.refresh_from_db()
    assert (spender.flag, spender.balance_micros) == ("chargeback", 0)


def test_a_loss_takes_no_more_than_was_withdrawn(spender: Purse):
    """What is owed otherwise is no part of it."""
    Purse.objects.update(tab_limit_micros=20_000_000)
    buyers.press(spender, buyers.offer(3, 9_000_000))
    disputes.apply(disputed("lost", moved("txn_out", -300)))
    assert (balance(spender), ledger.balance("loss:chargeback", "USD")) == (-3_000_000, -2_000_000)


def test_what_was_lost_and_came_back_is_paid_back_once_and_only_when_all_of_it_is_there(spender: Purse):
    disputes.apply(disputed("lost", OUT))
    assert ledger.balance("loss:chargeback", "USD") == -3_000_000
    disputes.apply(disputed("won", OUT, moved("txn_part", 400)))
    assert ledger.balance("loss:chargeback", "USD") == -3_000_000
    for _ in range(2):
        disputes.apply(disputed("won", OUT, moved("txn_part", 400), moved("txn_rest", 600)))
    assert ledger.balance("loss:chargeback", "USD") == 0
    assert balance(spender) == 7_000_000
    assert Dispute.objects.get().lost_at is None


def test_a_loss_that_the_buyer_has_paid_whole_is_no_loss_of_the_platforms_to_pay_back():
    purse = buyers.purse()
    paid(purse)
    disputes.apply(disputed("lost", OUT))
    assert (balance(purse), bool(Dispute.objects.get().lost_at)) == (0, True)
    disputes.apply(disputed("won", OUT, BACK))
    assert (balance(purse), Dispute.objects.get().lost_at) == (10_000_000, None)
    assert not Transaction.objects.filter(kind__in=("dispute_lost", "dispute_recovered")).exists()


def test_a_dispute_that_was_never_lost_recovers_nothing(spender: Purse):
    disputes.apply(disputed("won", OUT, BACK))
    assert not Transaction.objects.filter(kind="dispute_recovered").exists()
    assert balance(spender) == 6_000_000


def test_a_dispute_of_what_was_never_paid_is_nobodys(spender: Purse):
    charge = charges.begin(spender, Charge.Purpose.TOPUP, 5_000_000)
    Charge.objects.filter(id=charge.id).update(intent="pi_9", state="canceled")
    assert disputes.apply(disputed("needs_response", OUT, intent="pi_9")) is None
    disputes.warned("pi_9")
    spender.refresh_from_db()
    assert (spender.flag, Dispute.objects.count()) == ("", 0)


@pytest.mark.parametrize(
    ("status", "money", "after"),
    [
        ("needs_response", (OUT,), ["dispute", "dispute", "dispute", "fraud", "chargeback"]),
        ("won", (OUT, BACK), ["", "past_due", "", "fraud", "chargeback"]),
        ("warning_needs_response", (), ["", "past_due", "", "fraud", "chargeback"]),
        ("lost", (OUT,), ["chargeback"] * 5),
    ],
)
@pytest.mark.parametrize("before", FLAGS)
def test_a_flag_is_only_ever_made_graver_or_lifted_by_its_own_end(
    spender: Purse, status: str, money: tuple[Money, ...], after: list[str], before: str
):
    Purse.objects.update(flag=before)
    disputes.apply(disputed(status, *money))
    spender.refresh_from_db()
    assert spender.flag == after[FLAGS.index(before)]


def test_a_second_open_dispute_keeps_the_purse_frozen_when_the_first_is_won(spender: Purse):
    paid(spender, intent="pi_2")
    disputes.apply(disputed("needs_response", OUT))
    disputes.apply(disputed("needs_response", moved("txn_2", -100), intent="pi_2", name="dp_2"))
    disputes.apply(disputed("won", OUT, BACK))
    spender.refresh_from_db()
    assert spender.flag == "dispute"


@pytest.mark.parametrize(
    ("flag", "lifted"), [("", False), ("past_due", False), ("dispute", False), ("fraud", True), ("chargeback", True)]
)
def test_staff_lifts_what_is_staffs_to_lift(spender: Purse, flag: str, lifted: bool):
    Purse.objects.update(flag=flag)
    assert disputes.unfreeze(spender) is lifted
    spender.refresh_from_db()
    assert spender.flag == ("" if lifted else flag)


def test_staff_lifts_nothing_while_a_dispute_is_open_whatever_the_flag_says(spender: Purse):
    disputes.apply(disputed("needs_response", OUT))
    Purse.objects.update(flag="fraud")
    assert not disputes.unfreeze(spender)
    spender.refresh_from_db()
    assert spender.flag == "fraud"


@pytest.mark.parametrize(
    ("flag", "after"),
    [("", "fraud"), ("past_due", "fraud"), ("dispute", "dispute"), ("fraud", "fraud"), ("chargeback", "chargeback")],
)
def test_a_warning_makes_no_flag_softer(unsent: list[CardRefund], spender: Purse, flag: str, after: str):
    Purse.objects.update(flag=flag)
    disputes.warned("pi_1")
    spender.refresh_from_db()
    assert (spender.flag, [refund.amount_micros for refund in unsent]) == (after, [6_000_000])
