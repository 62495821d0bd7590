"""Each guard of a payment on the chain alone: old rows in somebody's hand, and facts that come while one is written."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from payments.books import accounts, ledger
from payments.models import Attempt, Authorization, Grant, Lease, Payment, PaymentState, Submission, Transfer
from payments.onchain import record
from payments.onchain.lease import LeaseHolder, LeaseLost
from payments.onchain.logs import Receipt
from payments.onchain.settler import Settler
from tests.unit.meanwhile import overtaken

from .silent import KEY, SilentNode, becomes, claim, state, transfer_of, turn

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch) -> SilentNode:
    made = SilentNode()
    made.install(monkeypatch)
    return made


def signed(number: int = 1) -> tuple[Payment, Submission]:
    """A payment that a transaction of ours carries, signed and sent."""
    payment, settler = claim(number), Settler(KEY)
    turn(settler)
    settler.lease.let_go()
    payment.refresh_from_db()
    assert payment.state == PaymentState.SIGNED
    return payment, payment.authorization.submission


def confirmed(number: int = 1) -> Payment:
    payment, _ = signed(number)
    record.transfers([transfer_of(payment)])
    payment.refresh_from_db()
    assert payment.state == PaymentState.CONFIRMED
    return payment


# --- Certainly not charged ------------------------------------------------------------------------------


def test_what_a_signed_transaction_carries_is_not_released():
    payment, submission = signed()
    record.release([payment.id], "insufficient_funds")
    assert (state(payment), payment.reason) == (PaymentState.SIGNED, "")
    payment.authorization.refresh_from_db()
    assert payment.authorization.submission == submission


@pytest.mark.parametrize("where", [PaymentState.SIGNED, PaymentState.FAILED, PaymentState.RELEASED])
def test_a_claim_that_was_decided_meanwhile_is_not_released(where: str):
    payment = claim()
    with overtaken(Payment, becomes(payment, where, reason="first")):
        record.release([payment.id], "insufficient_funds")
    assert (state(payment), payment.reason) == (where, "first")


def test_what_is_paid_is_not_released():
    payment = confirmed()
    record.release([payment.id], "insufficient_funds")
    assert state(payment) == PaymentState.CONFIRMED
    assert Grant.objects.get().revoked_at is None


def test_a_payment_that_was_decided_meanwhile_does_not_fail():
    payment = claim(valid_before=1000)
    with overtaken(Payment, becomes(payment, PaymentState.REFUNDED, reason="first")):
        assert record.fail_expired(_chain(), 1000) == 0
    assert (state(payment), payment.reason) == (PaymentState.REFUNDED, "first")
    Payment.objects.update(state=PaymentState.FAILED)


@pytest.mark.parametrize(("final_time", "failed"), [(999, 0), (1000, 1)])
def test_a_payment_fails_when_a_final_block_is_at_its_end_and_not_before(final_time: int, failed: int):
    claim(valid_before=1000)
    assert record.fail_expired(_chain(), final_time) == failed


def test_what_is_paid_does_not_fail_though_its_time_is_over():
    payment = claim(valid_before=1000)
    record.transfers([transfer_of(payment)])
    assert record.fail_expired(_chain(), 2000) == 0
    assert state(payment) == PaymentState.CONFIRMED


def test_a_payment_of_another_chain_does_not_fail_here():
    payment = claim(valid_before=1000)
    assert record.fail_expired(_chain() + 1, 2000) == 0
    assert state(payment) == PaymentState.CLAIMED


def _chain() -> int:
    return settings.CHAIN_ID


# --- Signing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [PaymentState.RELEASED, PaymentState.FAILED])
def test_a_claim_that_was_decided_while_it_was_signed_is_not_sent(node: SilentNode, where: str):
    """It was found good, and is none any more: all or nothing, and nothing leaves the house."""
    first, second = claim(1), claim(2)
    settler = Settler(KEY)
    with overtaken(Payment, becomes(first, where)), pytest.raises(Exception, match="decided while"):
        turn(settler)
    assert (state(second), node.sent, Submission.objects.count(), Attempt.objects.count()) == (
        PaymentState.CLAIMED,
        [],
        0,
        0,
    )
    assert not Authorization.objects.exclude(submission=None).exists()


def test_who_lost_the_key_between_the_look_and_the_signature_signs_nothing(node: SilentNode):
    payment = claim()
    sleeper, awake = Settler(KEY), Settler(KEY)
    assert sleeper.lease.hold()
    sleeper._caught_up_at = float("inf")
    _runs_out()
    assert awake.lease.hold()
    assert sleeper.lease.hold()
    with pytest.raises(LeaseLost):
        sleeper.turn()
    assert (state(payment), node.sent, Submission.objects.count()) == (PaymentState.CLAIMED, [], 0)


def _runs_out() -> None:
    Lease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def test_a_lease_of_before_is_none_even_under_the_same_name():
    """The fence alone: as if two processes had drawn one name."""
    first, second = LeaseHolder(1, b"k" * 20), LeaseHolder(1, b"k" * 20)
    second.name = first.name
    assert first.hold()
    _runs_out()
    assert second._all().update(holder="")
    assert second.hold()
    with pytest.raises(LeaseLost):
        first.take_nonce()
    first.let_go()
    first.catch_up(50)
    assert second.take_nonce() == 0


def test_who_has_let_the_key_go_signs_with_it_no_more():
    """Nobody has taken it since, so the fence is the same."""
    holder = LeaseHolder(1, b"k" * 20)
    assert holder.hold()
    holder.let_go()
    with pytest.raises(LeaseLost):
        holder.take_nonce()
    assert Lease.objects.get().next_nonce == 0


@pytest.mark.parametrize("where", [PaymentState.RELEASED, PaymentState.FAILED])
def test_what_is_decided_already_stands_in_no_batchs_way(node: SilentNode, where: str):
    """It would be found decided while it is signed, in every turn, and nobody would be settled any more."""
    decided, payment = claim(1), claim(2)
    becomes(decided, where)()
    turn(Settler(KEY))
    assert (node.simulated, state(payment), state(decided)) == ([1], PaymentState.SIGNED, where)


def test_a_batch_of_one_carries_no_payment_that_another_carries(node: SilentNode):
    payment, submission = signed()
    settler = Settler(KEY)
    Payment.objects.filter(id=payment.id).update(state=PaymentState.CLAIMED)
    turn(settler)
    assert Submission.objects.get() == submission
    Payment.objects.filter(id=payment.id).update(state=PaymentState.SIGNED)


# --- What a transaction of ours leaves behind ---------------------------------------------------------------


def test_only_what_it_carries_and_did_not_pay_is_opened_again():
    paid, submission = signed(1)
    other, elsewhere = signed(2)
    record.transfers([transfer_of(paid)])
    record.reopen(submission, mined_at=1_000_000)
    assert (state(paid), state(other)) == (PaymentState.CONFIRMED, PaymentState.SIGNED)
    paid.authorization.refresh_from_db()
    assert (paid.authorization.submission, paid.authorization.wasted_at) == (submission, None)
    record.reopen(elsewhere, mined_at=None)
    assert state(other) == PaymentState.CLAIMED


@pytest.mark.parametrize("where", [PaymentState.REFUNDED, PaymentState.FAILED])
def test_what_was_decided_meanwhile_is_not_opened_again(where: str):
    payment, submission = signed()
    with overtaken(Payment, becomes(payment, where)):
        record.reopen(submission, mined_at=None)
    assert state(payment) == where
    Payment.objects.update(state=PaymentState.FAILED)


def test_gas_that_was_lost_is_marked_at_what_lost_it_and_a_lost_nonce_marks_nothing(node: SilentNode):
    payment, submission = signed()
    record.reopen(submission, mined_at=None)
    assert Authorization.objects.get().wasted_at is None
    Payment.objects.update(state=PaymentState.SIGNED)
    Authorization.objects.update(submission=submission)
    record.reopen(submission, mined_at=1_000_000)
    assert Authorization.objects.get().wasted_at is not None
    assert state(payment) == PaymentState.CLAIMED


def test_a_transaction_that_is_mined_is_not_lost_and_the_other_way_round(node: SilentNode):
    payment, submission = signed()
    settler = Settler(KEY)
    stale = Submission.objects.get()
    settler._mined(submission, Receipt(101, b"\x0c" * 32, 90_000, (transfer_of(payment),)))
    settler._lost(stale)
    submission.refresh_from_db()
    assert (submission.state, submission.block_number) == (Submission.State.MINED, 101)
    assert state(payment) == PaymentState.CONFIRMED


@pytest.mark.parametrize(("later", "said"), [(0, Submission.State.SENT), (2, "sent"), (3, "lost")])
def test_a_used_nonce_without_a_receipt_is_lost_three_blocks_later(node: SilentNode, later: int, said: str):
    """The node that has no receipt may be behind the one that counted."""
    payment, submission = signed()
    node.count, settler = 1, Settler(KEY)
    turn(settler)
    node.number += later
    turn(settler)
    submission.refresh_from_db()
    assert submission.state == said


# --- Recording ------------------------------------------------------------------------------------------


def test_what_was_decided_while_it_was_recorded_is_undone_as_a_whole_and_read_again(monkeypatch: pytest.MonkeyPatch):
    """The condition of the update says so; its own change of the row goes with the first try."""
    payment, other = claim(1), claim(2)
    real, tries = record._record, []
    monkeypatch.setattr(record, "_record", lambda seen: real(seen) if not tries.append(seen) else None)
    with overtaken(Payment, becomes(payment, PaymentState.REFUNDED)):
        record.transfers([transfer_of(payment), transfer_of(other)])
    assert (state(payment), state(other)) == (PaymentState.CONFIRMED, PaymentState.CONFIRMED)
    assert len(tries) == Grant.objects.count() == Transfer.objects.count() == 2
    assert ledger.balance("publisher:7:earned") == 95_000


@pytest.mark.parametrize("where", [PaymentState.CONFIRMED, PaymentState.FINAL])
def test_another_transfer_of_what_is_paid_is_not_a_second_sale(where: str):
    """The same authorization in two blocks, while one of them leaves the chain."""
    payment = confirmed()
    Transfer.objects.update(final=where == PaymentState.FINAL)
    becomes(payment, where)()
    record.transfers([transfer_of(payment, block=2, block_hash=b"\x0d" * 32)])
    assert (ledger.balance("publisher:7:earned"), ledger.balance(accounts.suspense(settings.CHAIN_ID))) == (
        47_500,
        50_000,
    )
    assert Grant.objects.count() == 1


@pytest.mark.parametrize(
    "change",
    [{"value": 49_999}, {"value": 50_001}, {"recipient": b"\x33" * 20}, {"nonce": None}, {"token": b"\x44" * 20}],
)
def test_a_transfer_that_differs_in_one_thing_pays_nothing(change: dict[str, Any]):
    payment = claim()
    record.transfers([replace(transfer_of(payment), **change)])
    assert state(payment) == PaymentState.CLAIMED
    assert not Grant.objects.exists()


def test_only_what_is_not_taken_back_waits_for_its_claim():
    payment = claim()
    proof = payment.authorization
    seen = transfer_of(payment)
    proof_nonce = proof.nonce
    Authorization.objects.update(nonce=b"\x55" * 32)
    record.transfers([seen])
    record.take_back(Transfer.objects.get())
    Authorization.objects.update(nonce=proof_nonce)
    assert not record.claim_received(proof.payer, proof.nonce)
    assert state(payment) == PaymentState.CLAIMED


def test_money_that_another_payment_took_is_not_taken_by_the_next():
    payment = confirmed()
    proof = payment.authorization
    assert not record.claim_received(proof.payer, proof.nonce)
    assert ledger.balance("publisher:7:earned") == 47_500


# --- Taking back ----------------------------------------------------------------------------------------


def test_what_left_the_chain_leaves_it_once():
    payment = confirmed()
    stale = Transfer.objects.select_related("payment__sale", "received").get()
    for _ in range(2):
        record.take_back(stale)
    payment.refresh_from_db()
    assert (payment.state, payment.reversals) == (PaymentState.SIGNED, 1)
    assert Transfer.objects.get().orphanings == 1


def test_a_payment_that_is_not_owned_any_more_is_not_opened_again():
    """Somebody has decided it otherwise while its transfer was taken back."""
    payment = confirmed()
    with overtaken(Payment, becomes(payment, PaymentState.FAILED, sale=None)):
        record.take_back(Transfer.objects.get())
    payment.refresh_from_db()
    assert (payment.state, payment.reversals) == (PaymentState.FAILED, 0)


def test_what_became_final_meanwhile_does_not_stay_so_when_it_left_the_chain():
    payment = confirmed()
    record.finalise(_chain(), 1)
    assert state(payment) == PaymentState.FINAL
    record.take_back(Transfer.objects.get())
    assert state(payment) == PaymentState.SIGNED
    record.finalise(_chain(), 10)
    assert (state(payment), Transfer.objects.get().final) == (PaymentState.SIGNED, False)


@pytest.mark.parametrize(
    ("block", "after"), [(0, PaymentState.CONFIRMED), (1, PaymentState.FINAL), (2, PaymentState.FINAL)]
)
def test_a_sale_is_final_with_its_own_block(block: int, after: str):
    payment = confirmed()
    record.finalise(_chain(), block)
    assert state(payment) == after


def test_a_sale_that_left_the_chain_meanwhile_does_not_become_final():
    payment = confirmed()
    Transfer.objects.update(final=True)
    with overtaken(Payment, becomes(payment, PaymentState.SIGNED, sale=None)):
        record.finalise(_chain(), 1)
    assert state(payment) == PaymentState.SIGNED
    becomes(payment, PaymentState.CONFIRMED, sale=Transfer.objects.get().received)()
