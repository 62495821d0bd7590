"""How amounts are written in templates: exactly, from whole micros."""

from django import template

from payments.money import format_usd

register = template.Library()


@register.filter
def usd(micros: int | None) -> str:
    """50000 → "0.05"; nothing for nothing."""
    return "" if micros is None else format_usd(int(micros))
