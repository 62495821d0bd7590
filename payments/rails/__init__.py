"""Ways to be paid, one file each. A rail checks proof and moves money; it knows neither the gate nor the books.

To add one: write its file with the verbs of `Rail`, add it to `ALL`, and test it in tests/payments/.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from payments.models import Payment
from payments.offers import Offer, Price


class RailRefused(Exception):
    """The proof does not pay for this offer. Nobody was charged by presenting it.

    `word` is stable and for programs, `sentence` is for people; `malformed` says that it is not a proof at all.
    """

    def __init__(self, word: str, sentence: str, *, malformed: bool = False) -> None:
        super().__init__(word)
        self.word = word
        self.sentence = sentence
        self.malformed = malformed


@dataclass(frozen=True, slots=True)
class Verified:
    """A good proof for an offer: who pays, which price, the quote's secret (if echoed), and the rail's own part."""

    rail: str
    buyer: str
    price: Price
    quote_id: str
    proof: Any


class Rail(Protocol):
    """One way to be paid."""

    name: str

    def quote(self, offer: Offer) -> dict | None:
        """What the rail would ask for an offer, in its own wire form; None: not for this offer."""
        ...

    def read(self, headers: Mapping[str, str]) -> Any | None:
        """The credential addressed to this rail, or None. Raises RailRefused(malformed=True)."""
        ...

    def look_up(self, credential: Any) -> Payment | None:
        """The payment that already claimed this credential's proof, whatever for."""
        ...

    def verify(self, credential: Any, offer: Offer) -> Verified:
        """Check a credential that nobody claimed, cheap checks first; writes nothing. Raises RailRefused."""
        ...

    def claim(self, verified: Verified, payment: Payment) -> None:
        """Bind the proof to a payment in the caller's transaction; IntegrityError: somebody was first."""
        ...

    def still_unspent(self, verified: Verified) -> bool:
        """Whether the money behind a proof has not moved. Raises when that cannot be known."""
        ...

    def receipt(self, payment: Payment) -> dict[str, str]:
        """What a paid payment's receipt says: network, payer, transaction."""
        ...
