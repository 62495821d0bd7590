"""What the token has logged: transfers to us, and which authorization made each of them.

A log counts only from the token's own address. Whoever acts on one confirms its block by a second read.
"""

import functools
import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from eth_utils import keccak

from . import rpc
from .rpc import Busy, ChainUnreachable, RpcRefused, parsed, raw

TRANSFER = "0x" + keccak(text="Transfer(address,address,uint256)").hex()
AUTHORIZATION_USED = "0x" + keccak(text="AuthorizationUsed(address,bytes32)").hex()
AUTHORIZATION_CANCELED = "0x" + keccak(text="AuthorizationCanceled(address,bytes32)").hex()
# Nodes refuse more alternatives for one topic than about a thousand.
_SENDERS_MAX = 500
# A node that refuses for one of these refuses a smaller range too: it is behind, or there are too many senders.
_IS_NO_RANGE = re.compile("topic|beyond|not found|cannot be found|unknown block|future", re.IGNORECASE)
# After so many good answers a larger range is tried again.
_GOOD_ANSWERS = 20


@dataclass(frozen=True, slots=True)
class SeenTransfer:
    """A Transfer log of the token, with the EIP-3009 nonce whose AuthorizationUsed log precedes it."""

    block_number: int
    block_hash: bytes
    tx_hash: bytes
    log_index: int
    token: bytes
    sender: bytes
    recipient: bytes
    value: int
    nonce: bytes | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """The block in which a transaction was mined, and what it paid us. The logs say whether it paid, not its status."""

    block_number: int
    block_hash: bytes
    gas_used: int
    transfers: tuple[SeenTransfer, ...] = ()


