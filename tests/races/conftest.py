"""One shop for all races, with a block a second: what is under way stays under way long enough to collide."""

from collections.abc import Iterator

import pytest

from tests.faults.stage import Stage, open_stage


@pytest.fixture(scope="package")
def _stage() -> Iterator[Stage]:
    with open_stage("races", block_time=1, BATCH_MAX="8") as stage:
        yield stage


@pytest.fixture
def stage(_stage: Stage) -> Iterator[Stage]:
    yield _stage
    _stage.restore()
    _stage.shop.audit()
