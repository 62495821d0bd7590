"""Ways to be paid, one file each. A rail checks proof and moves money; it knows neither the gate nor the books.

To add one: write its file with the verbs of `Rail`, name it in `payments.gate.RAILS`, and test it in
tests/unit/payments/rails/.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from payments.models import Payment
from payments.offers import Offer, Presented, Price


class RailRefused(Exception):
    """The proof does not pay for this offer. Nobody was charged by presenting it.

    `word` is stable and for agents, `sentence` is for people; `malformed` says that it is not a proof at all;
    `approve_at` is where a person can allow it.
    """

    def __init__(self, word: str, sentence: str, *, malformed: bool = False, approve_at: str = "") -> None:
        super().__init__(word)
        self.word = word
        self.sentence = sentence
        self.malformed = malformed
        self.approve_at = approve_at


class Unknowable(Exception):
    """A fact that decides could not be read now. Nothing was claimed and nobody was charged; ask again."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A good proof for an offer: who pays, which price, the quote's secret (if echoed), and the rail's own part."""

    rail: "Rail"
    buyer: str
    price: Price
    quote_id: str
    credential: Any
    proof: Any = None
    title: str = ""


class Rail(Protocol):
    """One way to be paid: a module with these names."""

    @property
    def name(self) -> str:
        """The word under which payments remember the rail."""
        ...

    def quote(self, offer: Offer) -> dict | None:
        """What the rail would ask for an offer, in its own wire form; None: not for this offer."""
        ...

    def read(self, presented: Presented) -> Any | None:
        """The credential addressed to this rail, or None. Raises RailRefused, malformed when it is none at all."""
        ...

    def look_up(self, credential: Any) -> Payment | None:
        """The payment that already claimed this credential's proof, whatever for."""
        ...

    def same_proof(self, credential: Any, payment: Payment) -> bool:
        """Whether a credential is to the letter the one that a payment claimed, and not just its key."""
        ...

    def quote_id(self, credential: Any, offer: Offer) -> str:
        """The secret of the quote that a credential echoes for an offer; empty when it echoes none."""
        ...

    def verify(self, credential: Any, offer: Offer) -> Verified:
        """Check a credential that nobody claimed, cheap checks first; writes nothing. RailRefused or Unknowable."""
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

    def receipt(self, payment: Payment) -> dict[str, str]:
        """What a paid payment's receipt says: network, payer, transaction."""
        ...
