"""What a shop costs its node: calls are billed, and a limit on them is the first that a new shop meets."""

import time
from collections.abc import Iterator

import pytest

from .stage import Stage

IDLE_SECONDS = 10


@pytest.fixture
def one_node(timed_stage: Stage) -> Iterator[Stage]:
    """A block every second, from one node: nodes that disagree are asked again, which costs more."""
    cluster, timed_stage.node.cluster = timed_stage.node.cluster, None
    yield timed_stage
    timed_stage.node.cluster = cluster


def test_an_idle_shop_makes_at_most_a_call_a_second(one_node: Stage):
    one_node.purchase().finish()
    unfinished = "SELECT 1 FROM payments_transfer WHERE NOT final AND orphaned_at IS NULL"
    one_node.shop.wait(lambda: not one_node.shop.sql(unfinished), "the sale to be final")
    time.sleep(1)
    one_node.node.counts.clear()
    time.sleep(IDLE_SECONDS)
    assert one_node.node.counts.total() <= IDLE_SECONDS, one_node.node.counts


def test_a_sale_costs_at_most_ten_calls(one_node: Stage):
    purchases = [one_node.purchase() for _ in range(3)]
    one_node.node.counts.clear()
    began = time.monotonic()
    for purchase in purchases:
        purchase.finish()
    idle = time.monotonic() - began  # A call a second is not the sales'.
    assert one_node.node.counts.total() <= 10 * len(purchases) + idle, one_node.node.counts
