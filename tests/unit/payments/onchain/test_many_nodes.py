"""Nodes that disagree: behind a load balancer each call may be answered by another node, some of them behind."""

import contextlib
import io
import random
from typing import Any

import pytest
import requests
from django.core.management import CommandError, call_command
from web3 import HTTPProvider

from payments import audit, gate
from payments.models import Chain, Payment, PaymentState, Submission, Transfer
from payments.onchain import backoff, logs, rpc, view, watcher
from tests.chain import forget_the_chain
from tests.unit.payments.counter import Counter, offer

from .balancer import Balancer

pytestmark = pytest.mark.django_db(transaction=True)


def settled_meanwhile(counter: Counter, balancer: Balancer) -> Any:
    """What the settler does while a buyer's request waits: signs and sends, and then looks through the balancer."""

    def work(*_: Any) -> None:
        counter.turn()
        counter.mine()
        balancer.on = True
        for _turn in range(3):
            with contextlib.suppress(rpc.ChainUnreachable):
                counter.turn()
        balancer.on = False

    return work


@pytest.mark.parametrize("seed", range(6))
def test_nobody_who_was_charged_is_told_that_they_were_not(counter: Counter, monkeypatch, seed: int):
    """A third of all calls is answered by the node that is behind. A client that is told no signs again, and pays."""
    chance = random.Random(seed)
    balancer = Balancer(monkeypatch, lambda method, params: chance.random() < 0.3)
    wallet = counter.wallet(1_000_000)
    with monkeypatch.context() as patched:
        patched.setattr(gate.waiters, "until_decided", settled_meanwhile(counter, balancer))
        with contextlib.suppress(gate.PaymentInFlight):
            counter.present(counter.sign(wallet, offer()), offer())
    counter.work()
    watcher.watch()
    assert counter.chain.balance(wallet.address) == 950_000
    assert [payment.state for payment in Payment.objects.all()] in ([PaymentState.CONFIRMED], [PaymentState.FINAL])


def test_a_receipt_from_a_node_that_is_behind_is_no_loss(counter: Counter, monkeypatch):
    """The count comes from the node ahead, the receipt and the newest block from the one behind."""
    late = ("eth_getTransactionReceipt",)
    balancer = Balancer(
        monkeypatch,
        lambda method, params: method in late or (method == "eth_getBlockByNumber" and params[0] == "latest"),
    )
    wallet = counter.wallet(1_000_000)
    with monkeypatch.context() as patched:
        patched.setattr(gate.waiters, "until_decided", settled_meanwhile(counter, balancer))
        with pytest.raises(gate.PaymentInFlight):
            counter.present(counter.sign(wallet, offer()), offer())
    assert not Submission.objects.filter(state=Submission.State.LOST).exists()
    counter.work()
    assert [payment.state for payment in Payment.objects.all()] == [PaymentState.CONFIRMED]


def test_a_lower_head_is_no_reorganisation(counter: Counter, monkeypatch):
    payment = counter.buy(counter.wallet(), offer())
    balancer = Balancer(monkeypatch, lambda method, params: True)
    balancer.on = True
    for _ in range(3):
        with contextlib.suppress(rpc.ChainUnreachable):
            watcher.watch()
    balancer.on = False
    payment.refresh_from_db()
    assert payment.state in (PaymentState.CONFIRMED, PaymentState.FINAL)
    assert payment.reversals == 0


def test_a_node_without_the_newest_logs_loses_no_transfer(counter: Counter, monkeypatch):
    """Block headers come from a node at the head, logs from one that is a block behind."""
    wallet = counter.wallet()
    watcher.watch()
    counter.settle_as_observer(counter.sign(wallet, offer()))
    balancer = Balancer(monkeypatch, lambda method, params: method == "eth_getLogs")
    balancer.on = True
    watcher.watch()
    balancer.on = False
    assert not Transfer.objects.exists()
    counter.mine()
    watcher.watch()
    assert Transfer.objects.count() == 1


