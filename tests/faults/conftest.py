"""Two stages for all fault tests: one whose chain mines at once, one with a block every second and none in between."""

import os
from collections.abc import Iterator

import pytest

from .stage import Stage, open_stage

# SQLite is a file: there is no server to stop.
collect_ignore = [] if os.environ.get("DATABASE_URL", "").startswith("postgres") else ["test_postgres.py"]
# A dead settler is replaced when its lease has run out; a buyer is told "later" after a second instead of four.
IMPATIENT = {"LEASE_SECONDS": "1", "SETTLE_WAIT_SECONDS": "1", "FEE_BUMP_SECONDS": "2", "RPC_TIMEOUT_SECONDS": "2"}


@pytest.fixture(scope="package")
def _stage() -> Iterator[Stage]:
    with open_stage("faults", mortal=True, many_nodes=True, **IMPATIENT) as stage:
        yield stage


@pytest.fixture(scope="package")
def _timed_stage() -> Iterator[Stage]:
    with open_stage("timed", block_time=1, many_nodes=True, **IMPATIENT) as stage:
        yield stage


@pytest.fixture
def stage(_stage: Stage) -> Iterator[Stage]:
    """After every test: everything runs again without a hand being lifted, and the books hold."""
    yield _stage
    _stage.restore()
    _stage.shop.audit()


@pytest.fixture
def timed_stage(_timed_stage: Stage) -> Iterator[Stage]:
    """The same, on a chain with timed blocks."""
    yield _timed_stage
    _timed_stage.restore()
    _timed_stage.shop.audit()
