"""The client of the chain's node, and the only importer of web3. Reads facts and sends signed bytes; holds no key.

A node is often several nodes behind a load balancer, which disagree about the newest blocks. State is therefore asked
at one block that the caller names by its hash (EIP-1898): a node that does not have that block refuses.

Four errors matter to callers. ChainUnreachable: no answer, so the request may or may not have taken effect. Two kinds
of it: RpcRefused, the node answered with an error, which says nothing about what was asked; Busy, no call should be
made for a moment. CallReverted: the call was executed and failed, which is an answer.
"""

import functools
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from eth_abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils import keccak

from payments.outages import NODE

from . import backoff

if TYPE_CHECKING:
    from web3 import HTTPProvider

# The deterministic deployment proxy (github.com/Arachnid), at one address on every EVM chain.
DEPLOYER = bytes.fromhex("4e59b44847b379578588920ca78fbf26c0b4956c")
EIP1271_MAGIC = bytes.fromhex("1626ba7e")
EIP1271_GAS = 200_000
# The messages for a call that was executed and failed, under whatever code.
_RAN = re.compile("out ?of ?gas|revert|vm execution|invalid opcode|stack (under|over)flow|invalid jump", re.IGNORECASE)
_RAN_CODE = 3
# The messages and codes for "ask later", of several providers.
_BUSY = re.compile("rate.?limit|too many requests|compute units|credits|throttl|capacity|again later", re.IGNORECASE)
_BUSY_CODES, _BUSY_STATUS = (429, -32016), (429, 503)
_WORDS_MAX = 300
# Seconds between the tries to find a node that has a block.
_PAUSES = (0.0, 0.05, 0.1)


class ChainUnreachable(Exception):
    """No usable answer came back. What was asked may have happened: never read this as a no."""


class Busy(ChainUnreachable):
    """The node asked for fewer calls."""


class RpcRefused(ChainUnreachable):
    """The node answered with an error, in `code` and `message`. It says nothing about what was asked."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class CallReverted(Exception):
    """The call was executed at the block that was asked about, and failed."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block header. `time` is in Unix seconds, `base_fee` in wei per gas."""

    number: int
    hash: bytes
    time: int
    base_fee: int
    parent: bytes = b""

    @property
    def name(self) -> dict[str, Any]:
        """The block in the parameters of a call that reads state (EIP-1898)."""
        return {"blockHash": "0x" + self.hash.hex(), "requireCanonical": True}


@functools.cache
def _provider(url: str, timeout: int) -> "HTTPProvider":
    # web3 takes a second to import, and most processes and commands never call the chain.
    from web3 import HTTPProvider

    # One attempt per call: an automatic retry of a send would hide the first answer.
    return HTTPProvider(url, request_kwargs={"timeout": timeout}, exception_retry_configuration=None)


def load() -> None:
    """Load the client now. A web server does so before it forks, so that its workers share what takes a second."""
    _provider(settings.CHAIN_RPC_URL, settings.RPC_TIMEOUT_SECONDS)


@NODE.noticed(ChainUnreachable, but=RpcRefused)
def request(method: str, *params: Any) -> Any:
    """One JSON-RPC call. Raises ChainUnreachable, RpcRefused or CallReverted.

    After a node said that it is too busy, no call is made for a moment, which doubles while it is still too busy.
    """
    if backoff.seconds_left():
        raise Busy(f"{method}: the node asked for fewer calls")
    provider = _provider(settings.CHAIN_RPC_URL, settings.RPC_TIMEOUT_SECONDS)
    try:
        answer = provider.make_request(method, list(params))
    except Exception as error:
        answer = _said_with_status(method, error)
    if not isinstance(answer, dict):
        raise ChainUnreachable(f"{method}: not a JSON-RPC answer")
    if refusal := answer.get("error"):
        raise _refusal(method, refusal)
    if "result" not in answer:
        raise ChainUnreachable(f"{method}: no result")
    backoff.answered()
    return answer["result"]


def _said_with_status(method: str, error: Exception) -> Any:
    """The JSON-RPC answer in the body of an HTTP error. Raises ChainUnreachable when there is none."""
    response = getattr(error, "response", None)
    if response is None:
        raise ChainUnreachable(f"{method}: {type(error).__name__}") from error
    status, words = response.status_code, response.text[:_WORDS_MAX]
    if status in _BUSY_STATUS:
        backoff.busy()
        raise Busy(f"{method}: HTTP {status} {words}") from error
    try:
        said = response.json()
    except ValueError:
        said = None
    if isinstance(said, dict) and said.get("error"):
        return said
    if status >= 500:
        raise ChainUnreachable(f"{method}: HTTP {status} {words}") from error
    return {"error": {"code": status, "message": words}}


def _refusal(method: str, said: Any) -> Exception:
    """The error to raise for a JSON-RPC error object, with the node's own words."""
    refusal: Any = said if isinstance(said, dict) else {"message": said}
    code, message = refusal.get("code"), str(refusal.get("message", ""))[:_WORDS_MAX]
    if method == "eth_call" and (_RAN.search(message) or code == _RAN_CODE):
        return CallReverted(f"{method}: {message}")
    if code in _BUSY_CODES or _BUSY.search(message):
        backoff.busy()
        return Busy(f"{method}: {message}")
    return RpcRefused(code if isinstance(code, int) else 0, f"{method}: {message}")


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
    """A block header by number or tag, as one node has it. Raises ChainUnreachable when that node has none.

    Use `view.head` for the newest block: it is never older than one that was seen before.
    """
    found = request("eth_getBlockByNumber", which if isinstance(which, str) else hex(which), False)
    if not found:
        raise ChainUnreachable(f"no block {which}")
    return _header(found)


