"""What the paywall offers to people who pay by card: from their balance, by filling it, or this one article."""

from dataclasses import dataclass, field

from django.http import HttpRequest

from marketplace.reader.card_pages import topup_amounts
from marketplace.reader.purse import purse_of
from payments import cards, http, quotes
from payments.cards import checkout
from payments.cards.charges import CENT
from payments.models import Purse
from payments.money import format_usd


@dataclass(frozen=True, slots=True)
class Choices:
    """The card half of a paywall. `amounts`: top-ups in cents that cover the price, as (cents, dollars)."""

    quote: str
    price: str
    balance_micros: int = 0
    enough: bool = False
    on_tab: bool = False
    flag: str = ""
    amounts: list[tuple[int, str]] = field(default_factory=list)
    direct: str = ""


def choices(request: HttpRequest, terms: http.Terms) -> Choices | None:
    """What this visitor may choose; None when cards are off. Without a session cookie the database is not asked.

    The card half promises the price of the terms on the same page; it makes a quote of its own only without any.
    """
    if not cards.enabled():
        return None
    price = terms.offer.price.amount_micros
    token, usd = terms.quote or quotes.issue(terms.offer).token, format_usd(price)
    purse = purse_of(request)
    if purse is None or purse.joined_to_id:
        return Choices(token, usd, amounts=topup_amounts(price), direct=direct(price))
    balance = purse.balance_micros
    room = balance + purse.tab_limit_micros
    if purse.flag != Purse.Flag.NONE:
        return Choices(token, usd, balance, flag=purse.flag)
    if room >= price:
        return Choices(token, usd, balance, enough=True, on_tab=balance < price)
    return Choices(token, usd, balance, amounts=topup_amounts(price - balance), direct=direct(price - min(balance, 0)))


def direct(price_micros: int) -> str:
    """The price in whole cents, if it can be paid by card alone; otherwise empty."""
    cents = checkout.by_card_cents(price_micros)
    return format_usd(cents * CENT) if cents else ""
