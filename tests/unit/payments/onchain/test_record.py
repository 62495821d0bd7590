"""What becomes of a payment: by the token's logs, whoever sent them, whenever they come, and when they leave again."""

import os

import pytest
from django.conf import settings

from payments import audit, gate
from payments.books import accounts, ledger
from payments.models import Chain, Grant, Payment, PaymentState, Submission, Transaction, Transfer
from payments.offers import Offer
from payments.onchain import logs, record, watcher
from payments.onchain import rpc as node
from payments.onchain.logs import SeenTransfer
from tests.unit.payments.counter import Counter, offer
from tests.wallet import decoded

pytestmark = pytest.mark.django_db(transaction=True)


def state(payment: Payment) -> tuple[str, str]:
    payment.refresh_from_db()
    return payment.state, payment.reason


def suspense() -> int:
    return ledger.balance(accounts.suspense(settings.CHAIN_ID))


def owns(payment: Payment) -> bool:
    return Grant.objects.filter(payment=payment, revoked_at=None).exists()


# --- Money that comes late, early, or for nobody ------------------------------------------------------


@pytest.mark.parametrize("before", [PaymentState.RELEASED, PaymentState.FAILED])
def test_a_transfer_that_comes_late_all_the_same_is_the_purchase(counter: Counter, before: str):
    """A payment that was given up is not forgotten: its money is the buyer's purchase whenever it comes."""
    wallet = counter.wallet(0)
    header = counter.sign(wallet, offer())
    payment = counter.claim_without_money(offer(), header)
    counter.work()
    assert state(payment) == (PaymentState.RELEASED, "insufficient_funds")
    Payment.objects.update(state=before)
    counter.chain.mint(wallet.address, 50_000)
    counter.settle_as_observer(header)
    watcher.watch()
    assert state(payment) == (PaymentState.CONFIRMED, "")
    assert owns(payment)
    assert (suspense(), ledger.balance("publisher:7:earned")) == (0, 47_500)


def test_money_for_nobody_waits_in_suspense_and_counts_once_for_its_first_presenter(counter: Counter):
    wallet = counter.wallet()
    header = counter.sign(wallet, offer(1))
    counter.settle_as_observer(header)
    watcher.watch()
    assert suspense() == 50_000
    assert counter.present(header, offer(1)).payment.state == PaymentState.CONFIRMED
    assert (suspense(), ledger.balance("publisher:7:earned")) == (0, 47_500)
    assert not Submission.objects.exists()
    with pytest.raises(gate.PaymentRequired, match="authorization_spent_elsewhere"):
        counter.present(header, offer(2))


def test_money_that_came_without_an_authorization_pays_for_nothing(counter: Counter):
    wallet = counter.wallet()
    payment = counter.claim(wallet, offer())
    pay_to = counter.settings.PAY_TO
    counter.send("mint(address,uint256)", ["address", "uint256"], pay_to, 50_000)
    watcher.watch()
    assert state(payment) == (PaymentState.CLAIMED, "")
    assert suspense() == 50_000
    counter.work()
    assert state(payment) == (PaymentState.CONFIRMED, "")
    assert suspense() == 50_000


def test_less_money_by_the_same_nonce_buys_nothing_and_stays_in_suspense(counter: Counter):
    """The payer signs the nonce twice, presents the full amount and settles the other by itself."""
    wallet = counter.wallet()
    header = counter.sign(wallet, offer())
    with pytest.raises(gate.PaymentInFlight):
        counter.present(header, offer())
    nonce = decoded(header)["payload"]["authorization"]["nonce"]
    counter.settle_as_observer(counter.sign(wallet, offer(), nonce=nonce, value=1))
    watcher.watch()
    counter.work()
    assert state(Payment.objects.get()) == (PaymentState.RELEASED, "authorization_used")
    assert (suspense(), ledger.balance("publisher:7:earned")) == (1, 0)


def test_two_given_up_payments_of_one_buyer_that_are_both_paid_at_once_are_one_sale_and_change(counter: Counter):
    """They come in one block: the first is the purchase, and the second must not stop the watcher for ever."""
    wallet = counter.wallet(0)
    headers = []
    for _ in range(2):
        headers.append(counter.sign(wallet, offer()))
        counter.claim_without_money(offer(), headers[-1])
        counter.work()
    assert set(Payment.objects.values_list("state", flat=True)) == {PaymentState.RELEASED}
    counter.chain.mint(wallet.address, 100_000)
    for header in headers:
        counter.settle_as_observer(header)
    watcher.watch()
    assert sorted(Payment.objects.values_list("state", flat=True)) == [PaymentState.CONFIRMED, PaymentState.RELEASED]
    assert (suspense(), ledger.balance("publisher:7:earned")) == (50_000, 47_500)
    for header in headers:
        assert counter.present(header, offer()).grant == Grant.objects.get()


