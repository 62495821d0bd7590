"""What a text costs to render, in CPU seconds: none within the limits is a bomb."""

import functools
import random
import time

import pytest

from publishers.articles import manuscript
from publishers.articles.manuscript import NotPrintable, prepare

MARKS, LINES = manuscript.MARKS_MAX, manuscript.LINES_MAX
BOMBS = {
    "brackets": "[" * MARKS,
    "pictures": "![" * (MARKS // 2),
    "quotes": "a\n\n" + "> " * MARKS,
    "double stars": "**a" * (MARKS // 2),
    "references": "[a][b" * (MARKS // 3),
    "links": "[a](" * (MARKS // 2),
    "definitions": "[a\n" * LINES,
    "list": "* a\n" * LINES,
    "deep list": "\n".join(" " * n + "- a" for n in range(900)),
    "table rows": "|a|b|\n|-|-|\n" + "|x\n" * (LINES - 2),
    "table columns": "|a" * (MARKS // 3) + "|\n" + "|-" * (MARKS // 3) + "|\n" + "x\n" * (LINES - 2),
    "colons": ":" * 499_999,
}


# An ordinary article, nearly as long and as marked as one may be.
PARAGRAPH = "The *tide* comes twice a day, whatever anybody does.\n" * 8 + "\n"
HONEST = PARAGRAPH * 1_000


@pytest.mark.parametrize("name", BOMBS)
def test_no_text_within_the_limits_costs_much_more_than_an_honest_one(name):
    """Side by side, in this process's own time: the worst takes five times as long."""
    limit = 8 * _honest_seconds(HONEST)
    # Whatever else the machine does makes a timing longer and never shorter, so one good timing is enough.
    assert any(_seconds(BOMBS[name]) < limit for _ in range(3))


def test_without_its_limits_a_text_would_cost_more():
    """The measure above can tell: beside an article that is as long as one could be if the limits were a twentieth."""
    assert _seconds(BOMBS["list"]) > 8 * _honest_seconds(PARAGRAPH * 50)


@functools.cache
def _honest_seconds(text):
    """The best of three timings."""
    return min(_seconds(text) for _ in range(3))


def _seconds(text):
    started = time.process_time()
    prepare(text)
    return time.process_time() - started


def test_no_mixture_of_marks_breaks_the_renderer():
    chance = random.Random(402)  # noqa: S311
    alphabet = "ab *_`[]()<>!|~#-\n\t&\\:\"'1.\u202e\u0301<!-- paywall -->"
    for _ in range(300):
        text = "".join(chance.choices(alphabet, k=200))
        try:
            ready = prepare(text)
        except NotPrintable:
            continue
        assert ready.teaser_words < ready.words or ready.words == 0
