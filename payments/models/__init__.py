"""Every table that remembers money: the books, the payments, and what the chain was seen to do."""

from .books import Account, Posting, Transaction
from .evm import Attempt, Authorization, Chain, Lease, Submission, Transfer
from .purchases import LIVE, OPEN, OWNED, Grant, Payment, State

__all__ = [
    "LIVE",
    "OPEN",
    "OWNED",
    "Account",
    "Attempt",
    "Authorization",
    "Chain",
    "Grant",
    "Lease",
    "Payment",
    "Posting",
    "State",
    "Submission",
    "Transaction",
    "Transfer",
]