class _Range:
    """How many blocks this process asks for at once: fewer after each refusal, more again after good answers."""

    def __init__(self) -> None:
        self.blocks = 1 << 30
        self.good = 0

    def size(self) -> int:
        return min(self.blocks, settings.CHAIN_LOG_RANGE)

    def narrow(self, asked: int) -> bool:
        """Ask for half as many blocks from now on. False if it was one block already."""
        self.blocks, self.good = max(1, asked // 2), 0
        return asked > 1

    def answered(self) -> None:
        self.good += 1
        if self.good >= _GOOD_ANSWERS:
            self.blocks, self.good = 2 * self.size(), 0


_range = _Range()


def comfortable_blocks() -> int:
    """How many blocks the node has lately answered for at once."""
    return _range.size()


def receipt(tx_hash: bytes) -> Receipt | None:
    """The receipt of a transaction with its transfers to us; None while the node that answers knows of none."""
    found = rpc.request("eth_getTransactionReceipt", "0x" + tx_hash.hex())
    if not found or not parsed(lambda: found.get("blockHash")):
        return None
    return parsed(
        lambda: Receipt(
            int(found["blockNumber"], 16),
            raw(found["blockHash"]),
            int(found["gasUsed"], 16),
            tuple(pair(found["logs"])),
        )
    )


def transfers_between(first: int, last: int, known: Set[tuple[bytes, int]] = frozenset()) -> list[SeenTransfer]:
    """Every transfer of our token to our address in the blocks `first` to `last`, inclusive, by one node's account.

    Without those in `known`, by block hash and log index: for these no second call is made.
    """
    ours = [log for log in _between(first, last, [TRANSFER, None, _topic(rpc.pay_to())]) if not _is_in(known, log)]
    if not ours:
        return []
    # The AuthorizationUsed logs of these transfers are in the same blocks and by the same senders.
    senders = parsed(lambda: sorted({log["topics"][1] for log in ours}))
    found: list[SeenTransfer] = []
    for start in range(0, len(senders), _SENDERS_MAX):
        logs = _of_senders(first, last, senders[start : start + _SENDERS_MAX])
        found += parsed(functools.partial(pair, logs))
    return [seen for seen in found if (seen.block_hash, seen.log_index) not in known]


def _of_senders(first: int, last: int, senders: list[str]) -> list[dict[str, Any]]:
    """The logs of these senders. A node that refuses so many is asked for half of them."""
    try:
        return _between(first, last, [[AUTHORIZATION_USED, TRANSFER], senders])
    except RpcRefused:
        if len(senders) == 1:
            raise
    middle = len(senders) // 2
    return _of_senders(first, last, senders[:middle]) + _of_senders(first, last, senders[middle:])


def _is_in(known: Set[tuple[bytes, int]], log: dict[str, Any]) -> bool:
    return parsed(lambda: (raw(log["blockHash"]), int(log["logIndex"], 16))) in known


def fate_of(payer: bytes, nonce: bytes, first: int, last: int) -> tuple[bool, SeenTransfer | None]:
    """The outcome of a spent authorization in the blocks `first` to `last`: (known, its transfer to us or None).

    Known without a transfer: the authorization was cancelled, or paid another recipient. Not known: these blocks have
    no log of it, or its log without the matching transfer, which means that the node's answer is incomplete.
    """
    topics = [[AUTHORIZATION_USED, AUTHORIZATION_CANCELED], _topic(payer), "0x" + nonce.hex()]
    for log in _between(max(first, 0), last, topics):
        kind, mined_in = parsed(functools.partial(_kind_and_block, log))
        if kind == AUTHORIZATION_CANCELED:
            return True, None
        around = _between(mined_in, mined_in, [[AUTHORIZATION_USED, TRANSFER], _topic(payer)])
        for seen in parsed(functools.partial(_paired, around)):
            if seen.nonce == nonce:
                return True, seen if seen.recipient == rpc.pay_to() else None
    return False, None


def _kind_and_block(log: dict[str, Any]) -> tuple[str, int]:
    return log["topics"][0], int(log["blockNumber"], 16)


def _between(first: int, last: int, topics: list[Any]) -> list[dict[str, Any]]:
    """The token's logs in these blocks. A refusal, however it is coded, makes the range smaller, and so does no answer.

    Without an answer the error is raised all the same: the next call asks for less.
    """
    found: list[dict[str, Any]] = []
    while first <= last:
        upto = min(last, first + _range.size() - 1)
        where = {"fromBlock": hex(first), "toBlock": hex(upto)}
        try:
            logs = rpc.request("eth_getLogs", {"address": "0x" + rpc.token().hex(), **where, "topics": topics})
        except Busy:
            raise
        except ChainUnreachable as error:
            if _IS_NO_RANGE.search(str(error)):
                raise  # Another reason than so many blocks.
            if not _range.narrow(upto - first + 1) or not isinstance(error, RpcRefused):
                raise
            continue
        if not isinstance(logs, list):
            raise ChainUnreachable("eth_getLogs: the node's answer makes no sense")
        _range.answered()
        found += logs
        first = upto + 1
    return found


def pair(logs: Iterable[dict[str, Any]]) -> list[SeenTransfer]:
    """Transfers to us among the token's logs, each with the nonce of the authorization that made it."""
    return [seen for seen in _paired(logs) if seen.recipient == rpc.pay_to()]


def _paired(logs: Iterable[dict[str, Any]]) -> list[SeenTransfer]:
    """Transfers to any recipient, each with the nonce of the authorization that made it.

    EIP-3009 tokens log AuthorizationUsed and then, as the next log by the same authorizer in the same transaction, the
    Transfer it caused. Each authorization is paired with that next transfer, whatever its recipient. Otherwise a payer
    could pass off an authorization to another recipient as a payment to us.
    """
    pending: dict[tuple[str, str], bytes] = {}
    found = []
    for log in sorted(_of_the_token(logs), key=lambda log: (int(log["blockNumber"], 16), int(log["logIndex"], 16))):
        who = (log["transactionHash"], log["topics"][1])
        if log["topics"][0] == AUTHORIZATION_USED:
            pending[who] = raw(log["topics"][2])
            continue
        nonce = pending.pop(who, None)
        found.append(
            SeenTransfer(
                int(log["blockNumber"], 16),
                raw(log["blockHash"]),
                raw(log["transactionHash"]),
                int(log["logIndex"], 16),
                raw(log["address"]),
                raw(log["topics"][1])[12:],
                raw(log["topics"][2])[12:],
                int(log["data"], 16),
                nonce,
            )
        )
    return found


def _of_the_token(logs: Iterable[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """The token's uses of authorizations and transfers, without logs that the node says were taken back."""
    kinds = (AUTHORIZATION_USED, TRANSFER)
    return [
        log
        for log in logs
        if not log.get("removed") and raw(log["address"]) == rpc.token() and log["topics"][0] in kinds
    ]


def _topic(where: bytes) -> str:
    return "0x" + where.rjust(32, b"\0").hex()
