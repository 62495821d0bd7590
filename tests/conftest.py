"""What all tests share: after every test the books are audited and nobody was asked inside a transaction; the
append-only tables are emptied between them.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models.signals import post_migrate

from dev import chain as dev_chain
from dev.children import Children
from marketplace.shop import listings
from payments import audit, waiters
from payments.onchain import signatures, watcher
from payments.rails import exact
from tests import edges, outside
from tests.shop import ANVIL, Shop, open_shop


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """Permissions are not made anew after every test that empties the tables: nobody here is given single ones.

    Nobody of this process listens to the database when it is dropped.
    """
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    yield
    waiters.close()


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """The emptying of tables between tests is the one thing allowed past the triggers, and only from here."""
    flush = connection.ops.execute_sql_flush
    connection.ops.execute_sql_flush = lambda statements: _past_the_triggers(flush, statements)  # type: ignore[method-assign]


def _past_the_triggers(flush: Callable[[list[str]], None], statements: list[str]) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET session_replication_role = replica")
            flush(statements)
            cursor.execute("SET session_replication_role = origin")
            return
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        triggers = cursor.fetchall()
        for name, _ in triggers:
            cursor.execute(f"DROP TRIGGER {name}")
        flush(statements)
        for _, statement in triggers:
            cursor.execute(statement)


@pytest.fixture(autouse=True)
def nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test left in this process's memory is not there for the next.

    A listing least of all: the next test may have another article at the same address before the bell has rung.
    """
    monkeypatch.setattr(listings, "_kept", {})
    monkeypatch.setattr(listings, "_SECONDS", 0.0)
    monkeypatch.setattr(signatures, "_asked", signatures._Asked())


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
    """After every test that touched a database: no invariant is broken, in it or against its chain."""
    if request.node.get_closest_marker("django_db"):
        request.getfixturevalue("_django_db_helper")
        if "chain" in request.fixturenames:
            request.getfixturevalue("chain")  # Asked for here so that it is still set when the books are compared.
        yield
        if request.node.get_closest_marker("planted"):
            return
        if exact.enabled():
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
def chain(_chain: tuple[str, dev_chain.Accounts], settings: Any) -> "LocalChain":
    """A real chain, and the product in this process set to sell on it."""
    url, accounts = _chain
    settings.CHAIN_RPC_URL = url
    settings.PAY_TO = accounts.pay_to.address
    settings.SETTLER_KEY = accounts.settler.key
    return LocalChain(url, accounts)


class LocalChain:
    """The session's anvil."""

    def __init__(self, url: str, accounts: dev_chain.Accounts) -> None:
        self.url = url
        self.accounts = accounts

    def rpc(self, method: str, *params: Any) -> Any:
        return dev_chain.rpc(self.url, method, *params)

    def balance(self, holder: str) -> int:
        return dev_chain.balance_micros(self.url, holder)

    def mint(self, holder: str, micros: int) -> None:
        call = f"0x40c10f19{holder[2:].lower():0>64}{micros:064x}"
        sender = self.accounts.minter.address
        self._mined(self.rpc("eth_sendTransaction", {"from": sender, "to": dev_chain.TEST_DOLLAR, "data": call}))

    def _mined(self, tx: str) -> None:
        """A transaction is in the pool when it was sent, and in a block a moment later."""
        Shop.wait(lambda: self.rpc("eth_getTransactionReceipt", tx), "the mint")


@pytest.fixture(scope="session")
def shop() -> Iterator[Shop]:
    """One running shop for all tests that only buy from it."""
    with open_shop("main") as running:
        yield running
