"""A load balancer in front of two nodes, one of which has not seen the newest block yet."""

from collections.abc import Callable
from typing import Any

import pytest

from payments.onchain import rpc
from tests import nodes

Behind = Callable[[str, tuple[Any, ...]], bool]


class Balancer:
    """While it is `on`, `behind(method, params)` says whether a call is answered by the node that is behind."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, behind: Behind) -> None:
        self.real, self.behind, self.on = rpc.request, behind, False
        monkeypatch.setattr(rpc, "request", self)

    def __call__(self, method: str, *params: Any) -> Any:
        if not self.on or not self.behind(method, params):
            return self.real(method, *params)
        try:
            return nodes.behind(self.real, method, params)
        except nodes.Refused as refusal:
            raise rpc.RpcRefused(refusal.code, refusal.message) from refusal
