"""How pages write amounts and moments."""

import datetime
import zoneinfo

import pytest
from django.template import Context, Template
from django.utils import timezone

from payments.money import dollars
from payments.templatetags.money import decimals, decimals_of

NOON = datetime.datetime(2026, 11, 27, 12, 0, tzinfo=datetime.UTC)


def written(text: str, **values: object) -> str:
    return Template("{% load money times %}" + text).render(Context(values))


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "$0.00"), (250_000, "$0.25"), (-250_000, "−$0.25"), (1, "$0.000001"), (47_500, "$0.0475"),
        (1_234_500_000, "$1,234.50"), (-1_000_000_000_000, "−$1,000,000.00"),
    ],
)  # fmt: skip
def test_an_amount_has_a_dollar_sign_a_true_minus_and_every_digit(micros, text):
    assert dollars(micros) == text
    assert written("{{ micros|usd }}", micros=micros) == text


def test_nothing_is_written_for_no_amount():
    assert written("{{ micros|usd }}", micros=None) == ""


@pytest.mark.parametrize(("micros", "text"), [(250_000, "+$0.25"), (-250_000, "−$0.25"), (0, "$0.00")])
def test_a_change_has_its_sign(micros, text):
    assert written("{{ micros|change }}", micros=micros) == text


def test_the_points_of_a_column_line_up():
    rows = [{"fee": 12_500, "sale": (1, 250_000)}, {"fee": 50_000, "sale": (2, 100_000)}]
    assert decimals_of(rows, "fee") == 4
    assert decimals_of(rows, "sale.1") == 2
    assert decimals(None, 1_000) == 3
    assert decimals() == 2
    column = "{% decimals_of rows 'fee' as digits %}{% for row in rows %}{{ row.fee|usd:digits }}|{% endfor %}"
    assert written(column, rows=rows) == "$0.0125|$0.05\u2007\u2007|"


def test_a_moment_is_in_the_publications_zone_with_utc_on_hover():
    page = written("{% moment at 'short' 'America/New_York' %}", at=NOON)
    assert ">27 Nov 2026, 07:00</time>" in page
    assert 'title="27 November 2026, 12:00:00 UTC"' in page
    assert "data-local" not in page


def test_a_moment_without_a_zone_is_in_utc_until_the_browser_shows_its_own():
    assert ">27 November 2026, 12:00 UTC</time>" in written("{% moment at %}", at=NOON)
    assert 'data-local="short">27 Nov 2026, 12:00</time>' in written("{% moment at 'short' %}", at=NOON)
    assert written("{% moment at %}", at=None) == ""


def test_a_moment_is_in_the_browsers_zone_once_it_is_known():
    with timezone.override(zoneinfo.ZoneInfo("America/New_York")):
        assert 'title="27 November 2026, 12:00:00 UTC" data-local="long">27 November 2026, 07:00</time>' in written(
            "{% moment at %}", at=NOON
        )
        assert ">27 Nov 2026, 21:00</time>" in written("{% moment at 'short' 'Asia/Tokyo' %}", at=NOON)
        assert written("{% zone_name %}") == "America/New York"
    assert written("{% zone_name %}") == "UTC"
