"""The value types at the gate: prices, offers, and the proofs that a request presents.

Through these types the payments package needs no article and no HTTP request. Nothing here reads the database.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Price:
    """One version of the price for one audience ("people" or "agents"), in micros of a US dollar."""

    id: int
    audience: str
    amount_micros: int


@dataclass(frozen=True, slots=True)
class Offer:
    """One article, offered to one request at one price.

    `quotable` holds every price that an unexpired quote may still name. A client of x402 version 1 does not echo its
    quote, so the rail matches the amount against the prices that the shop can have quoted, never against the client's
    own claims.
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
    """The proofs in a request: payment headers, a receipt, a wallet proof, an API key, and those of its session.

    `bearer` is the token of `Authorization: Bearer` (RFC 6750), or None. `purse` is the id of the signed-in person's or
    the guest's purse, `spend` is True when the person pressed "buy", and `quote` is the quote on their page. `address`
    is what the limits count as one client, and decides who may repeat a version 1 header. `user_agent` is evidence.
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
