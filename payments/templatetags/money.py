"""Amounts on pages. Every amount that a page shows goes through these filters, from whole micros."""

from collections.abc import Iterable
from typing import Any

from django import template

from payments.money import dollars, format_usd

register = template.Library()
# As wide as a digit: it stands where a shorter amount has no digit, so that the points of a column line up.
_FIGURE_SPACE = "\u2007"


@register.filter
def usd(micros: int | None, decimals: int = 2) -> str:
    """50000 → "$0.05", -250000 → "−$0.25", None → "". `decimals` pads an amount in a column."""
    return "" if micros is None else _padded(dollars(int(micros)), int(decimals or 2))


@register.filter
def change(micros: int, decimals: int = 2) -> str:
    """250000 → "+$0.25", -250000 → "−$0.25"."""
    sign = "+" if micros > 0 else ""
    return _padded(f"{sign}{dollars(micros)}", int(decimals or 2))


@register.simple_tag
def decimals(*amounts: int | None) -> int:
    """The most digits after the point that any of these amounts has."""
    return max((_digits(micros) for micros in amounts if micros is not None), default=2)


@register.simple_tag
def decimals_of(rows: Iterable[Any], path: str) -> int:
    """The same for a column: `path` leads from a row to its amount, as in `{{ row.path }}`."""
    return decimals(*(_at(row, path) for row in rows))


def _digits(micros: int) -> int:
    return len(format_usd(micros).partition(".")[2])


def _padded(text: str, decimals: int) -> str:
    return text + _FIGURE_SPACE * (decimals - len(text.partition(".")[2]))


def _at(row: Any, path: str) -> Any:
    for name in path.split("."):
        if isinstance(row, dict):
            row = row[name]
        elif name.isdigit():
            row = row[int(name)]
        else:
            row = getattr(row, name)
    return row
