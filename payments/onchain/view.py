"""The newest block, by the account of nodes that disagree: one block for each turn of work, never older than before.

Behind a load balancer the next call may be answered by a node that is a block behind. What is decided in one turn is
therefore asked at one block, and no turn looks at an older block than an earlier turn of this process did.
"""

import threading
import time

from django.conf import settings

from payments.models import Chain

from . import rpc

_TRIES = 4
# The final block is asked for again after a sixteenth of its distance from the newest.
_FINAL_PART = 16
# The watcher reads every few seconds. So many blocks are more than it can be behind in its usual work.
_BEHIND_BLOCKS = 200
_BEHIND_SECONDS = 2.0
_JUMP_BLOCKS = 1_000
_highest = 0


class _Behind:
    """The last answer of `watcher_is_behind`, and until when it counts."""

    answer: bool | None = None
    until = 0.0
    asking = threading.Lock()


class _Final:
    """The newest final block that this process knows, and the newest block when it was asked for."""

    block: rpc.Block | None = None
    asked_at = -1


def newest_of_two(floor: int = 0) -> rpc.Block:
    """The newer of two reads of the newest block, for an answer that a node behind would get wrong."""
    return max(head(floor), head(floor), key=lambda block: block.number)


def head(floor: int = 0) -> rpc.Block:
    """The newest block. `floor`: a block number that is known to exist from elsewhere.

    Raises ChainUnreachable when only nodes answer that are behind: an older block is no news, and no reorganisation.
    """
    global _highest
    least = max(_highest, floor)
    for _ in range(_TRIES):
        newest = rpc.block("latest")
        if _highest and newest.number > _highest + _JUMP_BLOCKS:
            # Nobody has looked for long, or one node is wrong: another read must say so too.
            newest = min(newest, rpc.block("latest"), key=lambda block: block.number)
        if newest.number >= least:
            # Two threads at once: the lower of them is no news.
            _highest = max(_highest, newest.number)
            return newest
    raise rpc.ChainUnreachable(f"the node is at block {newest.number}, behind block {least}")


def scanned_to() -> int:
    """The block up to which the watcher has read; 0 before it has. A floor for `head` that outlives this process."""
    return Chain.objects.filter(chain_id=settings.CHAIN_ID).values_list("scanned_to", flat=True).first() or 0


def watcher_is_behind() -> bool:
    """Whether the watcher has many blocks to read yet, as after a restore. At most some seconds old.

    Raises ChainUnreachable. One thread of the process asks at a time, and no other waits for it.
    """
    if time.monotonic() > _Behind.until and _Behind.asking.acquire(blocking=False):
        answer = None
        try:
            known = scanned_to()
            answer = head(known).number - known > _BEHIND_BLOCKS + settings.CHAIN_CONFIRMATIONS
        finally:
            _Behind.answer, _Behind.until = answer, time.monotonic() + _BEHIND_SECONDS
            _Behind.asking.release()
    if _Behind.answer is None:
        raise rpc.ChainUnreachable("how far the watcher has read is not known now")
    return _Behind.answer


def confirmed(newest: rpc.Block, confirmations: int) -> rpc.Block:
    """The newest block with this many confirmations, the block itself included."""
    return newest if confirmations <= 1 else rpc.block(max(newest.number - confirmations + 1, 0))


def final(newest: rpc.Block) -> rpc.Block:
    """A block that nothing can replace any more: the chain's `finalized` block.

    Only on a node without such a block is it the one at CHAIN_FINALITY_DEPTH. A node that knew one before and
    refuses now is not believed: the block known from before stays the final one.
    """
    known = _Final.block
    if known and newest.number < _Final.asked_at + max((_Final.asked_at - known.number) // _FINAL_PART, 1):
        return known
    found = rpc.finalized() or known or rpc.finalized()
    if found is None:
        return rpc.block(max(newest.number - settings.CHAIN_FINALITY_DEPTH, 0))
    if known is None or found.number > known.number:
        _Final.block = found
    _Final.asked_at = newest.number
    return _Final.block or found


def has(number: int, block_hash: bytes, known: rpc.Block | None = None) -> bool:
    """Whether a second read has this block too. The `known` block needs no second read.

    Where two nodes disagree, nothing is known.
    """
    if known and number == known.number:
        return block_hash == known.hash
    return rpc.block(number).hash == block_hash
