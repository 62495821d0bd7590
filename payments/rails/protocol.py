"""The interface of a rail: the protocol, the values that pass between a rail and the gate, and the refusal."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import orjson

from payments.models import Payment
from payments.offers import Offer, Presented, Price
from payments.onchain.payers import Unknowable

__all__ = [
    "AlreadySettled",
    "Asked",
    "Known",
    "OnTheWay",
    "Rail",
    "RailRefused",
    "Shown",
    "Unknowable",
    "Verified",
    "encoded",
]


class RailRefused(Exception):
    """The proof does not pay for this offer. Presenting it did not charge the buyer.

    `word` is stable and for agents, `sentence` is for people. `malformed` means that the proof could not be parsed.
    `approve_at` is the page where the owner of the balance can approve the purchase.
    """

    def __init__(self, word: str, sentence: str, *, malformed: bool = False, approve_at: str = "") -> None:
        super().__init__(word)
        self.word = word
        self.sentence = sentence
        self.malformed = malformed
        self.approve_at = approve_at


class AlreadySettled(Exception):
    """The proof was used before it was shown here, so it is public. Only its owner can show more.

    `charged`: it moved money to us. None: it was used or canceled, which is all that is known.
    """

    def __init__(self, *, charged: bool | None) -> None:
        super().__init__()
        self.charged = charged


class OnTheWay(Exception):
    """The proof is used and its money may have moved. The same request, sent again, finds out."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a rail asks for an offer, for each place in a 402.

    `accepts` and `accepts_v1` are requirements of x402 version 2 and 1. `extensions` go into version 2's extensions.
    `authenticate` is a challenge for WWW-Authenticate (RFC 9110, section 11.6.1). `quote` is the token of the quote in
    `accepts`.
    """

    accepts: dict[str, Any] | None = None
    accepts_v1: dict[str, Any] | None = None
    extensions: dict[str, Any] = field(default_factory=dict)
    authenticate: str = ""
    quote: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """The payment that has already claimed a proof, for this article or another.

    `same`: the credential equals the claimed one in every field, and not only in its key. `proven`: the credential also
    carries the quote that was paid. The quote is never public, so the request comes from the buyer. `repeated`: a
    credential that cannot carry a quote comes from the client that claimed it, and may be a lost answer asked again.
    """

    payment: Payment
    same: bool
    proven: bool
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """A valid proof for an offer: the buyer, the price, the quote's id (empty if not echoed), the rail's own data."""

    rail: "Rail"
    offer: Offer
    buyer: str
    price: Price
    quote_id: str
    credential: Any
    proof: Any = None
    # The money came before the proof.
    arrived: bool = False


class Shown(NamedTuple):
    """What a request pays with: a credential, and the rail that read it."""

    rail: "Rail"
    credential: Any


class Rail(Protocol):
    """One way to be paid. A rail checks and claims proofs; it knows neither the gate nor HTTP."""

    # The name that every payment of this rail stores. It never changes.
    name: str
    # The request headers that carry its proof, in upper case. Every rail also gets the bearer token and the session.
    headers: tuple[str, ...]
    # Whether the rail pays from a buyer's balance. Its sales are then pending until their hold is over, and can be
    # refunded to the balance.
    from_balance: bool
    # What to say of each reason for which a claimed payment of this rail was released or failed, for people.
    reasons: Mapping[str, str]

    @property
    def enabled(self) -> bool:
        """Whether the rail's settings are present."""
        ...

    def quote(self, offer: Offer, refused: str = "") -> Asked | None:
        """What the rail asks for an offer; None when it does not sell this offer. `refused`: the word of a refusal."""
        ...

    def needs_quotable(self, presented: Presented) -> bool:
        """Whether the credential echoes no quote, so that its amount is matched against `Offer.quotable`."""
        ...

    def read(self, presented: Presented) -> Any | None:
        """Parse the credential for this rail; None without one. Raises RailRefused (`malformed`: unparseable)."""
        ...

    def look_up(self, credential: Any, offer: Offer) -> Known | None:
        """The payment that has claimed this credential's proof, for this article or another; None when unclaimed."""
        ...

    def verify(self, credential: Any, offer: Offer) -> Verified:
        """Check an unclaimed credential, cheapest checks first. Writes nothing.

        Raises RailRefused or Unknowable: this request charged nothing; AlreadySettled or OnTheWay of a used proof.
        """
        ...

    def prepare(self, credential: Any, verified: Verified | None, payment: Payment | None) -> None:
        """Before the claim, check what may change, and write what the request leaves behind besides a payment.

        `verified` is the proof to be claimed, or None when nothing new is bought; `payment` is the one that the proof
        has claimed already. Raises RailRefused or Unknowable: this request charged nothing; AlreadySettled or OnTheWay
        of a used proof.
        """
        ...

    def bring_in(self, payment: Payment) -> bool:
        """Complete a payment whose money is here already. True if it was completed."""
        ...

    def unclaimed(self, buyer: str, offer: Offer, transaction: str) -> Any | None:
        """Money of a buyer that no payment has claimed and that pays for an offer; None without any.

        `transaction` is what a receipt of ours names; empty when the buyer has proven the wallet instead. Raises
        Unknowable while the rail has yet to read what has arrived.
        """
        ...

    def claim_unclaimed(self, buyer: str, offer: Offer, found: Any) -> Payment | None:
        """The payment made of such money; None when another request was first."""
        ...

    def claim(self, verified: Verified, payment: Payment) -> None:
        """Bind the proof to a payment, in the caller's database transaction.

        A rail whose money is in our own books moves the money here. Raises IntegrityError when another request was
        first, and RailRefused when nothing was charged; in both cases the caller must roll back.
        """
        ...

    def still_unspent(self, verified: Verified) -> bool:
        """Whether the proof has moved no money yet. Raises Unknowable when that cannot be read."""
        ...

    def arrived(self, payment: Payment) -> bool:
        """Whether the money of this payment's proof has reached us, even if it did not pay for this payment."""
        ...

    def settlement(self, payment: Payment) -> dict[str, str]:
        """The network, payer and transaction of a paid payment, for its receipt."""
        ...

    def answer(self, shown: Mapping[str, str], settled: dict[str, Any]) -> dict[str, str]:
        """The response headers that report the settlement to a request of this rail; empty for any other request."""
        ...


def encoded(message: dict[str, Any]) -> str:
    """A header value: base64 of compact JSON."""
    return base64.b64encode(orjson.dumps(message)).decode()
