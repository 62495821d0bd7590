"""Money as whole micros. One US dollar is 1_000_000 micros, and so is one USDC in the token's smallest unit."""

import re
from typing import Final

MICROS: Final = 1_000_000
MIN_PRICE_MICROS: Final = 1_000
MAX_PRICE_MICROS: Final = 50_000_000

_DECIMAL = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,18}))?", re.ASCII)


def parse_usd(text: str) -> int:
    """Parse a decimal string in dollars, such as "0.05", to micros. Nothing is rounded.

    Raises ValueError, with a sentence for a person, when the text is not a plain decimal number or has more than six
    decimal places.
    """
    match = _DECIMAL.fullmatch(text.strip())
    if not match:
        raise ValueError("Enter a price in dollars, such as 0.05.")
    whole, fraction = match[1], (match[2] or "").rstrip("0")
    if len(fraction) > 6:
        raise ValueError("A price can have at most six decimal places.")
    return int(whole) * MICROS + int(fraction.ljust(6, "0"))


def format_usd(micros: int) -> str:
    """Format micros as dollars with two to six decimal places. Nothing is rounded."""
    sign = "-" if micros < 0 else ""
    whole, fraction = divmod(abs(micros), MICROS)
    digits = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{digits}"


def dollars(micros: int) -> str:
    """Format micros for pages and mail: 250000 → "$0.25", -1234500000 → "−$1,234.50"."""
    whole, _, fraction = format_usd(abs(micros)).partition(".")
    return f"{'−' if micros < 0 else ''}${int(whole):,}.{fraction}"
