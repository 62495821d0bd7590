"""What is for sale and what is shown for it, by value. Payments knows no article and no request of the web."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Price:
    """One price version: what one audience ("people" or "agents") is asked, in micros of a US dollar."""

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


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request shows: payment headers, a receipt, a wallet proof, a key, and what its session stands for.

    `bearer` is the token of `Authorization: Bearer` (RFC 6750), None without one. `purse` is the id of a signed-in
    person's (or a guest's) purse, `spend` that the person has pressed the button, `quote` the price they were shown.
    `address` and `user_agent` are kept as evidence and decide nothing.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    receipt: str = ""
    wallet_proof: str = ""
    grants: frozenset[str] = frozenset()
    bearer: str | None = None
    purse: str = ""
    spend: bool = False
    quote: str = ""
    address: str = ""
    user_agent: str = ""
