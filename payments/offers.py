"""What is for sale, by value. Payments knows no article: whoever sells hands one of these over."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Price:
    """One price version: what one audience ("people" or "programs") is asked, in micros of a US dollar."""

    id: int
    audience: str
    amount_micros: int


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing for sale to one request.

    `quotable` holds every price that a live quote may still name: a client of x402 version 1 does not echo its
    quote, so its amount is matched against what it can have been quoted (never against anything it says).
    """

    resource: str
    version: int
    payee: str
    price: Price
    url: str
    title: str
    mime_type: str
    quotable: tuple[Price, ...] = ()
