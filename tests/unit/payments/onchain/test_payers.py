"""What is asked of the chain about payers before anything is claimed."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from payments.onchain import payers, rpc, view
from payments.onchain.payers import Facts, Unknowable
from tests.unit.payments.counter import Counter, offer
from tests.wallet import Wallet, decoded

NONCE = b"\x07" * 32


class Node:
    """Answers by address; `calls` has the size of each question, and the block it was for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **balances: int) -> None:
        self.balances = {name.encode().ljust(20, b"."): micros for name, micros in balances.items()}
        self.calls: list[tuple[int, Any]] = []
        self.slow = 0.0
        self.times: Iterator[int] = iter(())
        monkeypatch.setattr(payers, "read", self)
        monkeypatch.setattr(view, "newest_of_two", lambda floor: "newest")
        monkeypatch.setattr(view, "scanned_to", lambda: 0)
        monkeypatch.setattr(payers, "_PAUSE_SECONDS", 0.3)

    def __call__(self, asked: list[tuple[bytes, bytes]], at: Any = None) -> list[Facts]:
        self.calls.append((len(asked), at))
        time.sleep(self.slow)
        moment = next(self.times, 8)
        return [Facts(self.balances.get(payer, 0), False, False, moment) for payer, _ in asked]


def ask(name: str, micros: int = 10, source: str = "", **more: Any) -> Facts:
    return payers.ask(name.encode().ljust(20, b"."), NONCE, micros, source or name, **more)


@pytest.mark.django_db(transaction=True)
def test_the_facts_are_the_chains(counter: Counter):
    """In one call, of a constructor that is never deployed."""
    rich, spent = counter.wallet(123), counter.wallet()
    header = counter.sign(spent, offer())
    counter.settle_as_observer(header)
    nonce = bytes.fromhex(decoded(header)["payload"]["authorization"]["nonce"][2:])
    token = counter.settings.CHAIN_ASSET
    who = [(rich.address, NONCE), (spent.address, nonce), (spent.address, NONCE), (Wallet().address, NONCE)]
    asked = [(bytes.fromhex(address[2:]), which) for address, which in [*who, (token, NONCE)]]
    block = rpc.block()
    assert payers.read(asked, block) == [
        Facts(123, False, False, block.time),
        Facts(9_950_000, True, False, block.time),
        Facts(9_950_000, False, False, block.time),
        Facts(0, False, False, block.time),
        Facts(0, False, True, block.time),
    ]
    assert len(payers.read(asked * 20)) == 100


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("answer", ["0x", "0x01", "0x" + "00" * 32, "0x" + "00" * 96])
def test_an_answer_of_another_length_is_none(counter: Counter, monkeypatch: pytest.MonkeyPatch, answer: str):
    monkeypatch.setattr(rpc, "request", lambda *_: answer)
    with pytest.raises(rpc.ChainUnreachable):
        payers.read([(b"\x01" * 20, NONCE)])
    with pytest.raises(Unknowable):
        payers.ask(b"\x01" * 20, NONCE, 1, "")


def test_who_has_the_money_costs_one_call_and_who_has_not_is_looked_at_twice(monkeypatch: pytest.MonkeyPatch):
    node = Node(monkeypatch, rich=10)
    assert ask("rich").balance == 10
    assert node.calls == [(1, None)]
    assert ask("poor").balance == 0
    assert node.calls[1:] == [(1, None), (1, "newest")]


