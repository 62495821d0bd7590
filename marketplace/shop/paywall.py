"""What the paywall offers to card buyers: buy from the balance, top up, or pay for this article alone."""

from dataclasses import dataclass, field

from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest

from marketplace.reader.card_pages import topup_amounts
from marketplace.reader.purse import purse_of
from payments import cards, http, quotes
from payments.cards import checkout
from payments.cards.charges import CENT
from payments.models import Purse
from payments.money import dollars
from publishers.articles.catalogue import Listing
from publishers.models import Membership


@dataclass(frozen=True, slots=True)
class Choices:
    """The card half of a paywall. `amounts` are the top-ups that cover the price, as (cents, dollars)."""

    quote: str
    price: str
    balance_micros: int = 0
    enough: bool = False
    on_tab: bool = False
    flag: str = ""
    amounts: list[tuple[int, str]] = field(default_factory=list)
    direct: str = ""


def choices(request: HttpRequest, terms: http.Terms) -> Choices | None:
    """This visitor's choices, or None while cards are off. Without a session cookie no query is made.

    The card half reuses the quote of the terms on the same page, and issues one only if the terms have none.
    """
    if not cards.enabled():
        return None
    price = terms.offer.price.amount_micros
    token, usd = terms.quote or quotes.issue(terms.offer).token, dollars(price)
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


def is_publisher(person: AbstractBaseUser, listing: Listing) -> bool:
    """Whether this person writes for the article's publication, and so reads it in the studio."""
    return Membership.objects.filter(user=person, publication=listing.publication_id).exists()


def direct(price_micros: int) -> str:
    """The price in whole cents if a card can pay it directly, otherwise empty."""
    cents = checkout.by_card_cents(price_micros)
    return dollars(cents * CENT) if cents else ""
