"""How a node answers that has not seen the newest blocks yet: any call may get such an answer behind a balancer."""

from collections.abc import Callable
from typing import Any

Ask = Callable[..., Any]

# What nodes and their providers say to a range of logs that is too long for them.
TOO_LONG = (
    (-32600, "eth_getLogs is limited to a 100 range"),
    (-32602, "query exceeds max block range 100"),
    (-32603, "internal error: block range is too wide"),
    (-32005, "query returned more than 10000 results"),
    (-32614, "eth_getLogs is limited to a 10,000 range"),
    (400, "Log response size exceeded. You can make eth_getLogs requests with up to a 100 block range."),
)


class Refused(Exception):
    """The node answers with an error object."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def behind(ask: Ask, method: str, params: tuple[Any, ...], blocks: int = 1) -> Any:
    """The answer of a node that is so many blocks behind the one that `ask` asks. Raises Refused."""
    head = int(ask("eth_blockNumber"), 16) - blocks
    last = params[-1] if params else None
    if method == "eth_blockNumber":
        return hex(head)
    if method == "eth_getBlockByNumber":
        if params[0] == "latest":
            return ask(method, hex(head), False)
        known = params[0] == "finalized" or int(params[0], 16) <= head
        return ask(method, *params) if known else None
    if method == "eth_getTransactionReceipt":
        found = ask(method, *params)
        return None if found and int(found["blockNumber"], 16) > head else found
    if method == "eth_getLogs":
        if blocks > 1 and int(params[0]["toBlock"], 16) > head:
            raise Refused(-32000, "One of the blocks specified in filter (fromBlock, toBlock) cannot be found.")
        return [one for one in ask(method, *params) if int(one["blockNumber"], 16) <= head]
    if last == "latest":
        return ask(method, *params[:-1], hex(head))
    if isinstance(last, dict) and (named := last.get("blockHash")):
        block = ask("eth_getBlockByHash", named, False)
        if block and int(block["number"], 16) > head:
            raise Refused(-32000, "header not found")
    return ask(method, *params)