def test_requests_at_the_same_time_share_a_call(monkeypatch: pytest.MonkeyPatch):
    node = Node(monkeypatch, **{f"n{number}": 10 for number in range(12)})
    node.slow = 0.2
    threads = [threading.Thread(target=ask, args=(f"n{number}",)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(number for number, _ in node.calls) == 12
    assert len(node.calls) <= 3


@pytest.mark.parametrize("junk", [{"micros": 10}, {"micros": 0, "wants_code": True}, {"micros": 0, "late": True}])
def test_after_junk_the_next_call_waits_and_without_it_none_does(monkeypatch: pytest.MonkeyPatch, junk: dict):
    node = Node(monkeypatch, rich=10)
    began = time.monotonic()
    for _ in range(3):
        ask("rich")
    assert time.monotonic() - began < 0.3
    ask("poor", **junk)
    began = time.monotonic()
    ask("rich")
    assert 0.2 < time.monotonic() - began < 2
    assert node.calls[-1] == (1, None)


def test_in_a_crowd_one_call_is_enough_and_a_node_that_is_behind_is_asked_again(monkeypatch: pytest.MonkeyPatch):
    node = Node(monkeypatch, rich=10)
    monkeypatch.setattr(payers, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(payers, "_AGAIN_SECONDS", 0.0)
    node.times = iter([7, 8, 7, 7, 8, 8, 8, 8])
    ask("poor")
    assert node.calls == [(1, None), (1, "newest")]
    node.balances[b"poor".ljust(20, b".")] = 10
    assert ask("poor").time == 8  # Two reads of the block before are not believed.
    assert len(node.calls) == 5
    ask("short")
    assert len(node.calls) == 7
    ask("short")
    assert len(node.calls) == 8
    monkeypatch.setattr(payers, "_CROWD_SECONDS", -1.0)  # The crowd has gone.
    ask("short")
    ask("short")
    assert node.calls[9:] == [(1, None), (1, "newest")]


def test_one_node_with_a_wrong_clock_does_not_make_the_others_look_old(monkeypatch: pytest.MonkeyPatch):
    node = Node(monkeypatch, rich=10)
    now = int(time.time())
    node.times = iter([2**200, now, now + 15])
    assert ask("rich").time == 2**200
    monkeypatch.setattr(payers, "_AGAIN_SECONDS", 0.0)
    assert ask("rich").time == now + 15


def test_when_all_places_are_taken_nobody_is_told_anything(monkeypatch: pytest.MonkeyPatch):
    node = Node(monkeypatch, rich=10)
    payers._desk.places._held.update(str(number) for number in range(40))
    with pytest.raises(Unknowable):
        ask("rich")
    assert node.calls == []


def test_nobody_waits_for_ever_for_a_call_that_another_makes(monkeypatch: pytest.MonkeyPatch):
    node = Node(monkeypatch, rich=10)
    node.slow = 1.0
    monkeypatch.setattr(payers, "_PATIENCE_SECONDS", 0.2)
    slow = threading.Thread(target=ask, args=("rich",))
    slow.start()
    while not node.calls:
        assert slow.is_alive()
        time.sleep(0.01)
    with pytest.raises(Unknowable):
        ask("other")
    slow.join()
    assert not payers._desk._waiting


def test_a_second_look_that_fails_is_no_refusal(monkeypatch: pytest.MonkeyPatch):
    Node(monkeypatch)

    def unreachable(floor: int) -> None:
        raise rpc.ChainUnreachable("x")

    monkeypatch.setattr(view, "newest_of_two", unreachable)
    with pytest.raises(Unknowable):
        ask("poor")


def test_a_node_that_does_not_answer_is_asked_a_few_times(monkeypatch: pytest.MonkeyPatch):
    node = Node(monkeypatch, rich=10)
    refusing = iter([rpc.Busy, rpc.ChainUnreachable])

    def read(asked: list[tuple[bytes, bytes]], at: Any = None) -> list[Facts]:
        if refusal := next(refusing, None):
            node.calls.append((0, at))
            raise refusal
        return node(asked, at)

    monkeypatch.setattr(payers, "read", read)
    monkeypatch.setattr(payers, "_AGAIN_SECONDS", 0.1)
    assert ask("rich").balance == 10
    assert node.calls == [(0, None), (0, None), (1, None)]
    refusing = iter([rpc.Busy] * 9)
    with pytest.raises(Unknowable):
        ask("rich")
    assert len(node.calls) == 6
    assert not payers._desk._waiting
