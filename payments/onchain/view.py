"""The newest block, by the account of nodes that disagree: one block for each turn of work, never older than before.

Behind a load balancer the next call may be answered by a node that is a block behind. What is decided in one turn is
therefore asked at one block, and no turn looks at an older block than an earlier turn of this process did.
"""

from django.conf import settings

from payments.models import Chain

from . import rpc

_TRIES = 4
_highest = 0


def head(floor: int = 0) -> rpc.Block:
    """The newest block. `floor`: a block number that is known to exist from elsewhere.

    Raises ChainUnreachable when only nodes answer that are behind: an older block is no news, and no reorganisation.
    """
    global _highest
    least = max(_highest, floor)
    for _ in range(_TRIES):
        newest = rpc.block("latest")
        if newest.number >= least:
            _highest = newest.number
            return newest
    raise rpc.ChainUnreachable(f"the node is at block {newest.number}, behind block {least}")


def scanned_to() -> int:
    """The block up to which the watcher has read; 0 before it has. A floor for `head` that outlives this process."""
    return Chain.objects.filter(chain_id=settings.CHAIN_ID).values_list("scanned_to", flat=True).first() or 0


def confirmed(newest: rpc.Block, confirmations: int) -> rpc.Block:
    """The newest block with this many confirmations, the block itself included."""
    return newest if confirmations <= 1 else rpc.block(max(newest.number - confirmations + 1, 0))


def has(number: int, block_hash: bytes, known: rpc.Block | None = None) -> bool:
    """Whether a second read has this block too, or it is the `known` one: what two nodes say apart is unknown."""
    if known and number == known.number:
        return block_hash == known.hash
    return rpc.block(number).hash == block_hash
