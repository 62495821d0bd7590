"""Two settlers on one key: one of them signs, and when it is killed in the middle the other goes on within seconds."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dev.children import Child
from tests.faults.purchase import Purchase
from tests.faults.stage import Stage
from tests.shop import PATIENCE

from .barrier import COPIES, at_once, statuses


@pytest.fixture
def two(stage: Stage) -> Iterator[Stage]:
    """A second settler beside the first."""
    first = stage.settler
    second = Child("The second settler", first.command, first.environment, stage.shop.stack.folder / "second.log")
    stage.shop.stack.children.start(second)
    stage.shop.wait(lambda: "settling with" in second.log.read_text(), "the second settler")
    yield stage
    second.stop(5)
    stage.shop.stack.children.all.remove(second)


def test_only_one_of_two_settlers_signs(two: Stage):
    purchases = two.purchases(20)
    _all_at_once(two, purchases)
    _no_gap(two)


def test_when_the_one_that_signs_is_killed_in_the_middle_everything_is_paid_once(two: Stage):
    purchases = two.purchases(COPIES)
    died: list[float] = []
    took_over: list[float] = []

    def kill() -> None:
        died.append(time.monotonic())
        os.kill(_holder(two), signal.SIGKILL)

    two.node.on("eth_sendRawTransaction", after=kill, drop="after", skip=1)
    two.node.on("eth_sendRawTransaction", after=lambda: took_over.append(time.monotonic()), skip=2)
    _all_at_once(two, purchases)
    assert took_over[0] - died[0] < PATIENCE / 2
    _no_gap(two)


def test_a_settler_that_slept_past_its_lease_signs_nothing_more(two: Stage):
    """It wakes up believing that it holds the key, with a claim that the other has settled meanwhile."""
    asleep = _holder(two)
    purchases = two.purchases(3)
    two.node.on("eth_call", before=lambda: os.kill(asleep, signal.SIGSTOP))
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(Purchase.finish, purchase) for purchase in purchases]
        for answer in asked:
            answer.result()
    assert _holder(two) != asleep
    os.kill(asleep, signal.SIGCONT)
    (later,) = two.purchases(1)
    later.finish()
    for purchase in [*purchases, later]:
        purchase.was_bought_once()
        assert len(purchase.carriers(two.node.sent)) == 1
    _no_gap(two)


def _all_at_once(stage: Stage, purchases: list[Purchase]) -> None:
    answers = at_once([(purchase.url, {"PAYMENT-SIGNATURE": purchase.header}) for purchase in purchases])
    assert set(statuses(answers)) <= {200, 503}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(Purchase.finish, purchases))
    for purchase in purchases:
        purchase.was_bought_once()
        assert len(purchase.carriers(stage.node.sent)) == 1


def _holder(stage: Stage) -> int:
    """The living process that holds the key."""

    def living() -> int:
        for (name,) in stage.shop.sql("SELECT holder FROM payments_lease WHERE holder <> ''"):
            pid = int(name.split(":")[1])
            if Path(f"/proc/{pid}").exists():
                return pid
        return 0

    return stage.shop.wait(living, "a settler")


def _no_gap(stage: Stage) -> None:
    """Every nonce of the key since the contract was deployed is one transaction of ours, and all of them are mined."""
    sent = "SELECT 1 FROM payments_submission WHERE state = 'sent'"
    stage.shop.wait(lambda: not stage.shop.sql(sent), "the last receipt")
    rows = stage.shop.sql("SELECT key_nonce, state FROM payments_submission ORDER BY key_nonce")
    used = int(stage.shop.rpc("eth_getTransactionCount", stage.shop.stack.accounts.settler.address, "latest"), 16)
    assert [(int(nonce), str(state)) for nonce, state in rows] == [(nonce, "mined") for nonce in range(1, used)]