def test_logs_of_a_block_that_a_second_read_does_not_have_are_not_recorded(counter: Counter, monkeypatch):
    counter.settle_as_observer(counter.sign(counter.wallet(), offer()))
    counter.mine()
    real = rpc.request

    def forked(method: str, *params: Any) -> Any:
        said = real(method, *params)
        return [{**log, "blockHash": "0x" + "77" * 32} for log in said] if method == "eth_getLogs" else said

    with monkeypatch.context() as patched:
        patched.setattr(rpc, "request", forked)
        watcher.watch()
    assert not Transfer.objects.exists()
    counter.mine()
    watcher.watch()
    assert Transfer.objects.count() == 1


@pytest.mark.usefixtures("no_finalized_block")
def test_a_reorganisation_deeper_than_finality_is_taken_back_too(counter: Counter):
    counter.settings.CHAIN_FINALITY_DEPTH = 8
    snapshot = counter.chain.rpc("evm_snapshot")
    payment = counter.buy(counter.wallet(), offer())
    counter.mine(100)
    watcher.watch()
    payment.refresh_from_db()
    assert payment.state == PaymentState.FINAL
    counter.chain.rpc("evm_revert", snapshot)
    counter.chain._first = counter.chain.rpc("evm_snapshot")
    counter.mine(140, seconds_later=7)
    watcher.watch()
    payment.refresh_from_db()
    assert payment.state != PaymentState.FINAL
    assert Transfer.objects.get().orphaned_at is not None


# --- What nodes say instead of answering --------------------------------------------------------------------


def http_error(status: int, words: str) -> Exception:
    answer = requests.Response()
    answer.status_code, answer._content = status, words.encode()
    return requests.HTTPError(response=answer)


