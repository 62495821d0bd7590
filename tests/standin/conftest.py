"""One stand-in for all these tests, emptied for each, and the official client that drives it."""

from collections.abc import Iterator

import pytest

from dev.standin import Standin
from tests.standin.driver import Driver


@pytest.fixture(scope="session")
def _standin() -> Iterator[Standin]:
    with Standin(seed=7) as standin:
        yield standin


@pytest.fixture
def pay(_standin: Standin) -> Iterator[Driver]:
    driver = Driver(_standin)
    driver.fake("POST", "reset")
    driver.fake("POST", "webhooks/configure", {})
    driver.fake("POST", "settings", {"settle_after": 0})
    yield driver
    bugs = driver.fake("GET", "state")["bugs"]
    driver.close()
    assert bugs == []
