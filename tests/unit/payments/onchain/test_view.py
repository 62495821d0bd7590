"""Which block is the newest, and which is final."""

import pytest

from payments.onchain import rpc, view
from payments.onchain.pace import Pace
from payments.onchain.rpc import Block


def block(number: int, time: int = 0) -> Block:
    return Block(number, number.to_bytes(32), time or 2 * number, 1)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, settings) -> list[Block | None]:
    """What the node says when it is asked for its final block, the last first. None: it has no such block."""
    answers: list[Block | None] = []
    monkeypatch.setattr(rpc, "finalized", answers.pop)
    monkeypatch.setattr(rpc, "block", lambda which="latest": block(which))
    settings.CHAIN_FINALITY_DEPTH = 64
    return answers


def test_the_final_block_is_the_chains_own(said: list):
    said += [block(900)]
    assert view.final(block(1000)).number == 900


def test_only_where_two_answers_have_no_such_block_depth_decides(said: list):
    said += [None, None]
    assert view.final(block(1000)).number == 936
    said += [block(900), None]
    assert view.final(block(1000)).number == 900


def test_a_node_that_knows_no_final_block_any_more_does_not_bring_it_nearer(said: list):
    said += [None, block(900)]
    assert view.final(block(1000)).number == 900
    assert view.final(block(1010)).number == 900
    assert said == []


def test_a_final_block_is_never_older_than_before(said: list):
    said += [block(890), block(900)]
    assert view.final(block(1000)).number == 900
    assert view.final(block(1100)).number == 900


def test_the_final_block_is_asked_for_again_after_a_sixteenth_of_its_distance(said: list):
    said += [block(1000), block(840)]
    assert view.final(block(1000)).number == 840
    assert view.final(block(1009)).number == 840
    assert said
    assert view.final(block(1010)).number == 1000


def test_the_newer_of_two_reads_counts(monkeypatch: pytest.MonkeyPatch):
    heads = [block(7), block(9), block(8)]
    monkeypatch.setattr(rpc, "block", lambda which: heads.pop())
    assert view.newest_of_two().number == 9
    monkeypatch.setattr(rpc, "block", lambda which: block(8))
    with pytest.raises(rpc.ChainUnreachable):
        view.head()


def test_nobody_asks_for_a_block_before_it_can_be_there():
    pace = Pace()
    pace.saw(block(1))
    assert pace.until_next_block() == 0.25
    pace.saw(block(3))
    assert 1.5 < pace.until_next_block() <= 2
    pace.seen_at -= 2
    assert pace.until_next_block() == 0.25
    for number in range(4, 7):
        pace.saw(Block(number, number.to_bytes(32), 12 * number, 1))
    assert pace.until_next_block() == 2
    pace.seen_at -= 12
    assert pace.until_next_block() == 1.5


def test_a_leap_is_believed_when_a_second_answer_has_it(monkeypatch: pytest.MonkeyPatch):
    """One node is wrong, or nobody has looked for long."""
    heads = [block(9), block(50_000), block(10), block(60_001), block(60_000)]
    monkeypatch.setattr(rpc, "block", lambda which: heads.pop(0))
    monkeypatch.setattr(view, "_highest", 8)
    assert [view.head().number for _ in range(3)] == [9, 10, 60_000]
    assert view._highest == 60_000