def test_a_late_transfer_of_a_buyer_who_has_bought_by_another_payment_stays_in_suspense(counter: Counter):
    wallet = counter.wallet(0)
    first = counter.sign(wallet, offer())
    counter.claim_without_money(offer(), first)
    counter.work()
    counter.chain.mint(wallet.address, 100_000)
    assert owns(counter.buy(wallet, offer()))
    counter.settle_as_observer(first)
    watcher.watch()
    assert Payment.objects.filter(state=PaymentState.RELEASED).count() == 1
    assert suspense() == 50_000


@pytest.mark.parametrize("twice", [1, 3])
def test_the_same_fact_may_be_brought_any_number_of_times(counter: Counter, twice: int):
    payment = counter.claim(counter.wallet(), offer())
    counter.turn()
    counter.mine()
    seen = logs.transfers_between(0, node.block("latest").number)
    for _ in range(twice):
        record.transfers([one for one in seen if one.nonce == payment.authorization.nonce])
    assert state(payment) == (PaymentState.CONFIRMED, "")
    assert Transaction.objects.count() == Transfer.objects.count() == Grant.objects.count() == 1


@pytest.mark.planted
def test_a_transfer_wider_than_the_books_is_kept_and_said(counter: Counter):
    counter.send("mint(address,uint256)", ["address", "uint256"], counter.settings.PAY_TO, 2**200)
    watcher.watch()
    assert Transfer.objects.get().value == 2**200
    assert not Transaction.objects.exists()
    assert [finding.word for finding in audit.findings()] == ["transfer_unbooked"]


# --- When a payment can never happen ------------------------------------------------------------------


@pytest.mark.usefixtures("no_finalized_block")
def test_a_payment_fails_only_when_a_final_block_is_past_its_end(counter: Counter):
    payment = counter.claim_without_money(offer())
    counter.mine(1, seconds_later=301)
    counter.settings.CHAIN_FINALITY_DEPTH = 3
    watcher.watch()
    assert state(payment) == (PaymentState.CLAIMED, "")
    counter.mine(2)
    watcher.watch()
    assert state(payment) == (PaymentState.CLAIMED, "")
    counter.mine(1)
    watcher.watch()
    assert state(payment) == (PaymentState.FAILED, "authorization_expired")


def test_our_own_clock_ends_nothing(counter: Counter, monkeypatch: pytest.MonkeyPatch):
    payment = counter.claim(counter.wallet(), offer())
    monkeypatch.setattr("time.time", lambda: payment.authorization.valid_before + 10_000.0)
    watcher.watch()
    counter.mine()
    watcher.watch()
    assert state(payment) == (PaymentState.CLAIMED, "")
    counter.work()
    assert state(payment) == (PaymentState.CONFIRMED, "")


def test_what_was_released_keeps_its_reason_when_it_fails(counter: Counter):
    payment = counter.claim_without_money(offer())
    counter.work()
    counter.mine(3, seconds_later=400)
    watcher.watch()
    assert state(payment) == (PaymentState.FAILED, "insufficient_funds")


@pytest.mark.usefixtures("no_finalized_block")
def test_a_sale_is_final_when_its_block_is_as_deep_as_was_asked(counter: Counter):
    counter.settings.CHAIN_FINALITY_DEPTH = 3
    payment = counter.claim(counter.wallet(), offer())
    counter.turn()
    counter.mine()
    counter.turn()
    assert state(payment) == (PaymentState.CONFIRMED, "")
    for _ in range(2):
        counter.mine()
        watcher.watch()
        assert state(payment) == (PaymentState.CONFIRMED, "")
    counter.mine()
    watcher.watch()
    assert state(payment) == (PaymentState.FINAL, "")
    assert Transfer.objects.get().final


def test_a_sale_is_confirmed_when_its_block_is_as_deep_as_was_asked(counter: Counter):
    counter.settings.CHAIN_CONFIRMATIONS = 3
    payment = counter.claim(counter.wallet(), offer())
    counter.turn()
    for _ in range(2):
        counter.mine()
        counter.turn()
        watcher.watch()
        assert state(payment) == (PaymentState.SIGNED, "")
    counter.mine()
    counter.turn()
    assert state(payment) == (PaymentState.CONFIRMED, "")


# --- Reorganisations ----------------------------------------------------------------------------------


def bought(counter: Counter, wanted: Offer) -> tuple[Payment, Transfer]:
    payment = counter.buy(counter.wallet(), wanted)
    return payment, payment.transfers.get()


def test_a_transfer_that_left_the_chain_is_taken_back_with_all_that_it_brought(counter: Counter):
    payment, transfer = bought(counter, offer())
    record.take_back(transfer)
    assert state(payment) == (PaymentState.SIGNED, "")
    assert (payment.sale, payment.decided_at, payment.reversals) == (None, None, 1)
    assert not owns(payment)
    assert set(ledger.balances(ledger.Q()).values()) == {0}
    assert Submission.objects.get().state == Submission.State.SENT
    record.take_back(transfer)
    assert Transaction.objects.count() == 2
    counter.turn()
    assert state(payment) == (PaymentState.CONFIRMED, "")
    assert owns(payment)
    assert Transaction.objects.filter(key=f"sale:{payment.id}:1").exists()


