"""All races are run in one shop with a block a second."""

import pytest

from tests.faults.stage import Stage


@pytest.fixture
def stage(slow_stage: Stage) -> Stage:
    return slow_stage