REFUSALS: dict[str, Any] = {
    "400": http_error(400, "block range too large"),
    "413": http_error(413, "Request Entity Too Large"),
    "400 with JSON": http_error(400, '{"error": {"code": -32600, "message": "up to a 10 block range"}}'),
    "-32005": {"error": {"code": -32005, "message": "query returned more than 10000 results"}},
    "-32600": {"error": {"code": -32600, "message": "You can make eth_getLogs requests with up to a 10 block range."}},
    "-32602": {"error": {"code": -32602, "message": "range 1000000 exceeds limit of 10"}},
    "-32603": {"error": {"code": -32603, "message": "Log response size exceeded."}},
    "-32000": {"error": {"code": -32000, "message": "query exceeds server limit"}},
    "500 with JSON": http_error(500, '{"error": {"code": -32000, "message": "block range is too wide"}}'),
    "504": http_error(504, "Gateway Time-out"),
    "3": {"error": {"code": 3, "message": "query timeout: reverted to a smaller range"}},
    "timeout": requests.Timeout("read timed out"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_range_that_a_node_refuses_in_its_own_words_is_asked_for_in_parts(
    counter: Counter, monkeypatch, refusal: str
):
    wallet = counter.wallet()
    watcher.watch()
    counter.mine(30)
    counter.settle_as_observer(counter.sign(wallet, offer()))
    real = HTTPProvider.make_request

    def limited(self: HTTPProvider, method: Any, params: Any) -> Any:
        wide = method == "eth_getLogs" and int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) >= 10
        if wide and isinstance(REFUSALS[refusal], Exception):
            raise REFUSALS[refusal]
        return REFUSALS[refusal] if wide else real(self, method, params)

    monkeypatch.setattr(HTTPProvider, "make_request", limited)
    for _ in range(16):
        with contextlib.suppress(rpc.ChainUnreachable):
            watcher.watch()
    assert Transfer.objects.count() == 1
    assert list(audit.findings()) == []


def test_more_senders_than_a_node_takes_in_one_topic_are_asked_for_in_parts(counter: Counter, monkeypatch):
    monkeypatch.setattr(logs, "_SENDERS_MAX", 2)
    for number in range(3):
        counter.settle_as_observer(counter.sign(counter.wallet(), offer(number)))
    asked: list[int] = []
    real = rpc.request

    def counted(method: str, *params: Any) -> Any:
        if method == "eth_getLogs":
            asked.append(max(len(topic) for topic in params[0]["topics"] if isinstance(topic, list | str)))
            assert all(len(topic) <= 2 for topic in params[0]["topics"] if isinstance(topic, list))
        return real(method, *params)

    monkeypatch.setattr(rpc, "request", counted)
    watcher.watch()
    assert Transfer.objects.exclude(nonce=None).count() == 3
    assert len(asked) == 3


BUSY: dict[str, Any] = {
    "429": http_error(429, "slow down"),
    "503": http_error(503, "no backend"),
    "code 429": {"error": {"code": 429, "message": "exceeded its compute units per second capacity"}},
    "-32016": {"error": {"code": -32016, "message": "over rate limit"}},
    "-32005": {"error": {"code": -32005, "message": "daily request count exceeded, request rate limited"}},
}


@pytest.mark.parametrize("words", BUSY)
def test_a_node_that_is_too_busy_is_left_alone_for_a_moment(counter: Counter, monkeypatch, words: str):
    calls: list[str] = []

    def busy(self: HTTPProvider, method: Any, params: Any) -> Any:
        calls.append(method)
        if isinstance(BUSY[words], Exception):
            raise BUSY[words]
        return BUSY[words]

    with monkeypatch.context() as patched:
        patched.setattr(HTTPProvider, "make_request", busy)
        for _ in range(3):
            with pytest.raises(rpc.ChainUnreachable) as error:
                rpc.request("eth_blockNumber")
            assert not isinstance(error.value, rpc.RpcRefused)
    assert calls == ["eth_blockNumber"]
    monkeypatch.setattr(backoff._state, "until", 0.0)
    assert rpc.request("eth_blockNumber")


def test_the_words_of_a_node_are_told(counter: Counter, monkeypatch):
    monkeypatch.setattr(HTTPProvider, "make_request", lambda *_: {"error": {"code": -1, "message": "no such thing"}})
    with pytest.raises(rpc.RpcRefused, match="eth_blockNumber: no such thing"):
        rpc.request("eth_blockNumber")


def test_only_an_executed_call_is_an_answer(counter: Counter, monkeypatch):
    for message in ("execution reverted: no", "out of gas", "VM execution error.", "invalid opcode: INVALID"):
        said = {"error": {"code": -32000, "message": message}}
        monkeypatch.setattr(HTTPProvider, "make_request", lambda *_, said=said: said)
        with pytest.raises(rpc.CallReverted):
            rpc.request("eth_call")


def test_idle_the_settler_makes_no_call(counter: Counter, monkeypatch):
    counter.buy(counter.wallet(), offer())
    with monkeypatch.context() as patched:
        patched.setattr(rpc, "request", lambda *_: pytest.fail("a call"))
        counter.turn()


def test_the_watcher_asks_for_logs_only_after_a_new_block(counter: Counter, monkeypatch):
    watcher.watch()
    counter.mine()
    watcher.watch()
    calls: list[str] = []
    real = rpc.request
    monkeypatch.setattr(rpc, "request", lambda method, *params: calls.append(method) or real(method, *params))
    watcher.watch()
    assert "eth_getLogs" not in calls
    assert Chain.objects.get().scanned_to == rpc.block("latest").number


def test_a_process_that_has_just_started_takes_no_lower_head_for_a_reorganisation(counter: Counter, monkeypatch):
    """It knows no newer block than the one it is shown; the database does."""
    payment = counter.buy(counter.wallet(), offer())
    counter.mine()
    watcher.watch()
    scanned = Chain.objects.get().scanned_to
    Chain.objects.update(scanned_to=scanned + 1, scanned_hash=b"\x05" * 32)
    forget_the_chain()
    with contextlib.suppress(rpc.ChainUnreachable):
        watcher.watch()
    payment.refresh_from_db()
    assert payment.reversals == 0
    assert Chain.objects.get().scanned_to == scanned + 1
    Chain.objects.update(scanned_to=scanned, scanned_hash=bytes.fromhex(hash_of(counter, scanned)))
    # Nor does the watcher go back when only the head is by a node that is behind.
    with monkeypatch.context() as patch:
        patch.setattr(view, "head", lambda: rpc.block(scanned - 1))
        watcher.watch()
    assert Chain.objects.get().scanned_to == scanned


def hash_of(counter: Counter, number: int) -> str:
    return counter.chain.rpc("eth_getBlockByNumber", hex(number), False)["hash"][2:]


def test_what_an_authorization_paid_in_a_block_that_a_second_read_does_not_have_is_not_recorded(counter, monkeypatch):
    wallet = counter.wallet()
    header = counter.sign(wallet, offer())
    with contextlib.suppress(gate.PaymentInFlight):
        counter.present(header, offer())
    counter.settle_as_observer(header)
    real = rpc.request

    def forked(method: str, *params: Any) -> Any:
        said = real(method, *params)
        return [{**log, "blockHash": "0x" + "77" * 32} for log in said] if method == "eth_getLogs" else said

    with monkeypatch.context() as patched:
        patched.setattr(rpc, "request", forked)
        counter.turn()
    assert Payment.objects.get().state == PaymentState.CLAIMED
    assert not Transfer.objects.exists()
    counter.turn()
    assert Payment.objects.get().state == PaymentState.CONFIRMED


def test_a_node_that_is_behind_the_range_does_not_make_it_shorter(counter: Counter, monkeypatch):
    counter.mine(3)
    real = rpc.request
    words = iter(["block range extends beyond current head block", "header not found", "unknown block"])

    def behind(method: str, *params: Any) -> Any:
        if method == "eth_getLogs" and (said := next(words, None)):
            raise rpc.RpcRefused(-32000, said)
        return real(method, *params)

    with monkeypatch.context() as patched:
        patched.setattr(rpc, "request", behind)
        for _ in range(3):
            with pytest.raises(rpc.RpcRefused):
                watcher.watch()
    assert logs.comfortable_blocks() == counter.settings.CHAIN_LOG_RANGE
    watcher.watch()


def test_busy_answers_to_calls_at_the_same_time_are_one(monkeypatch: pytest.MonkeyPatch):
    for _ in range(6):
        backoff.busy()
    assert 0 < backoff.seconds_left() <= 0.25
    backoff._state.until = 0
    backoff.busy()
    assert 0.25 < backoff.seconds_left() <= 0.5


@pytest.mark.planted
def test_a_difference_that_a_second_look_does_not_have_is_no_finding(counter: Counter, monkeypatch):
    """The audit's first node has not got the last block's logs yet."""
    counter.buy(counter.wallet(), offer())
    monkeypatch.setattr("payments.audit.chain._PAUSES", (0,))
    real, looks = logs.transfers_between, iter([[]])
    monkeypatch.setattr(logs, "transfers_between", lambda *asked: next(looks, None) or real(*asked))
    assert list(audit.findings()) == []
    monkeypatch.setattr(logs, "transfers_between", lambda *asked: [])
    assert {finding.word for finding in audit.findings()} == {"transfer_invented"}


def test_rescan_finds_what_was_never_mentioned(counter: Counter, monkeypatch: pytest.MonkeyPatch):
    counter.mine(3)
    header = counter.sign(counter.wallet(), offer())
    counter.settle_as_observer(header)
    counter.mine(40)
    known = Chain.objects.get()
    head = int(counter.chain.rpc("eth_blockNumber"), 16)
    # The watcher has passed by it.
    Chain.objects.update(scanned_to=head, scanned_hash=bytes.fromhex(hash_of(counter, head)))
    watcher.watch()
    assert not Transfer.objects.exists()
    told, progress = io.StringIO(), io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(view, "has", lambda *block: False)
        call_command("rescan", str(known.started_at), str(head), stdout=told, stderr=progress)
    assert told.getvalue() == "0 transfers were missing.\n"
    assert "1 transfers are in blocks that a second read did not confirm" in progress.getvalue()
    call_command("rescan", str(known.started_at), str(head), stdout=told, stderr=io.StringIO())
    assert told.getvalue().endswith("1 transfers were missing.\n")
    assert Transfer.objects.count() == 1
    call_command("rescan", str(known.started_at), str(head), stdout=told, stderr=io.StringIO())
    assert told.getvalue().endswith("0 transfers were missing.\n")
    with pytest.raises(CommandError, match="Nothing to read again"):
        call_command("rescan", str(head + 1), str(head + 9))
