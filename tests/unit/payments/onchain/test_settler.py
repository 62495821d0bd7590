"""The settler, a turn at a time: batches, refusals, stuck and lost transactions. The same money never moves twice."""

import pytest
from django.db import DatabaseError

from payments import gate
from payments.models import Attempt, Authorization, Payment, PaymentState, Submission
from payments.onchain import logs, payers, watcher
from payments.onchain import rpc as node
from tests.unit.payments.counter import Counter, offer

from .test_record import state

pytestmark = pytest.mark.django_db(transaction=True)


def test_everything_that_waits_is_settled_in_one_transaction(counter: Counter):
    payments = [counter.claim(counter.wallet(), offer(n)) for n in range(12)]
    counter.turn()
    counter.mine()
    counter.turn()
    assert {state(payment)[0] for payment in payments} == {PaymentState.CONFIRMED}
    assert Submission.objects.count() == Attempt.objects.count() == 1


def test_a_batch_is_no_longer_than_it_may_be(counter: Counter):
    counter.settings.BATCH_MAX = 5
    payments = [counter.claim(counter.wallet(), offer(n)) for n in range(12)]
    counter.turn()
    assert [state(payment)[0] for payment in payments] == [PaymentState.SIGNED] * 5 + [PaymentState.CLAIMED] * 7
    counter.turn()
    counter.turn()
    counter.mine()
    counter.turn()
    assert {state(payment)[0] for payment in payments} == {PaymentState.CONFIRMED}
    assert sorted(s.authorizations.count() for s in Submission.objects.all()) == [2, 5, 5]


def test_a_crowd_of_one_payers_claims_does_not_stand_before_another_payer(counter: Counter):
    counter.settings.BATCH_MAX = 2
    crowd = [counter.claim(wallet := counter.wallet(), offer(1)), *(counter.claim(wallet, offer(n)) for n in (2, 3, 4))]
    late = counter.claim(counter.wallet(), offer(5))
    counter.turn()
    assert [state(payment)[0] for payment in (*crowd, late)] == [
        PaymentState.SIGNED, PaymentState.CLAIMED, PaymentState.CLAIMED, PaymentState.CLAIMED, PaymentState.SIGNED,
    ]  # fmt: skip
    counter.work()
    assert {state(payment)[0] for payment in crowd} == {PaymentState.CONFIRMED}


def test_bad_ones_in_a_batch_are_left_out_and_the_others_are_paid(counter: Counter):
    good = [counter.claim(counter.wallet(), offer(n)) for n in range(3)]
    poor = counter.claim_without_money(offer(3))
    wallet = counter.wallet()
    cancelled = counter.sign(wallet, offer(4))
    with pytest.raises(gate.PaymentInFlight):
        counter.present(cancelled, offer(4))
    counter.cancel(wallet, cancelled)
    counter.work()
    assert {state(payment) for payment in good} == {(PaymentState.CONFIRMED, "")}
    assert state(poor) == (PaymentState.RELEASED, "insufficient_funds")
    assert state(Payment.objects.get(resource="article:4")) == (PaymentState.RELEASED, "authorization_used")
    assert Submission.objects.count() == 1
    assert not Authorization.objects.exclude(wasted_at=None).exists()


def test_one_that_turns_bad_in_the_block_costs_the_others_nothing(counter: Counter):
    good = counter.claim(counter.wallet(), offer(1))
    spender = counter.wallet(50_000)
    bad = counter.claim(spender, offer(2))
    counter.spend(spender.address, 50_000)
    counter.turn()
    assert state(bad)[0] == PaymentState.SIGNED
    counter.mine()
    counter.turn()
    assert state(good) == (PaymentState.CONFIRMED, "")
    bad.authorization.refresh_from_db()
    assert bad.authorization.wasted_at
    counter.work()
    assert state(bad) == (PaymentState.RELEASED, "settlement_failed")
    assert Submission.objects.count() == 1


def test_too_little_money_is_certain_and_the_same_header_pays_when_there_is_enough(counter: Counter):
    wallet = counter.wallet(50_000)
    header = counter.sign(wallet, offer())
    with pytest.raises(gate.PaymentInFlight):
        counter.present(header, offer())
    counter.spend(wallet.address, 1)
    counter.mine()
    counter.work()
    payment = Payment.objects.get()
    assert state(payment) == (PaymentState.RELEASED, "insufficient_funds")
    with pytest.raises(gate.PaymentRequired, match="insufficient_funds"):  # It tries again, and is told at once.
        counter.present(header, offer())
    assert state(payment)[0] == PaymentState.RELEASED
    assert not Submission.objects.exists()
    counter.chain.mint(wallet.address, 1)
    with pytest.raises(gate.PaymentInFlight):
        counter.present(header, offer())
    counter.work()
    assert counter.present(header, offer()).payment == payment
    assert counter.chain.balance(wallet.address) == 0


