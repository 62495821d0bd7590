"""The names in the books: every account, every kind of entry and its key, and how a sale is shared.

Writers take these names from here. The audit spells them out once more on purpose: it is a second witness.
"""

import uuid
from enum import StrEnum

from django.conf import settings

from .ledger import Move

# The assets. A purse holds dollars at the card processor, a chain holds a token.
USD = "USD"
USDC = "USDC"

STRIPE = "world:stripe"
STRIPE_SUSPENSE = "suspense:stripe"
PROCESSOR_FEES = "expense:processor"
CHARGEBACK_LOSSES = "loss:chargeback"
DISPUTE_FEES = "loss:dispute_fee"
PLATFORM_FEES = "platform:fees"


def world(chain_id: int) -> str:
    """Everybody on a chain: what came in from there makes this account negative."""
    return f"world:eip155:{chain_id}"


def suspense(chain_id: int) -> str:
    """Money that arrived on a chain and that nobody has claimed."""
    return f"suspense:eip155:{chain_id}"


def earned(payee: str) -> str:
    """What a payee ("publisher:7") has earned for certain."""
    return f"{payee}:earned"


def pending(payee: str) -> str:
    """What a payee has sold to card buyers and may still lose."""
    return f"{payee}:pending"


def balance(purse_id: uuid.UUID | str) -> str:
    """A buyer's balance: above zero prepaid, below zero owed on the tab."""
    return f"buyer:{purse_id}:balance"


def refunding(purse_id: uuid.UUID | str) -> str:
    """A buyer's money on its way back to a card."""
    return f"buyer:{purse_id}:refunding"


class Kind(StrEnum):
    """What an entry records. docs/audit.md says which accounts each kind moves money between."""

    SALE = "sale"
    UNCLAIMED = "unclaimed"
    REORGANISATION = "reorganisation"
    CARD_PAID = "card_paid"
    CARD_FEE = "card_fee"
    CLEARED = "cleared"
    JOINED = "joined"
    REFUND = "refund"
    CHARGED_BACK = "charged_back"
    REFUND_RESERVED = "refund_reserved"
    REFUND_RELEASED = "refund_released"
    CARD_REFUND = "card_refund"
    CARD_REFUND_FAILED = "card_refund_failed"
    DISPUTE = "dispute"
    DISPUTE_FEE = "dispute_fee"
    DISPUTE_LOST = "dispute_lost"
    DISPUTE_RECOVERED = "dispute_recovered"
    PROCESSOR_OTHER = "processor_other"

    def key(self, *of: object) -> str:
        """The key under which such an entry about `of` can be posted once: "sale:<payment>", "card_fee:<txn>"."""
        return ":".join([self, *map(str, of)])


def shares(amount_micros: int) -> tuple[int, int]:
    """What the publisher and the platform get of a sale; the fraction of a micro goes to the publisher."""
    fee = amount_micros * settings.PLATFORM_FEE_BASIS_POINTS // 10_000
    return amount_micros - fee, fee


def sale_moves(source: str, publisher: str, amount_micros: int) -> tuple[Move, ...]:
    """How a sale moves money: from `source` to the publisher's account and the platform's, each share above zero."""
    kept, fee = shares(amount_micros)
    moves = (Move(source, publisher, kept), Move(source, PLATFORM_FEES, fee))
    return tuple(move for move in moves if move.amount_micros)
