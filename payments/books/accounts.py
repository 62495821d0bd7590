"""The names in the books: every account, every kind of transaction with its key, and how a sale is shared.

Code that posts takes the names from here. The audit repeats them on purpose, to be an independent check.
"""

import uuid
from enum import StrEnum

from django.conf import settings

from .ledger import Move

# The assets: dollars at the card processor back the purses, and USDC is the token on the chain.
USD = "USD"
USDC = "USDC"

STRIPE = "world:stripe"
STRIPE_SUSPENSE = "suspense:stripe"
PROCESSOR_FEES = "expense:processor"
CHARGEBACK_LOSSES = "loss:chargeback"
DISPUTE_FEES = "loss:dispute_fee"
FORGIVEN_DEBTS = "loss:forgiven"
PLATFORM_FEES = "platform:fees"


def world(chain_id: int) -> str:
    """Everyone outside on a chain. Money that came in from there makes this account negative."""
    return f"world:eip155:{chain_id}"


def suspense(chain_id: int) -> str:
    """Money that arrived on a chain without a matching claim."""
    return f"suspense:eip155:{chain_id}"


def earned(payee: str) -> str:
    """What a payee ("publisher:7") has earned, after any hold."""
    return f"{payee}:earned"


def pending(payee: str) -> str:
    """What a payee has earned from purses and may still lose to a refund or a chargeback during the hold."""
    return f"{payee}:pending"


def balance(purse_id: uuid.UUID | str) -> str:
    """A buyer's balance: above zero it is prepaid, below zero the buyer owes it."""
    return f"buyer:{purse_id}:balance"


def refunding(purse_id: uuid.UUID | str) -> str:
    """A buyer's money on its way back to a card."""
    return f"buyer:{purse_id}:refunding"


class Kind(StrEnum):
    """The kinds of transaction. docs/audit.md says between which accounts each kind moves money."""

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
    REFUND_FEE = "refund_fee"
    FORGIVEN = "forgiven"
    DISPUTE = "dispute"
    DISPUTE_FEE = "dispute_fee"
    DISPUTE_LOST = "dispute_lost"
    DISPUTE_RECOVERED = "dispute_recovered"
    PROCESSOR_OTHER = "processor_other"

    def key(self, *of: object) -> str:
        """The idempotency key of such a transaction about `of`: "sale:<payment>", "card_fee:<txn>"."""
        return ":".join([self, *map(str, of)])


def shares(amount_micros: int) -> tuple[int, int]:
    """The publisher's and the platform's share of a sale, in micros. A fraction of a micro goes to the publisher."""
    fee = amount_micros * settings.PLATFORM_FEE_BASIS_POINTS // 10_000
    return amount_micros - fee, fee


def sale_moves(source: str, publisher: str, amount_micros: int) -> tuple[Move, ...]:
    """The moves of a sale: from `source` to the publisher's account and the platform's. A share of zero is left out."""
    kept, fee = shares(amount_micros)
    moves = (Move(source, publisher, kept), Move(source, PLATFORM_FEES, fee))
    return tuple(move for move in moves if move.amount_micros)