def test_money_in_suspense_that_left_the_chain_is_taken_back(counter: Counter):
    counter.chain.mint(counter.settings.PAY_TO, 5)
    watcher.watch()
    record.take_back(Transfer.objects.get())
    assert suspense() == 0
    record.transfers(logs.transfers_between(0, node.block("latest").number)[-1:])
    assert suspense() == 5


def test_a_sale_out_of_suspense_that_left_the_chain_is_taken_back_to_the_world(counter: Counter):
    wallet = counter.wallet()
    header = counter.sign(wallet, offer())
    counter.settle_as_observer(header)
    watcher.watch()
    payment = counter.present(header, offer()).payment
    record.take_back(payment.transfers.get())
    assert state(payment) == (PaymentState.CLAIMED, "")
    assert set(ledger.balances(ledger.Q()).values()) == {0}
    counter.work()
    assert state(payment) == (PaymentState.CONFIRMED, "")
    assert (suspense(), ledger.balance("publisher:7:earned")) == (0, 47_500)


def test_a_chain_that_flips_back_and_forth_ends_with_one_sale(counter: Counter):
    """The very same block returns, twice: its row is used again, and every entry has a name of its own."""
    payment, transfer = bought(counter, offer())
    seen = [one for one in logs.transfers_between(0, node.block("latest").number) if one.nonce == transfer.nonce]
    for flips in (1, 2, 3):
        transfer.refresh_from_db()
        record.take_back(transfer)
        assert not owns(payment)
        record.transfers(seen)
        assert state(payment) == (PaymentState.CONFIRMED, "")
        transfer.refresh_from_db()
        assert (transfer.orphanings, transfer.orphaned_at, payment.reversals) == (flips, None, flips)
    assert ledger.balance("publisher:7:earned") == 47_500
    assert Transaction.objects.count() == 7
    assert Transfer.objects.count() == 1
    counter.work()
    watcher.watch()


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_watcher_finds_a_reorganisation_and_the_settler_pays_again(counter: Counter, depth: int):
    wallet = counter.wallet()
    payment = counter.claim(wallet, offer())
    counter.turn()
    counter.mine()
    counter.turn()
    counter.mine(depth - 1)
    watcher.watch()
    assert state(payment)[0] in (PaymentState.CONFIRMED, PaymentState.FINAL)
    counter.chain.rpc("anvil_reorg", depth, [])
    counter.mine()
    watcher.watch()
    assert not owns(payment) or payment.transfers.get(orphaned_at=None).block_hash
    counter.work()
    counter.mine()
    watcher.watch()
    assert state(payment)[0] in (PaymentState.CONFIRMED, PaymentState.FINAL)
    assert owns(payment)
    assert counter.chain.balance(wallet.address) == 9_950_000
    assert ledger.balance("publisher:7:earned") == 47_500


def test_a_block_that_a_node_merely_forgets_to_mention_takes_nothing_back(counter: Counter, monkeypatch):
    payment, transfer = bought(counter, offer())
    Chain.objects.update(scanned_to=transfer.block_number - 1, scanned_hash=node.block(transfer.block_number - 1).hash)
    monkeypatch.setattr(logs, "transfers_between", lambda first, last, known: [])
    watcher.watch()
    monkeypatch.undo()
    assert owns(payment)
    assert state(payment)[0] in (PaymentState.CONFIRMED, PaymentState.FINAL)


@pytest.mark.planted
def test_a_transfer_that_was_sold_while_it_left_the_chain_leaves_no_grant_behind(counter: Counter):
    wallet = counter.wallet()
    header = counter.sign(wallet, offer())
    counter.settle_as_observer(header)
    watcher.watch()
    stale = Transfer.objects.get()
    counter.present(header, offer())
    assert Grant.objects.filter(revoked_at=None).count() == 1
    record.take_back(stale)
    assert not Grant.objects.filter(revoked_at=None).exists()
    assert Payment.objects.get().state == PaymentState.CLAIMED
    assert set(ledger.balances(ledger.Q()).values()) == {0}


def test_nothing_becomes_final_whose_block_is_not_there(counter: Counter):
    head = node.block("latest")
    counter.mine(3)
    phantom = SeenTransfer(
        head.number, os.urandom(32), os.urandom(32), 0, node.token(), b"\x01" * 20, node.pay_to(), 7, None
    )
    watcher.watch()
    record.transfers([phantom])
    assert ledger.balance(accounts.suspense(settings.CHAIN_ID)) == 7
    watcher.watch()
    counter.mine()
    watcher.watch()
    assert Transfer.objects.get().orphaned_at
    assert ledger.balance(accounts.suspense(settings.CHAIN_ID)) == 0