def _header(found: Any) -> Block:
    return parsed(
        lambda: Block(
            int(found["number"], 16),
            raw(found["hash"]),
            int(found["timestamp"], 16),
            int(found.get("baseFeePerGas") or "0x0", 16),
            raw(found["parentHash"]),
        )
    )


def finalized() -> Block | None:
    """The newest block that the chain itself calls final; None when the node has no such block."""
    try:
        found = request("eth_getBlockByNumber", "finalized", False)
    except RpcRefused:
        return None
    return _header(found) if found else None


def call(to: bytes | None, data: bytes, at: Block | None = None, **options: Any) -> bytes:
    """An `eth_call` at a block, or at whatever block the node has newest. Raises CallReverted when the call reverts.

    Without a recipient the data is a constructor, which runs without being deployed and returns the answer.
    """
    message = {**({"to": "0x" + to.hex()} if to else {}), "data": "0x" + data.hex(), **options}
    return raw(_at_block(at, "eth_call", message))


def _at_block(at: Block | None, method: str, *params: Any) -> Any:
    """Ask about the state in one block. A node that does not have it yet refuses, and another may have it."""
    if at is None:
        return request(method, *params, "latest")
    for pause in _PAUSES:
        try:
            return request(method, *params, at.name)
        except RpcRefused:
            time.sleep(pause)
    return request(method, *params, at.name)


def balance_of(holder: bytes, at: Block | None = None) -> int:
    """An address's balance of our token in a block, in the token's smallest unit."""
    return _word(call(token(), _selector("balanceOf(address)") + encode(["address"], [holder]), at))


def ether_of(address: bytes) -> int:
    """An address's balance of the chain's own coin, in wei."""
    found = request("eth_getBalance", "0x" + address.hex(), "latest")
    return parsed(lambda: int(found, 16))


def authorization_used(payer: bytes, nonce: bytes, at: Block) -> bool:
    """Whether an authorization is used or cancelled, as of a block (EIP-3009 `authorizationState`)."""
    data = _selector("authorizationState(address,bytes32)") + encode(["address", "bytes32"], [payer, nonce])
    return bool(_word(call(token(), data, at)))


def contract_wallet_accepts(wallet: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether a contract wallet accepts a signature (EIP-1271), within a gas cap."""
    data = _selector("isValidSignature(bytes32,bytes)") + encode(["bytes32", "bytes"], [digest, signature])
    try:
        answer = call(wallet, data, gas=hex(EIP1271_GAS))
    except CallReverted:
        return False
    return answer[:4] == EIP1271_MAGIC


# --- The batch contract (payments/onchain/contracts/BatchSettlement.sol) -------------------------------------

ITEM = "(address,address,uint256,uint256,uint256,bytes32,bytes)"
SETTLE = f"settle(address,uint256,{ITEM}[])"


@functools.cache
def _batch_code() -> bytes:
    artefact = Path(__file__).parent / "contracts" / "BatchSettlement.json"
    return raw(json.loads(artefact.read_text())["bytecode"])


def batch_contract() -> bytes:
    """The deterministic address of the batch contract, deployed or not (EIP-1014, salt 0)."""
    return keccak(b"\xff" + DEPLOYER + bytes(32) + keccak(_batch_code()))[12:]


def batch_deployment() -> bytes:
    """The call data that makes the deterministic deployer create the batch contract."""
    return bytes(32) + _batch_code()


def code_at(where: bytes) -> bytes:
    """The code at an address; empty when it has none."""
    return raw(request("eth_getCode", "0x" + where.hex(), "latest"))


def settle_call(items: Sequence[tuple], gas_each: int) -> bytes:
    """The call data that settles many authorizations in one transaction."""
    return _selector(SETTLE) + encode(["address", "uint256", f"{ITEM}[]"], [token(), gas_each, list(items)])


def simulate(data: bytes, sender: bytes, gas: int, at: Block) -> list[bool]:
    """Which authorizations of a batch the token would settle after a block. Raises CallReverted for the whole call."""
    answer = call(batch_contract(), data, at, **{"from": "0x" + sender.hex(), "gas": hex(gas)})
    return parsed(lambda: list(decode(["bool[]"], answer)[0]))


# --- Sending ------------------------------------------------------------------------------------------


def transaction_count(key: bytes, at: Block | None = None) -> int:
    """The number of mined transactions of a key in a block, which is its next nonce on the chain."""
    found = _at_block(at, "eth_getTransactionCount", "0x" + key.hex())
    return parsed(lambda: int(found, 16))


def suggested_priority_fee() -> int:
    """The priority fee that the node suggests, in wei per gas; 0.001 gwei when the node suggests none."""
    try:
        return parsed(lambda: int(request("eth_maxPriorityFeePerGas"), 16))
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


def raw(text: Any) -> bytes:
    """The bytes of a hex text in a node's answer."""
    return parsed(lambda: bytes.fromhex(text.removeprefix("0x")))


def _word(found: bytes) -> int:
    """A 32-byte word as an integer. A shorter answer counts as unreachable: an empty one must not be read as zero."""
    if len(found) != 32:
        raise ChainUnreachable("the node's answer makes no sense")
    return int.from_bytes(found)


def parsed(read: Callable[[], Any]) -> Any:
    """Run `read` on an answer. A node whose answer cannot be parsed counts as unreachable."""
    try:
        return read()
    except (AttributeError, DecodingError, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise ChainUnreachable("the node's answer makes no sense") from error
