"""A chain that only moves when a test says so, and what only PostgreSQL can show is skipped elsewhere, and says so."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from dev import chain as dev_chain
from dev.children import Children
from payments.models import PaymentState, Transfer
from payments.onchain import rpc as product_chain
from payments.onchain import watcher
from tests.conftest import LocalChain
from tests.shop import ANVIL

from .counter import Counter, offer
from .planting import Books


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, by name of the database, what this one has no means for."""
    if connection.vendor == "postgresql":
        return
    elsewhere = pytest.mark.skip(reason=f"needs PostgreSQL, and this run is on {connection.vendor}")
    for item in items:
        if item.get_closest_marker("postgresql"):
            item.add_marker(elsewhere)


class QuietChain(LocalChain):
    """Mines when it is told to and never else; every test finds it as the first one did."""

    def __init__(self, url: str, accounts: dev_chain.Accounts) -> None:
        super().__init__(url, accounts)
        self.rpc("evm_setIntervalMining", 0)
        self.rpc("evm_setAutomine", False)
        deployment = "0x" + product_chain.batch_deployment().hex()
        deployer = "0x" + product_chain.DEPLOYER.hex()
        self.rpc("eth_sendTransaction", {"from": accounts.minter.address, "to": deployer, "data": deployment})
        self.rpc("evm_mine")
        assert self.rpc("eth_getCode", "0x" + product_chain.batch_contract().hex(), "latest") != "0x"
        self._first = self.rpc("evm_snapshot")

    def _mined(self, tx: str) -> None:
        self.rpc("evm_mine")

    def start_again(self) -> None:
        assert self.rpc("evm_revert", self._first)
        self._first = self.rpc("evm_snapshot")
        # The clock went back as well.
        self.rpc("anvil_setTime", int(time.time()))
        self.rpc("evm_mine")


@pytest.fixture(scope="session")
def _quiet_chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuietChain]:
    folder: Path = tmp_path_factory.mktemp("quiet-chain")
    children, port = Children(), dev_chain.free_port()
    try:
        child = children.start(dev_chain.program(ANVIL, port, folder))
        yield QuietChain(dev_chain.url(port), dev_chain.prepare(child, dev_chain.url(port)))
    finally:
        children.stop()


@pytest.fixture
def chain(_quiet_chain: QuietChain, settings: Any) -> QuietChain:
    """The product in this process set to sell on that chain, and to wait for nothing."""
    _quiet_chain.start_again()
    settings.CHAIN_RPC_URL = _quiet_chain.url
    settings.PAY_TO = _quiet_chain.accounts.pay_to.address
    settings.SETTLER_KEY = _quiet_chain.accounts.settler.key
    settings.SETTLE_WAIT_SECONDS = 0.0
    return _quiet_chain


@pytest.fixture
def counter(chain: QuietChain, settings: Any, transactional_db: None) -> Iterator[Counter]:
    """Sells by the gate's and the settler's own functions, a step at a time."""
    opened = Counter(chain, settings)
    yield opened
    opened.close()


@pytest.fixture
def books(counter: Counter) -> Books:
    sold = counter.buy(counter.wallet(), offer(1))
    other = counter.buy(counter.wallet(), offer(2))
    released = counter.claim(counter.wallet(0), offer(3))
    counter.chain.mint(counter.settings.PAY_TO, 1_234_567)
    counter.work()
    watcher.watch()
    released.refresh_from_db()
    assert released.state == PaymentState.RELEASED
    arrival = Transfer.objects.get(value=1_234_567)
    return Books(counter, sold, other, released, arrival)
