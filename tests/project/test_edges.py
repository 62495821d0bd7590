"""No number of the settings that decides something is left without a test of both its sides."""

import pytest

from dev.install import ROOT
from tests import edges

# What is no edge of a decision, and why.
NO_EDGE = {
    "CHAIN_ID": "a name: another number is another chain",
    "DATABASE_POOL_MAX": "handed to the pool, which a test of its own fills on PostgreSQL",
    "RPC_TIMEOUT_SECONDS": "handed to the transport: tests/unit/payments/test_handed_on.py",
    "STRIPE_TIMEOUT_SECONDS": "handed to the transport: tests/unit/payments/test_handed_on.py",
}


def marked() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for setting, test in edges.named(path):
            found.setdefault(setting, []).append(f"{path.relative_to(ROOT)}::{test}")
    return found


def test_every_number_of_the_settings_is_tried_on_both_sides():
    settings = edges.shipped()
    assert len(settings) > 25
    assert sorted(settings.keys() - NO_EDGE.keys() - marked().keys()) == []


def test_no_mark_names_what_is_no_setting_and_no_excuse_is_out_of_date():
    assert sorted(marked().keys() - edges.shipped().keys()) == []
    assert sorted(NO_EDGE.keys() - edges.shipped().keys()) == []
    assert sorted(NO_EDGE.keys() & marked().keys()) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('NEW_SECONDS = env.int("NEW_SECONDS", default=30)', {"NEW_SECONDS": 30}),
        ('WAIT = env.float("WAIT_SECONDS", default=4.0)', {"WAIT_SECONDS": 4.0}),
        ('SUMS = env.list("SUMS", cast=int, default=[1, 2])', {"SUMS": [1, 2]}),
        ('NAMES = env.list("NAMES", default=[])', {}),
        ('NAME = env.str("NAME", default="7")', {}),
    ],
)
def test_a_new_number_in_the_settings_is_seen(text: str, found: dict):
    assert edges.shipped(text) == found


def test_a_mark_is_read_where_it_stands(tmp_path):
    file = tmp_path / "test_some.py"
    file.write_text("@pytest.mark.both_sides('A', 'B')\ndef test_one(): ...\n@pytest.mark.slow\ndef test_two(): ...\n")
    assert list(edges.named(file)) == [("A", "test_one"), ("B", "test_one")]
