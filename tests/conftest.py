"""What all tests share: after every test the books are audited and nobody was asked inside a transaction; the
append-only tables are emptied between them.
"""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import TransactionTestCase

from dev import chain as dev_chain
from dev.children import Children
from dev.standin import Standin
from marketplace.shop import listings
from payments import audit, onchain, waiters
from payments.onchain import signatures, watcher
from tests import databases, edges, outside
from tests.bank import Bank
from tests.chain import LocalChain, forget_the_chain
from tests.shop import ANVIL, Shop, open_shop


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with where it runs, and skip what the database of this run has no means for."""
    elsewhere = pytest.mark.skip(reason=f"needs PostgreSQL, and this run is on {connection.vendor}")
    for item in items:
        databases.mark(item)
        if item.get_closest_marker("postgresql") and connection.vendor != "postgresql":
            item.add_marker(elsewhere)


def pytest_collection_finish() -> None:
    """Look for garbage rarely, and never among the imported modules. It was a seventh of what the tests cost."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """Tables are emptied by our own means, and nobody of this process listens to the database when it is dropped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _: databases.empty())
        yield
    waiters.close()


@pytest.fixture(autouse=True)
def nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test left in this process's memory is not there for the next.

    A listing least of all: the next test may have another article at the same address before the notification arrives.
    """
    monkeypatch.setattr(listings, "_kept", {})
    monkeypatch.setattr(listings, "_SECONDS", 0.0)
    monkeypatch.setattr(signatures, "_asked", signatures._Asked())
    # Not by the monkeypatch: it would bring back what the test before has left.
    forget_the_chain()


@pytest.fixture(scope="session", autouse=True)
def asked_inside() -> outside.Notes:
    """What was asked of anybody outside while a transaction was open; emptied after each test."""
    notes = outside.Notes()
    outside.watch(notes.note)
    return notes


@pytest.fixture(autouse=True)
def nobody_was_asked_inside_a_transaction(asked_inside: outside.Notes) -> Iterator[None]:
    """In no test at all: neither the node nor the card processor, and no letter was sent."""
    yield
    assert asked_inside.taken() == []


@pytest.fixture(autouse=True)
def with_shipped_settings(request: pytest.FixtureRequest) -> None:
    """A test of both sides of a setting has it as it is shipped (tests.edges)."""
    for mark in request.node.iter_markers(edges.MARK):
        for name in mark.args:
            setattr(request.getfixturevalue("settings"), name, edges.shipped()[name])


@pytest.fixture(autouse=True)
def the_books_hold(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test that brought money into a database: no invariant is broken, in it or against its chain."""
    if request.node.get_closest_marker("django_db"):
        request.getfixturevalue("_django_db_helper")
        # Asked for here so that it is still set when the books are compared.
        chain = request.getfixturevalue("chain") if "chain" in request.fixturenames else None
        before = chain.ours() if chain else 0
        yield
        if request.node.get_closest_marker("planted"):
            return
        if databases.has_money() or (chain and chain.ours() != before):
            if onchain.enabled():
                watcher.watch()
            assert [str(finding) for finding in audit.findings()] == []
        return
    yield
    if "shop" in request.fixturenames:
        request.getfixturevalue("shop").audit()


@pytest.fixture(scope="session")
def _chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dev_chain.Accounts]]:
    folder: Path = tmp_path_factory.mktemp("chain")
    children, port = Children(), dev_chain.free_port()
    try:
        child = children.start(dev_chain.program(ANVIL, port, folder))
        yield dev_chain.url(port), dev_chain.prepare(child, dev_chain.url(port))
    finally:
        children.stop()


@pytest.fixture
def chain(_chain: tuple[str, dev_chain.Accounts], settings: Any) -> LocalChain:
    """A real chain, and the product in this process set to sell on it."""
    url, accounts = _chain
    settings.CHAIN_RPC_URL = url
    settings.PAY_TO = accounts.pay_to.address
    settings.SETTLER_KEY = accounts.settler.key
    return LocalChain(url, accounts)


@pytest.fixture(scope="session")
def shop() -> Iterator[Shop]:
    """One running shop for all tests that only buy from it. It has a name too, since passkeys belong to one."""
    with open_shop("main") as running:
        yield running


@pytest.fixture
def cards_on(settings: Any) -> None:
    """Card payments are configured; who is asked about them is the stand-in, for tests that also take `bank`."""
    settings.STRIPE_SECRET_KEY = "sk_test_of_the_tests"


@pytest.fixture(scope="session")
def _standin() -> Iterator[Standin]:
    with Standin(seed=11) as standin:
        yield standin


@pytest.fixture
def bank(_standin: Standin, settings: Any, transactional_db: None) -> Iterator[Bank]:
    """The emptied stand-in for Stripe. Its webhooks wait until a test delivers them."""
    opened = Bank(_standin, settings)
    yield opened
    opened.close()
