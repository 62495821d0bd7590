"""Chaos: random episodes, each by its seed alone: half of them on SQLite, the other half on PostgreSQL.

`--chaos-episodes 1000` runs more of them, and `--chaos-seed 17 --chaos-episodes 1` the one that failed. A failure shows
the episode's story.
"""

from typing import Any

import pytest
from django.db import connection

from tests.bank import Bank

from . import invariants
from .chaos import ALL_EPISODES, Episode

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]
_EPISODES = 12


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        # A run that does not start in this folder knows no such options.
        episodes = metafunc.config.getoption("--chaos-episodes", default=None) or _EPISODES
        usual = 1 if connection.vendor == "sqlite" else 1 + _EPISODES
        first = metafunc.config.getoption("--chaos-seed", default=None) or usual
        seeds = range(first, first + episodes)
        metafunc.parametrize("seed", seeds, ids=[f"seed {seed}" for seed in seeds])


def test_an_episode_leaves_nothing_wrong(bank: Bank, seed: int, monkeypatch: pytest.MonkeyPatch, settings: Any):
    settings.REFUND_FEE_PAID_BY = ("shop", "buyer")[seed % 2]
    episode = Episode(bank, seed, monkeypatch)
    try:
        episode.run()
        report = episode.heal()
        assert invariants.broken(bank.state(), report) == []
    finally:
        print(f"seed {seed}", *episode.story, sep="\n  ")
    ALL_EPISODES.update(episode.tally())
