"""A load balancer in front of two nodes, one of which has not seen the newest block yet."""

from collections.abc import Callable
from typing import Any

import pytest

from payments.onchain import rpc

Behind = Callable[[str, tuple[Any, ...]], bool]


class Balancer:
    """While it is `on`, `behind(method, params)` says whether a call is answered by the node that is behind."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, behind: Behind) -> None:
        self.real, self.behind, self.on = rpc.request, behind, False
        monkeypatch.setattr(rpc, "request", self)

    def __call__(self, method: str, *params: Any) -> Any:
        if not self.on or not self.behind(method, params):
            return self.real(method, *params)
        head = int(self.real("eth_blockNumber"), 16)
        last = params[-1] if params else None
        if method == "eth_getBlockByNumber":
            if params[0] == "latest":
                return self.real(method, hex(head - 1), False)
            return None if int(params[0], 16) >= head else self.real(method, *params)
        if method == "eth_getTransactionReceipt":
            found = self.real(method, *params)
            return None if found and int(found["blockNumber"], 16) >= head else found
        if method == "eth_getLogs":
            return [one for one in self.real(method, *params) if int(one["blockNumber"], 16) < head]
        if last == "latest":
            return self.real(method, *params[:-1], hex(head - 1))
        newest = self.real("eth_getBlockByNumber", hex(head), False)["hash"]
        if isinstance(last, dict) and last.get("blockHash") == newest:
            raise rpc.RpcRefused(-32000, "header not found")
        return self.real(method, *params)
