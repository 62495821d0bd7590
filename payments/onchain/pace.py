"""How fast the chain makes blocks, as far as this process has seen, so that a block is asked for when it is due."""

import statistics
import time
from collections import deque

from . import rpc

_SHORTEST_SECONDS = 0.25
_LONGEST_SECONDS = 2.0


class Pace:
    """The newest block, when it was seen, and the usual seconds between blocks."""

    def __init__(self) -> None:
        self.newest: rpc.Block | None = None
        self.seen_at = 0.0
        self._gaps: deque[float] = deque(maxlen=5)

    @property
    def seconds(self) -> float:
        """The median of the last gaps: one long pause does not make the chain slow."""
        return statistics.median(self._gaps) if self._gaps else 0.0

    def saw(self, head: rpc.Block) -> None:
        """Note the newest block."""
        if self.newest and head.number > self.newest.number:
            self._gaps.append((head.time - self.newest.time) / (head.number - self.newest.number))
        if self.newest is None or head.hash != self.newest.hash:
            self.newest, self.seen_at = head, time.monotonic()

    def until_next_block(self) -> float:
        """How long to pause before the next look."""
        expected = self.seen_at + self.seconds - time.monotonic()
        return min(max(expected, self.seconds / 8, _SHORTEST_SECONDS), _LONGEST_SECONDS)
