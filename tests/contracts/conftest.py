"""A real chain of one's own for the contract tests: anvil, with the test dollar in USDC's place."""

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from eth_account import Account
from web3 import HTTPProvider, Web3

from .signing import CHAIN_ID, USDC, paid

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = ROOT / "payments" / "onchain" / "contracts"
ANVIL = ROOT / "node_modules" / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"


def anvil_binary():
    found = str(ANVIL) if ANVIL.exists() else shutil.which("anvil")
    if not found:
        # Not a skip: a suite that silently leaves the money contracts out looks just like one
        # in which they work.
        pytest.fail("anvil is not installed; run: npm ci --ignore-scripts", pytrace=False)
    return found


@pytest.fixture(scope="session")
def chain(tmp_path_factory):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("anvil") / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [anvil_binary(), "--chain-id", str(CHAIN_ID), "--port", str(port), "--host", "127.0.0.1"],
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        w3 = Web3(HTTPProvider(f"http://127.0.0.1:{port}", request_kwargs={"timeout": 30}))
        deadline = time.monotonic() + 30
        while not w3.is_connected():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"anvil did not start:\n{log.read_text()}", pytrace=False)
            time.sleep(0.05)
        yield w3
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def w3(chain):
    """The chain, put back afterwards to how the test found it."""
    snapshot = chain.provider.make_request("evm_snapshot", [])["result"]
    yield chain
    assert chain.provider.make_request("evm_revert", [snapshot])["result"] is True


@pytest.fixture(scope="session")
def artefact():
    def read(name):
        return json.loads((CONTRACTS / f"{name}.json").read_text())

    return read


@pytest.fixture
def place(w3):
    """Puts runtime code at an address, without a constructor."""

    def place(address, code):
        answer = w3.provider.make_request("anvil_setCode", [address, code])
        assert "error" not in answer, answer
        return Web3.to_checksum_address(address)

    return place


@pytest.fixture
def deploy(w3, artefact):
    def deploy(name, *args):
        compiled = artefact(name)
        factory = w3.eth.contract(abi=compiled["abi"], bytecode=compiled["bytecode"])
        transaction = factory.constructor(*args).transact({"from": w3.eth.accounts[0]})
        receipt = w3.eth.wait_for_transaction_receipt(transaction)
        assert receipt.status == 1
        return w3.eth.contract(address=receipt.contractAddress, abi=compiled["abi"])

    return deploy


@pytest.fixture
def dollar(w3, artefact, place):
    compiled = artefact("TestDollar")
    return w3.eth.contract(address=place(USDC, compiled["deployedBytecode"]), abi=compiled["abi"])


@pytest.fixture
def payer(w3, dollar):
    account = Account.create()
    paid(w3, dollar.functions.mint(account.address, 1_000))
    return account
