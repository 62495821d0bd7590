"""What every rail is: the protocol, the values that pass between a rail and the gate, and how a rail refuses."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import orjson

from payments.models import Payment
from payments.offers import Offer, Presented, Price
from payments.onchain.signatures import Unknowable

__all__ = ["Asked", "Known", "Rail", "RailRefused", "Shown", "Unknowable", "Verified", "encoded"]


class RailRefused(Exception):
    """The proof does not pay for this offer. Nobody was charged by presenting it.

    `word` is stable and for agents, `sentence` is for people; `malformed`: it is not a proof at all; `approve_at`:
    where the owner of the balance can allow the purchase.
    """

    def __init__(self, word: str, sentence: str, *, malformed: bool = False, approve_at: str = "") -> None:
        super().__init__(word)
        self.word = word
        self.sentence = sentence
        self.malformed = malformed
        self.approve_at = approve_at


@dataclass(frozen=True, slots=True)
class Asked:
    """What a rail asks for an offer, in each place where a 402 can say it.

    `accepts` and `accepts_v1` are requirements of x402 version 2 and 1; `extensions` are entries of version 2's
    extensions; `authenticate` is a challenge for WWW-Authenticate (RFC 9110, section 11.6.1); `quote` is the promise
    in `accepts`.
    """

    accepts: dict[str, Any] | None = None
    accepts_v1: dict[str, Any] | None = None
    extensions: dict[str, Any] = field(default_factory=dict)
    authenticate: str = ""
    quote: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """The payment that has claimed a proof already, whatever for.

    `same`: the credential is to the letter what was claimed, and not just its key. `proven`: it also shows the quote
    that was paid, which is never public, so it comes from the buyer.
    """

    payment: Payment
    same: bool
    proven: bool


@dataclass(frozen=True, slots=True)
class Verified:
    """A good proof for an offer: who pays, which price, the quote's secret (if echoed), and the rail's own part."""

    rail: "Rail"
    offer: Offer
    buyer: str
    price: Price
    quote_id: str
    credential: Any
    proof: Any = None


class Shown(NamedTuple):
    """What a request pays with: a credential, and the rail that read it."""

    rail: "Rail"
    credential: Any


class Rail(Protocol):
    """One way to be paid. It checks proof and says how the money comes; it knows neither the gate nor HTTP."""

    # The word under which payments remember the rail. It never changes.
    name: str
    # The request headers that carry its proof, in upper case; a bearer token and a session are passed on to all.
    headers: tuple[str, ...]
    # Whether it pays from a buyer's balance here: its sales are pending until card money covers them, and can be
    # refunded to the balance.
    from_balance: bool

    @property
    def enabled(self) -> bool:
        """Whether its settings are present."""
        ...

    def quote(self, offer: Offer, refused: str = "") -> Asked | None:
        """What the rail asks for an offer; None: not for this offer. `refused`: the word of a refusal, if any."""
        ...

    def read(self, presented: Presented) -> Any | None:
        """The credential addressed to this rail, or None. Raises RailRefused, malformed when it is none at all."""
        ...

    def look_up(self, credential: Any, offer: Offer) -> Known | None:
        """The payment that has claimed this credential's proof, whatever for."""
        ...

    def verify(self, credential: Any, offer: Offer) -> Verified:
        """Check a credential that nobody has claimed, cheap checks first; writes nothing. RailRefused or Unknowable."""
        ...

    def prepare(self, credential: Any, verified: Verified | None) -> None:
        """Before settling, write what the request leaves behind besides a payment, such as a question to the owner.

        `verified`: what a claim will follow for; None when nothing is bought. RailRefused: nothing was charged.
        """
        ...

    def claim(self, verified: Verified, payment: Payment) -> None:
        """Bind the proof to a payment in the caller's transaction; IntegrityError: somebody was first.

        A rail whose money is in our own books moves it here. RailRefused: nothing was, and nothing must be committed.
        """
        ...

    def still_unspent(self, verified: Verified) -> bool:
        """Whether the money behind a proof has not moved. Raises Unknowable when that cannot be read."""
        ...

    def arrived(self, payment: Payment) -> bool:
        """Whether money of this payment's proof has reached us, whatever it was counted for."""
        ...

    def settlement(self, payment: Payment) -> dict[str, str]:
        """Network, payer and transaction of a paid payment, for its receipt."""
        ...

    def answer(self, shown: Mapping[str, str], settled: dict[str, Any]) -> dict[str, str]:
        """The headers that tell a request of this rail's form how it was settled; empty for any other request."""
        ...


def encoded(message: dict[str, Any]) -> str:
    """A header value: base64 of compact JSON."""
    return base64.b64encode(orjson.dumps(message)).decode()
