"""Prices. A price is never changed: one database transaction closes the open price and opens the next.

The database decides which of two concurrent changes was first. A quote keeps its price until it expires.
"""

from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser as Person
from django.db import transaction
from django.db.models.functions import Greatest
from django.utils import timezone

from payments import notify
from payments.books.accounts import shares
from payments.money import MAX_PRICE_MICROS, MICROS, MIN_PRICE_MICROS, dollars, parse_usd

from .models import AGENTS, AUDIENCES, PEOPLE, Article, PriceVersion

# The official x402 clients refuse to pay more than this at a time unless their owner raised the limit.
STOCK_CLIENT_LIMIT_MICROS = 1 * MICROS


class PriceChangedMeanwhile(Exception):
    """The price was changed since the caller read it; nothing was written."""


@dataclass(frozen=True, slots=True)
class Keeps:
    """How one sale is divided, in micros: the price, the platform's fee, and what the publisher keeps."""

    price_micros: int
    fee_micros: int
    kept_micros: int


def parse_price(text: str) -> int:
    """The price in micros from a publisher's decimal string, within the bounds that the database enforces.

    Raises ValueError with a sentence for the publisher.
    """
    micros = parse_usd(text)
    if micros < MIN_PRICE_MICROS:
        raise ValueError(f"The lowest price is {dollars(MIN_PRICE_MICROS)}.")
    if micros > MAX_PRICE_MICROS:
        raise ValueError(f"The highest price is {dollars(MAX_PRICE_MICROS)}.")
    return micros


def keeps(price_micros: int) -> Keeps:
    """How a price in micros is divided at today's fee."""
    kept, fee = shares(price_micros)
    return Keeps(price_micros, fee, kept)


def warnings(people_micros: int, agent_micros: int) -> list[str]:
    """What a publisher should know about two prices before they apply; empty when both are unproblematic."""
    said = []
    if agent_micros > STOCK_CLIENT_LIMIT_MICROS:
        said.append(
            f"Agents that use the official x402 clients refuse to pay more than {dollars(STOCK_CLIENT_LIMIT_MICROS)} "
            "at a time unless their owner raises the limit. Most agents won't buy at this price."
        )
    if people_micros != agent_micros:
        cheaper, dearer = ("agents", "people") if agent_micros < people_micros else ("people", "agents")
        said.append(
            f"A purchase opens every format, so the lower price is what the article really costs: {dearer} can request "
            f"the format for {cheaper} and pay {dollars(min(people_micros, agent_micros))}."
        )
    return said


def open_prices(article: Article) -> dict[str, PriceVersion]:
    """The prices in force now, by audience; empty for an article that has none yet."""
    return {price.audience: price for price in article.prices.filter(ends_at=None)}


def first_prices(article: Article, *, people_micros: int, agent_micros: int, by: Person | None) -> None:
    """Open both prices of a new article."""
    for audience, micros in ((PEOPLE, people_micros), (AGENTS, agent_micros)):
        PriceVersion.objects.create(article=article, audience=audience, amount_micros=micros, made_by=by)


def change_price(article: Article, audience: str, amount_micros: int, *, by: Person | None, was: int) -> PriceVersion:
    """Close the price version `was` and open the next one, or return `was` unchanged when the amount is the same.

    Raises PriceChangedMeanwhile when `was` is no longer the open price of this audience, and IntegrityError from
    the database when the amount is out of bounds. Nothing is written in either case.
    """
    if audience not in AUDIENCES:
        raise ValueError(f"There is no audience called {audience}.")
    now = timezone.now()
    opened = PriceVersion.objects.filter(pk=was, article=article, audience=audience, ends_at=None)
    with transaction.atomic():
        same = opened.filter(amount_micros=amount_micros).first()
        if same:
            return same
        # The number of updated rows, not an earlier read, shows whether this call closed the price.
        # Another machine's clock may be ahead of ours, and a price must not end before it started.
        if opened.update(ends_at=Greatest(now, "starts_at")) != 1:
            raise PriceChangedMeanwhile(f"Someone changed the price for {audience}.")
        notify.send()
        return PriceVersion.objects.create(
            article=article, audience=audience, amount_micros=amount_micros, starts_at=now, made_by=by
        )


def fee_percent() -> str:
    """The platform's fee as a person writes it, such as "5" or "2.5"."""
    whole, hundredths = divmod(settings.PLATFORM_FEE_BASIS_POINTS, 100)
    return f"{whole}.{hundredths:02d}".rstrip("0").rstrip(".")
