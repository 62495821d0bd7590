"""Cards are on; the processor is the strict stand-in, emptied for each test that asks for it."""

from collections.abc import Iterator
from typing import Any

import pytest

from dev.standin import Standin

from .bank import Bank
from .chaos import ALL_EPISODES


def pytest_addoption(parser: pytest.Parser) -> None:
    chaos = parser.getgroup("chaos", "episodes of tests/cards/test_chaos.py")
    chaos.addoption("--chaos-episodes", type=int, default=60, help="how many (60)")
    chaos.addoption("--chaos-seed", type=int, default=1, help="the first one's seed, the others' follow (1)")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What chaos has done: an episode in which little happens proves little."""
    if ALL_EPISODES:
        terminalreporter.section("chaos")
        terminalreporter.write_line(", ".join(f"{count} {name}" for name, count in ALL_EPISODES.items()))


@pytest.fixture(autouse=True)
def _cards_are_on(settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = "sk_test_of_the_tests"


@pytest.fixture(scope="session")
def _standin() -> Iterator[Standin]:
    with Standin(seed=11) as standin:
        yield standin


@pytest.fixture
def bank(_standin: Standin, settings: Any, transactional_db: None) -> Iterator[Bank]:
    """The processor, with the controls of whoever stands behind it. Its webhooks wait until they are brought."""
    opened = Bank(_standin, settings)
    yield opened
    opened.close()
