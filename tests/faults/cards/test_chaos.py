"""Chaos: random episodes, each by its seed alone.

`--chaos-episodes 1000` runs more of them, and `--chaos-seed 17 --chaos-episodes 1` the one that failed. A failure shows
the episode's story.
"""

import pytest

from tests.bank import Bank

from . import invariants
from .chaos import ALL_EPISODES, Episode

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        first = metafunc.config.getoption("--chaos-seed", default=1)
        seeds = range(first, first + metafunc.config.getoption("--chaos-episodes", default=60))
        metafunc.parametrize("seed", seeds, ids=[f"seed {seed}" for seed in seeds])


def test_an_episode_leaves_nothing_wrong(bank: Bank, seed: int, monkeypatch: pytest.MonkeyPatch):
    episode = Episode(bank, seed, monkeypatch)
    try:
        episode.run()
        report = episode.heal()
        assert invariants.broken(bank.state(), report) == []
    finally:
        print(f"seed {seed}", *episode.story, sep="\n  ")
    ALL_EPISODES.update(episode.tally())
