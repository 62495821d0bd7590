"""The client of the chain's node, and the only importer of web3. Reads facts and sends signed bytes; holds no key.

Two errors matter to callers. ChainUnreachable: no answer, so the request may or may not have taken effect. RpcRefused:
the node answered with an error (a revert, a known transaction, a nonce too low).
"""

import functools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from eth_abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils import keccak

if TYPE_CHECKING:
    from web3 import HTTPProvider

TRANSFER = "0x" + keccak(text="Transfer(address,address,uint256)").hex()
AUTHORIZATION_USED = "0x" + keccak(text="AuthorizationUsed(address,bytes32)").hex()
AUTHORIZATION_CANCELED = "0x" + keccak(text="AuthorizationCanceled(address,bytes32)").hex()
# The deterministic deployment proxy (github.com/Arachnid), at one address on every EVM chain.
DEPLOYER = bytes.fromhex("4e59b44847b379578588920ca78fbf26c0b4956c")
EIP1271_MAGIC = bytes.fromhex("1626ba7e")
EIP1271_GAS = 200_000
# The messages for a call that was executed and failed. Some nodes report these as an internal error.
_RAN = re.compile("out ?of ?gas|revert", re.IGNORECASE)


class ChainUnreachable(Exception):
    """No usable answer came back. What was asked may have happened: never read this as a no."""


class RpcRefused(Exception):
    """The node answered with an error, in `code` and `message`."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Block:
    """A block header. `time` is in Unix seconds, `base_fee` in wei per gas."""

    number: int
    hash: bytes
    time: int
    base_fee: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """The block in which a transaction of ours was mined. The token's logs say whether it paid, not its status."""

    block_number: int
    block_hash: bytes
    gas_used: int


@dataclass(frozen=True, slots=True)
class SeenTransfer:
    """A Transfer log of the token to our address, with the EIP-3009 nonce whose AuthorizationUsed log precedes it."""

    block_number: int
    block_hash: bytes
    tx_hash: bytes
    log_index: int
    token: bytes
    sender: bytes
    recipient: bytes
    value: int
    nonce: bytes | None


@functools.cache
def _provider(url: str, timeout: int) -> "HTTPProvider":
    # web3 takes a second to import and few web requests call the chain, so import it at the first call.
    from web3 import HTTPProvider

    # One attempt per call: an automatic retry of a send would hide the first answer.
    return HTTPProvider(url, request_kwargs={"timeout": timeout}, exception_retry_configuration=None)


def request(method: str, *params: Any) -> Any:
    """One JSON-RPC call. Raises ChainUnreachable or RpcRefused."""
    provider = _provider(settings.CHAIN_RPC_URL, settings.RPC_TIMEOUT_SECONDS)
    try:
        answer = provider.make_request(method, list(params))
    except Exception as error:
        raise ChainUnreachable(f"{method}: {type(error).__name__}") from error
    if not isinstance(answer, dict):
        raise ChainUnreachable(f"{method}: not a JSON-RPC answer")
    if refusal := answer.get("error"):
        said: Any = refusal if isinstance(refusal, dict) else {"message": refusal}
        code, message = said.get("code"), str(said.get("message", ""))
        # A rate limit or an internal error says nothing about the outcome, unless the message names a revert.
        if code in (-32005, -32603, 429) and not _RAN.search(message):
            raise ChainUnreachable(f"{method}: {message}")
        raise RpcRefused(code if isinstance(code, int) else 0, message)
    if "result" not in answer:
        raise ChainUnreachable(f"{method}: no result")
    return answer["result"]


def token() -> bytes:
    """The address of the token that the shop accepts."""
    return address(settings.CHAIN_ASSET)


def pay_to() -> bytes:
    """Our custody address."""
    return address(settings.PAY_TO)


def address(text: str) -> bytes:
    """The 20 bytes of a hex address. Raises ValueError for any other length."""
    raw = bytes.fromhex(text.removeprefix("0x"))
    if len(raw) != 20:
        raise ValueError(f"not an address: {text}")
    return raw


def genesis_hash() -> bytes:
    """The hash of block 0, which identifies the chain more reliably than its chain id."""
    return block(0).hash


def block(which: int | str = "latest") -> Block:
    """A block header by number or tag. Raises ChainUnreachable when the node does not have it."""
    found = request("eth_getBlockByNumber", which if isinstance(which, str) else hex(which), False)
    if not found:
        raise ChainUnreachable(f"no block {which}")
    return _parsed(
        lambda: Block(
            int(found["number"], 16),
            _bytes(found["hash"]),
            int(found["timestamp"], 16),
            int(found.get("baseFeePerGas") or "0x0", 16),
        )
    )