def test_a_payer_of_two_things_with_money_for_one_gets_one_at_a_time(counter: Counter):
    wallet = counter.wallet(50_000)
    first = counter.claim(wallet, offer(1))
    with pytest.raises(gate.CannotSay):  # Perhaps the first fails: this is no refusal yet.
        counter.present(counter.sign(wallet, offer(2)), offer(2))
    counter.work()
    assert state(first) == (PaymentState.CONFIRMED, "")
    with pytest.raises(gate.PaymentRequired, match="insufficient_funds"):
        counter.present(counter.sign(wallet, offer(2)), offer(2))


def test_two_claims_with_money_for_one_are_one_sale(counter: Counter):
    """Both were claimed before the money for the second was gone."""
    wallet = counter.wallet(50_000)
    payments = [counter.claim_without_money(offer(n), counter.sign(wallet, offer(n))) for n in (1, 2)]
    counter.work()
    assert sorted(state(payment) for payment in payments) == [
        (PaymentState.CONFIRMED, ""),
        (PaymentState.RELEASED, "insufficient_funds"),
    ]


# --- Transactions that are stuck, dropped or lost -----------------------------------------------------


def test_a_stuck_transaction_is_replaced_by_one_with_a_higher_fee_at_the_same_nonce(counter: Counter):
    payment = counter.claim(counter.wallet(), offer())
    counter.turn()
    first = Attempt.objects.get()
    counter.chain.rpc("anvil_dropTransaction", "0x" + first.tx_hash.hex())
    counter.settings.FEE_BUMP_SECONDS = 0
    counter.turn()
    counter.turn()
    assert Attempt.objects.count() == 1  # No block has come since it was seen waiting.
    counter.chain.rpc("anvil_dropTransaction", "0x" + first.tx_hash.hex())
    counter.mine(seconds_later=60)
    counter.turn()
    second = Attempt.objects.exclude(id=first.id).get()
    assert second.submission == first.submission
    assert second.max_fee >= first.max_fee * 110 // 100
    assert second.priority_fee >= first.priority_fee * 110 // 100
    counter.settings.FEE_BUMP_SECONDS = 60
    counter.mine()
    counter.turn()
    assert state(payment) == (PaymentState.CONFIRMED, "")
    assert Submission.objects.count() == 1


def test_under_load_that_never_ends_only_what_is_on_its_way_is_remembered(counter: Counter):
    for number in range(3):
        counter.mine()
        counter.claim(counter.wallet(), offer(number + 1))
        counter.turn()
        counter.turn()
        assert Submission.objects.filter(state=Submission.State.SENT).count() == 1
        assert set(counter.settler._waiting_at) == {Attempt.objects.latest("id").id}
    counter.work()


def test_whichever_attempt_is_mined_pays(counter: Counter):
    payment = counter.claim(counter.wallet(), offer())
    counter.turn()
    first = Attempt.objects.get()
    counter.turn()
    counter.settings.FEE_BUMP_SECONDS = 0
    counter.chain.rpc("anvil_dropTransaction", "0x" + first.tx_hash.hex())
    counter.mine(seconds_later=60)
    counter.turn()
    second = Attempt.objects.exclude(id=first.id).get()
    counter.chain.rpc("anvil_dropTransaction", "0x" + second.tx_hash.hex())
    counter.chain.rpc("eth_sendRawTransaction", "0x" + first.raw.hex())
    counter.settings.FEE_BUMP_SECONDS = 60
    counter.mine()
    counter.turn()
    assert state(payment) == (PaymentState.CONFIRMED, "")


def test_the_fee_stops_at_the_highest_allowed(counter: Counter):
    counter.settings.FEE_BUMP_SECONDS = 0
    counter.claim(counter.wallet(), offer())
    counter.turn()
    counter.settings.MAX_FEE_GWEI = 3
    for _ in range(12):
        counter.chain.rpc("anvil_dropAllTransactions")
        counter.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(2 * 10**9))  # Twice that is more than is allowed.
        counter.mine(seconds_later=5)
        counter.turn()
    assert max(Attempt.objects.values_list("max_fee", flat=True)) <= 3 * 10**9
    counter.settings.FEE_BUMP_SECONDS = 60
    counter.turn()
    counter.mine()
    counter.turn()
    assert Payment.objects.get().state == PaymentState.CONFIRMED


def test_a_dropped_transaction_is_sent_again_byte_for_byte(counter: Counter):
    payment = counter.claim(counter.wallet(), offer())
    counter.turn()
    counter.chain.rpc("anvil_dropAllTransactions")
    counter.mine()
    assert state(payment)[0] == PaymentState.SIGNED
    counter.turn()
    counter.mine()
    counter.turn()
    assert state(payment) == (PaymentState.CONFIRMED, "")
    assert Attempt.objects.count() == 1


def test_another_settler_goes_on_from_the_rows_of_one_that_died_before_sending(counter: Counter, monkeypatch):
    payment = counter.claim(counter.wallet(), offer())
    with monkeypatch.context() as dead:
        dead.setattr(node, "send", lambda raw: None)
        counter.turn()
    counter.mine()
    assert state(payment)[0] == PaymentState.SIGNED
    counter.settler.lease.let_go()
    counter.work(counter.another_settler())
    assert state(payment) == (PaymentState.CONFIRMED, "")
    assert Attempt.objects.count() == 1


