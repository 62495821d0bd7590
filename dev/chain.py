"""The local chain, with test dollars at the address of Base Sepolia's USDC and accounts that hold some.

Every start creates a new chain with a new mnemonic, so signatures made for an earlier chain are worthless here.
"""

import contextlib
import json
import secrets
import socket
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.children import Child
from dev.install import ROOT
from dev.say import Stop

CHAIN_ID = 84532
NETWORK = f"eip155:{CHAIN_ID}"
TEST_DOLLAR = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
BUYERS = 12
BUYER_MICROS = 1_000_000_000
_PORT_TRIES = 100
_ARTEFACT = ROOT / "payments" / "onchain" / "contracts" / "TestDollar.json"
_MINT = "0x40c10f19"  # mint(address,uint256)


@dataclass(frozen=True)
class Wallet:
    """An address with its private key, both as 0x… text."""

    address: str
    key: str


@dataclass(frozen=True)
class Accounts:
    """The accounts by role. Each has ether for gas. The agent and buyers also have test dollars; pay_to has none."""

    settler: Wallet
    pay_to: Wallet
    minter: Wallet
    agent: Wallet
    buyers: list[Wallet]


def free_port() -> int:
    """Return a port that is free now.

    It is below the ephemeral range, so that no outgoing connection takes it before its server starts or while that
    server restarts.
    """
    for _ in range(_PORT_TRIES):
        with contextlib.suppress(Stop):
            return check_port(20_000 + secrets.randbelow(12_000))
    raise Stop("There is no free port between 20000 and 32000.")


def check_port(port: int) -> int:
    """Return the port. Raises Stop if it is in use, because we would mistake the other server for our own."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise Stop(f"Port {port} cannot be used: {error.strerror}.") from None
    return port


def program(anvil: Path, port: int, folder: Path, block_seconds: float | None = None) -> Child:
    """Return the chain, not started yet. Once started, it writes its keys to chain.json in `folder`.

    Without `block_seconds` the chain mines each transaction at once and an empty block every second, so that no code
    waits for a block forever. With it the chain mines at that interval only.
    """
    beat = ["--mixed-mining", "--block-time", "1"] if block_seconds is None else ["--block-time", f"{block_seconds:g}"]
    command = [str(anvil), "--host", "127.0.0.1", "--port", str(port), "--chain-id", str(CHAIN_ID), *beat]
    # The chain calls a block final when it is two blocks deep, not 64.
    command += ["--slots-in-an-epoch", "1"]
    command += ["--accounts", str(BUYERS + 4), "--mnemonic-random", "12"]
    command += ["--config-out", str(folder / "chain.json"), "--cache-path", str(folder / "chain")]
    return Child("The chain", command, {}, folder / "chain.log", essential=True)


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def prepare(chain: Child, address: str) -> Accounts:
    """Wait for the chain to answer at this URL, check that it is the one started here, and mint test dollars."""
    config = chain.log.parent / "chain.json"
    until = time.monotonic() + 20
    while not _answers(address) or not _is_whole(config):
        if time.monotonic() > until or chain.ended() is not None:
            raise Stop(f"The local chain does not start; see {chain.log}.")
        time.sleep(0.02)
    accounts = _accounts(config)
    _check_it_is_ours(address, accounts)
    _place_test_dollar(address)
    for wallet in [accounts.agent, *accounts.buyers]:
        call = f"{_MINT}{wallet.address[2:].lower():0>64}{BUYER_MICROS:064x}"
        rpc(address, "eth_sendTransaction", {"from": accounts.minter.address, "to": TEST_DOLLAR, "data": call})
    rpc(address, "evm_mine")
    if balance_micros(address, accounts.buyers[-1].address) != BUYER_MICROS:
        raise Stop("The local chain took the test dollar but minted none.")
    return accounts


def balance_micros(address: str, holder: str) -> int:
    """The test dollars of one address in micros, at the latest block."""
    call = {"to": TEST_DOLLAR, "data": f"0x70a08231{holder[2:].lower():0>64}"}  # balanceOf(address)
    return int(rpc(address, "eth_call", call, "latest"), 16)


def rpc(address: str, method: str, *params: Any) -> Any:
    """Make one JSON-RPC call. An error response raises Stop with the chain's message."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with _direct.open(request, timeout=10) as answer:
        said = json.load(answer)
    if "error" in said:
        raise Stop(f"The local chain refused {method}: {said['error'].get('message')}")
    return said["result"]


# The chain runs on this machine, so ignore any proxy in the environment.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _answers(address: str) -> bool:
    try:
        rpc(address, "eth_chainId")
    except (OSError, ValueError):
        return False
    return True


def _is_whole(config: Path) -> bool:
    """Whether the chain has written its keys: the file is there before its content is."""
    try:
        json.loads(config.read_text())
    except (OSError, ValueError):
        return False
    return True


def _accounts(config: Path) -> Accounts:
    config.chmod(0o600)
    written = json.loads(config.read_text())
    wallets = [Wallet(*pair) for pair in zip(written["available_accounts"], written["private_keys"], strict=True)]
    settler, pay_to, minter, agent, *buyers = wallets
    return Accounts(settler, pay_to, minter, agent, buyers)


def _check_it_is_ours(address: str, accounts: Accounts) -> None:
    """Compare the random accounts: any other chain on this port has different ones."""
    chain_id = int(rpc(address, "eth_chainId"), 16)
    known = {account.lower() for account in rpc(address, "eth_accounts")}
    height = int(rpc(address, "eth_blockNumber"), 16)
    if chain_id != CHAIN_ID or accounts.settler.address.lower() not in known or height > 100:
        raise Stop(f"Another chain answers at {address} (chain id {chain_id}, block {height}); stop it and try again.")


def _place_test_dollar(address: str) -> None:
    code = json.loads(_ARTEFACT.read_text())["deployedBytecode"]
    rpc(address, "anvil_setCode", TEST_DOLLAR, code if code.startswith("0x") else f"0x{code}")
