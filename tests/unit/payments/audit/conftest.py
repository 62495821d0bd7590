"""Books that are sold once for a file. Each test breaks them in a transaction of its own, which is rolled back."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as configured
from django.db import transaction
from django.test import override_settings

from payments.audit import chain
from tests import databases
from tests.chain import QuietChain
from tests.unit.payments.counter import Counter
from tests.unit.payments.planting import Books, sell


def roll_back_what_was_planted(request: pytest.FixtureRequest) -> None:
    """Without Django's asking first whether the constraints hold."""
    if request.node.get_closest_marker("planted"):
        transaction.set_rollback(True)


@pytest.fixture(autouse=True)
def one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """A difference with this chain is a difference: no node is behind."""
    monkeypatch.setattr(chain, "_PAUSES", ())


@pytest.fixture(scope="module")
def _sold_once(_quiet_chain: QuietChain, django_db_setup: None, django_db_blocker: Any) -> Iterator[Books]:
    """Committed: a file whose tests ask for this has no test that commits."""
    _quiet_chain.start_again()
    with django_db_blocker.unblock(), override_settings(**_quiet_chain.settings()):
        counter = Counter(_quiet_chain, configured)
        books = sell(counter)
        counter.close()
    yield books
    with django_db_blocker.unblock():
        databases.empty()


@pytest.fixture
def books(
    request: pytest.FixtureRequest, _sold_once: Books, _quiet_chain: QuietChain, settings: Any, db: None
) -> Iterator[Books]:
    """The chain goes back with the database."""
    for name, value in _quiet_chain.settings().items():
        setattr(settings, name, value)
    before = _quiet_chain.rpc("evm_snapshot")
    yield _sold_once.again()
    roll_back_what_was_planted(request)
    assert _quiet_chain.rpc("evm_revert", before)
