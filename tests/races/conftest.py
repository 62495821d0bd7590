"""All races are run in one shop with a block a second: what is under way stays under way long enough to collide."""

from collections.abc import Iterator

import pytest

from tests.faults.stage import Stage, open_stage
from tests.interop.clients import KINDS, Client, missing, started

pytest.register_assert_rewrite("tests.interop.proof")


@pytest.fixture(scope="package")
def _stage() -> Iterator[Stage]:
    with open_stage("slow", block_time=1, BATCH_MAX="8") as stage:
        yield stage


@pytest.fixture
def stage(_stage: Stage) -> Iterator[Stage]:
    """After every test: everything runs again without a hand being lifted, and the books hold."""
    yield _stage
    _stage.restore()
    _stage.shop.audit()


@pytest.fixture
def all_clients() -> Iterator[list[Client]]:
    """All official clients at once."""
    if lacking := [why for kind in KINDS if (why := missing(kind))]:
        pytest.skip("; ".join(lacking))
    with started() as running:
        yield list(running.values())