def test_a_nonce_that_somebody_else_used_is_lost_and_the_payment_is_sent_with_the_next(counter: Counter, monkeypatch):
    payment = counter.claim(counter.wallet(), offer())
    with monkeypatch.context() as unsent:
        unsent.setattr(node, "send", lambda raw: None)
        counter.turn()
    key = counter.chain.accounts.settler.address
    counter.chain.rpc("eth_sendTransaction", {"from": key, "to": key})
    counter.mine()
    counter.work()
    assert state(payment) == (PaymentState.CONFIRMED, "")
    lost, mined = Submission.objects.order_by("key_nonce")
    assert (lost.state, mined.state) == (Submission.State.LOST, Submission.State.MINED)
    assert mined.key_nonce == lost.key_nonce + 1
    payment.authorization.refresh_from_db()
    assert payment.authorization.wasted_at is None


def test_a_block_that_is_taken_back_puts_its_transactions_under_way_again(counter: Counter):
    payment = counter.buy(counter.wallet(), offer())
    submission = Submission.objects.get()
    assert submission.state == Submission.State.MINED
    counter.chain.rpc("anvil_rollback", 2)
    counter.mine(3, seconds_later=7)
    watcher.watch()
    submission.refresh_from_db()
    assert submission.state == Submission.State.SENT
    counter.work()
    watcher.watch()
    assert state(payment)[0] in (PaymentState.CONFIRMED, PaymentState.FINAL)
    assert Submission.objects.count() == 1


@pytest.mark.parametrize("holds", [True, False], ids=["money there", "money gone"])
def test_a_preempted_payment_whose_chain_is_replaced_is_followed_home(counter: Counter, holds: bool):
    """The observer's block is gone; ours comes back in another one, and what it does decides."""
    wallet = counter.wallet()
    header = counter.sign(wallet, offer())
    with pytest.raises(gate.PaymentInFlight):
        counter.present(header, offer())
    payment = Payment.objects.get()
    counter.turn()
    stored = Attempt.objects.get()
    counter.chain.rpc("anvil_dropTransaction", "0x" + stored.tx_hash.hex())
    counter.settle_as_observer(header)
    watcher.watch()
    assert state(payment)[0] in (PaymentState.CONFIRMED, PaymentState.FINAL)
    counter.chain.rpc("eth_sendRawTransaction", "0x" + stored.raw.hex())
    counter.mine()
    counter.turn()
    assert Submission.objects.get().state == Submission.State.MINED
    counter.chain.rpc("anvil_rollback", 2)
    counter.chain.rpc("anvil_dropAllTransactions")
    if not holds:
        counter.spend(wallet.address, 10_000_000)
        counter.mine()
    counter.chain.rpc("eth_sendRawTransaction", "0x" + stored.raw.hex())
    counter.mine(3)
    watcher.watch()
    counter.work()
    watcher.watch()
    if holds:
        assert state(payment)[0] in (PaymentState.CONFIRMED, PaymentState.FINAL)
        assert counter.chain.balance(wallet.address) == 9_950_000
    else:
        assert state(payment) == (PaymentState.RELEASED, "settlement_failed")


def test_a_claim_that_was_decided_while_it_was_being_signed_is_not_sent(counter: Counter, monkeypatch):
    wallet = counter.wallet()
    header = counter.sign(wallet, offer())
    with pytest.raises(gate.PaymentInFlight):
        counter.present(header, offer())
    simulate = node.simulate

    def overtaken(*arguments):
        answer = simulate(*arguments)
        counter.settle_as_observer(header)
        watcher.watch()
        return answer

    with monkeypatch.context() as slow:
        slow.setattr(node, "simulate", overtaken)
        with pytest.raises(DatabaseError, match="decided while"):
            counter.turn()
    assert not Submission.objects.exists()
    counter.work()
    assert state(Payment.objects.get())[0] in (PaymentState.CONFIRMED, PaymentState.FINAL)


def test_trouble_with_one_claim_does_not_keep_the_others_waiting(counter: Counter, monkeypatch: pytest.MonkeyPatch):
    counter.claim_without_money(offer(1))
    payment = counter.claim(counter.wallet(), offer(2))

    def refuses(*_: object) -> None:
        raise node.RpcRefused(-32000, "no")

    with monkeypatch.context() as patched:
        patched.setattr(payers, "read", refuses)
        counter.turn()
        counter.mine()
        counter.turn()
    payment.refresh_from_db()
    assert payment.state == PaymentState.CONFIRMED
    counter.work()


def test_a_receipt_is_asked_for_once_a_block(counter: Counter, monkeypatch: pytest.MonkeyPatch):
    payment = counter.claim(counter.wallet(), offer())
    counter.turn()
    counter.settler.turn()
    asked: list[bytes] = []
    real = logs.receipt
    monkeypatch.setattr(logs, "receipt", lambda tx_hash: asked.append(tx_hash) or real(tx_hash))
    counter.settler.turn()
    assert asked == []
    counter.mine()
    counter.settler.turn()
    assert len(asked) == 1
    assert state(payment) == (PaymentState.CONFIRMED, "")
