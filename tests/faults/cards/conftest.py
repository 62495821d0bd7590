"""The options of chaos, and what it tells at the end."""

from typing import Any

import pytest

from .chaos import ALL_EPISODES


def pytest_addoption(parser: pytest.Parser) -> None:
    chaos = parser.getgroup("chaos", "episodes of tests/faults/cards/test_chaos.py")
    chaos.addoption("--chaos-episodes", type=int, help="how many (12)")
    chaos.addoption("--chaos-seed", type=int, help="the first one's seed, the others' follow (1, on PostgreSQL 13)")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What chaos has done: an episode in which little happens proves little."""
    if ALL_EPISODES:
        terminalreporter.section("chaos")
        terminalreporter.write_line(", ".join(f"{count} {name}" for name, count in ALL_EPISODES.items()))
