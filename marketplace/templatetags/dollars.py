"""Amounts that may be below zero, as a statement writes them."""

from django import template

from payments.money import format_usd

register = template.Library()


@register.filter
def dollars(micros: int) -> str:
    """-250000 → "−$0.25"."""
    return f"{'−' if micros < 0 else ''}${format_usd(abs(micros))}"


@register.filter
def change(micros: int) -> str:
    """250000 → "+$0.25"."""
    return f"{'−' if micros < 0 else '+'}${format_usd(abs(micros))}"
