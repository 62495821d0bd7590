"""Several nodes behind one address: some behind the others, with limits of their own, and sometimes too busy."""

import random
import threading
from typing import Any

from tests import nodes

_RANGE_MAX = 100
BEHIND_MAX = 2


class Cluster:
    """Decides by chance, from a seed, which node answers a call."""

    def __init__(self, seed: int) -> None:
        self.chance, self.lock = random.Random(seed), threading.Lock()
        # The share of calls that a node behind answers, and that a node is too busy for.
        self.behind, self.busy = 0.3, 0.01

    def answer(self, ask: nodes.Ask, method: str, params: list[Any]) -> Any:
        """The result; `ask` asks the real chain. Raises nodes.Refused for an error object."""
        with self.lock:
            dice, lag, words = (
                self.chance.random(),
                self.chance.randint(1, BEHIND_MAX),
                self.chance.choice(nodes.TOO_LONG),
            )
        if dice < self.busy:
            raise nodes.Refused(-32005, "daily request count exceeded, request rate limited")
        if method == "eth_getLogs" and int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) >= _RANGE_MAX:
            raise nodes.Refused(*words)
        given = tuple(params)
        said = nodes.behind(ask, method, given, lag) if dice < self.behind else ask(method, *given)
        # Nothing promises an order.
        return said[::-1] if method == "eth_getLogs" else said