def receipt(tx_hash: bytes) -> Receipt | None:
    """The block in which a transaction was mined; None while the node knows of none."""
    found = request("eth_getTransactionReceipt", "0x" + tx_hash.hex())
    if not found or not _parsed(lambda: found.get("blockHash")):
        return None
    return _parsed(
        lambda: Receipt(int(found["blockNumber"], 16), _bytes(found["blockHash"]), int(found["gasUsed"], 16))
    )


def transfers_in_block(block_hash: bytes) -> list[SeenTransfer]:
    """Every transfer of our token to our address in one block."""
    return _transfers({"blockHash": "0x" + block_hash.hex()})


def transfers_between(first: int, last: int) -> list[SeenTransfer]:
    """Every transfer of our token to our address in the blocks `first` to `last`, inclusive."""
    return _transfers({"fromBlock": hex(first), "toBlock": hex(last)})


def fate_of(payer: bytes, nonce: bytes, first: int, last: int) -> tuple[bool, SeenTransfer | None]:
    """The outcome of a spent authorization in the blocks `first` to `last`: (known, its transfer to us or None).

    Known without a transfer: the authorization was cancelled, or paid another recipient. Not known: these blocks have
    no log of it, or its log without the matching transfer, which means that the node's answer is incomplete.
    """
    asset = {"address": "0x" + token().hex()}
    where = {"fromBlock": hex(max(first, 0)), "toBlock": hex(last)}
    topics = [[AUTHORIZATION_USED, AUTHORIZATION_CANCELED], _topic(payer), "0x" + nonce.hex()]
    for log in request("eth_getLogs", {**asset, **where, "topics": topics}) or []:
        topic, mined_in = _parsed(lambda log=log: (log["topics"][0], log["blockHash"]))
        if topic == AUTHORIZATION_CANCELED:
            return True, None
        block = {**asset, "blockHash": mined_in}
        used = request("eth_getLogs", {**block, "topics": [AUTHORIZATION_USED, _topic(payer)]})
        outgoing = request("eth_getLogs", {**block, "topics": [TRANSFER, _topic(payer)]})
        for seen in _parsed(lambda used=used, outgoing=outgoing: _paired(used, outgoing)):
            if seen.nonce == nonce:
                return True, seen if seen.recipient == pay_to() else None
    return False, None


def _transfers(where: dict[str, str]) -> list[SeenTransfer]:
    asset = {"address": "0x" + token().hex()}
    ours = request("eth_getLogs", {**asset, **where, "topics": [TRANSFER, None, _topic(pay_to())]})
    if not ours:
        return []
    # The AuthorizationUsed logs of these transfers are in the same blocks and by the same senders.
    senders = _parsed(lambda: sorted({log["topics"][1] for log in ours}))
    used = request("eth_getLogs", {**asset, **where, "topics": [AUTHORIZATION_USED, senders]})
    outgoing = request("eth_getLogs", {**asset, **where, "topics": [TRANSFER, senders]})
    return _parsed(lambda: pair(used, outgoing))


def pair(used: Iterable[dict], outgoing: Iterable[dict]) -> list[SeenTransfer]:
    """Transfers to us, each with the nonce of the authorization that made it."""
    return [seen for seen in _paired(used, outgoing) if seen.recipient == pay_to()]


def _paired(used: Iterable[dict], outgoing: Iterable[dict]) -> list[SeenTransfer]:
    """Transfers to any recipient, each with the nonce of the authorization that made it.

    EIP-3009 tokens log AuthorizationUsed and then, as the next log by the same authorizer in the same transaction, the
    Transfer it caused. Each authorization is paired with that next transfer, whatever its recipient. Otherwise a payer
    could pass off an authorization to another recipient as a payment to us.
    """
    logs = sorted([*used, *outgoing], key=lambda log: (int(log["blockNumber"], 16), int(log["logIndex"], 16)))
    pending: dict[tuple[str, str], bytes] = {}
    found = []
    for log in logs:
        if log.get("removed"):
            continue
        who = (log["transactionHash"], log["topics"][1])
        if log["topics"][0] == AUTHORIZATION_USED:
            pending[who] = _bytes(log["topics"][2])
            continue
        nonce = pending.pop(who, None)
        found.append(
            SeenTransfer(
                int(log["blockNumber"], 16),
                _bytes(log["blockHash"]),
                _bytes(log["transactionHash"]),
                int(log["logIndex"], 16),
                _bytes(log["address"]),
                _bytes(log["topics"][1])[12:],
                _bytes(log["topics"][2])[12:],
                int(log["data"], 16),
                nonce,
            )
        )
    return found


def call(to: bytes, data: bytes, **options: Any) -> bytes:
    """An `eth_call` at the latest block. Raises RpcRefused when the call reverts."""
    message = {"to": "0x" + to.hex(), "data": "0x" + data.hex(), **options}
    return _bytes(request("eth_call", message, "latest"))


