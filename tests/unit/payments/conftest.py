"""A chain that only moves when a test says so, and the gate and the settler on it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev import chain as dev_chain
from dev.children import Children
from payments.onchain import rpc
from tests.chain import QuietChain
from tests.shop import ANVIL

from .counter import Counter
from .planting import Books, sell


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
    for name, value in _quiet_chain.settings().items():
        setattr(settings, name, value)
    return _quiet_chain


@pytest.fixture
def no_finalized_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node has no `finalized` block, so that CHAIN_FINALITY_DEPTH decides."""
    monkeypatch.setattr(rpc, "finalized", lambda: None)


@pytest.fixture
def counter(chain: QuietChain, settings: Any, transactional_db: None) -> Iterator[Counter]:
    """Sells by the gate's and the settler's own functions, a step at a time."""
    opened = Counter(chain, settings)
    yield opened
    opened.close()


@pytest.fixture
def committed_books(counter: Counter) -> Books:
    return sell(counter)
