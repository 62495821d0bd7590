"""What all tests share: the books are audited after every test, and the append-only tables are emptied between them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models.signals import post_migrate

from dev import chain as dev_chain
from dev.children import Children
from dev.standin import Standin
from marketplace.shop import listings
from payments import audit, onchain, waiters
from payments.onchain import signatures, watcher
from tests.bank import Bank
from tests.chain import LocalChain
from tests.shop import ANVIL, Shop, open_shop


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, by name of the database, what this one has no means for."""
    if connection.vendor == "postgresql":
        return
    elsewhere = pytest.mark.skip(reason=f"needs PostgreSQL, and this run is on {connection.vendor}")
    for item in items:
        if item.get_closest_marker("postgresql"):
            item.add_marker(elsewhere)


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
    """One running shop for all tests that only buy from it."""
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