def balance_of(holder: bytes, at: str = "latest") -> int:
    """An address's balance of our token, in the token's smallest unit."""
    data = _selector("balanceOf(address)") + encode(["address"], [holder])
    found = request("eth_call", {"to": "0x" + token().hex(), "data": "0x" + data.hex()}, at)
    return _word(found)


def authorization_used(payer: bytes, nonce: bytes, at: str = "latest") -> bool:
    """Whether the token has marked an authorization as used or cancelled (EIP-3009 `authorizationState`)."""
    data = _selector("authorizationState(address,bytes32)") + encode(["address", "bytes32"], [payer, nonce])
    found = request("eth_call", {"to": "0x" + token().hex(), "data": "0x" + data.hex()}, at)
    return bool(_word(found))


def contract_wallet_accepts(wallet: bytes, digest: bytes, signature: bytes) -> bool | None:
    """Whether a contract wallet accepts a signature (EIP-1271), within a gas cap. None: the address has no code."""
    data = _selector("isValidSignature(bytes32,bytes)") + encode(["bytes32", "bytes"], [digest, signature])
    try:
        answer = call(wallet, data, gas=hex(EIP1271_GAS))
    except RpcRefused:
        return False
    return None if not answer else answer[:4] == EIP1271_MAGIC and len(answer) >= 4


# --- The batch contract (payments/onchain/contracts/BatchSettlement.sol) -------------------------------------

ITEM = "(address,address,uint256,uint256,uint256,bytes32,bytes)"
SETTLE = f"settle(address,uint256,{ITEM}[])"


@functools.cache
def _batch_code() -> bytes:
    artefact = Path(__file__).parent / "contracts" / "BatchSettlement.json"
    return _bytes(json.loads(artefact.read_text())["bytecode"])


def batch_contract() -> bytes:
    """The deterministic address of the batch contract, deployed or not (EIP-1014, salt 0)."""
    return keccak(b"\xff" + DEPLOYER + bytes(32) + keccak(_batch_code()))[12:]


def batch_deployment() -> bytes:
    """The call data that makes the deterministic deployer create the batch contract."""
    return bytes(32) + _batch_code()


def code_at(where: bytes) -> bytes:
    """The code at an address; empty when it has none."""
    return _bytes(request("eth_getCode", "0x" + where.hex(), "latest"))


def settle_call(items: Sequence[tuple], gas_each: int) -> bytes:
    """The call data that settles many authorizations in one transaction."""
    return _selector(SETTLE) + encode(["address", "uint256", f"{ITEM}[]"], [token(), gas_each, list(items)])


def simulate(data: bytes, sender: bytes, gas: int) -> list[bool]:
    """Which authorizations of a batch the token would settle now. Raises RpcRefused when the whole call reverts."""
    answer = call(batch_contract(), data, **{"from": "0x" + sender.hex(), "gas": hex(gas)})
    return _parsed(lambda: list(decode(["bool[]"], answer)[0]))


# --- Sending ------------------------------------------------------------------------------------------


def transaction_count(key: bytes) -> int:
    """The number of mined transactions of a key, which is its next nonce on the chain."""
    return _parsed(lambda: int(request("eth_getTransactionCount", "0x" + key.hex(), "latest"), 16))


def suggested_priority_fee() -> int:
    """The priority fee that the node suggests, in wei per gas; 0.001 gwei when the node suggests none."""
    try:
        return _parsed(lambda: int(request("eth_maxPriorityFeePerGas"), 16))
    except RpcRefused:
        return 1_000_000


def send(raw: bytes) -> None:
    """Send a signed transaction to the node. Idempotent for the same bytes.

    Returns when the node has accepted the transaction or already knew it. Raises RpcRefused otherwise.
    """
    try:
        request("eth_sendRawTransaction", "0x" + raw.hex())
    except RpcRefused as refusal:
        if not any(
            word in refusal.message.lower() for word in ("already known", "already imported", "known transaction")
        ):
            raise


def _selector(signature: str) -> bytes:
    return keccak(text=signature)[:4]


def _topic(where: bytes) -> str:
    return "0x" + where.rjust(32, b"\0").hex()


def _bytes(text: Any) -> bytes:
    return _parsed(lambda: bytes.fromhex(text.removeprefix("0x")))


def _word(text: Any) -> int:
    """A 32-byte word as an integer. A shorter answer counts as unreachable: an empty one must not be read as zero."""
    found = _bytes(text)
    if len(found) != 32:
        raise ChainUnreachable("the node's answer makes no sense")
    return int.from_bytes(found)


def _parsed(read: Any) -> Any:
    """Run `read` on an answer. A node whose answer cannot be parsed counts as unreachable."""
    try:
        return read()
    except (AttributeError, DecodingError, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise ChainUnreachable("the node's answer makes no sense") from error
