"""Every table about money: the books, payments, the exact rail's chain, purses and the cards that fill them."""

from .api_keys import ApiKey, Approval, Debit
from .books import Account, Posting, Transaction
from .evm import Attempt, Authorization, Chain, Lease, Submission, Transfer
from .jobs import Job, SalesCount
from .purchases import LIVE, OPEN, OWNED, Grant, Payment, PaymentState
from .purses import Card, CardRefund, Charge, Dispute, ProcessorEvent, Purse, Reconciliation, Setup

__all__ = [
    "LIVE",
    "OPEN",
    "OWNED",
    "Account",
    "Approval",
    "Attempt",
    "Authorization",
    "Card",
    "CardRefund",
    "Chain",
    "Charge",
    "Debit",
    "Dispute",
    "Grant",
    "Job",
    "Lease",
    "Payment",
    "Posting",
    "ProcessorEvent",
    "ApiKey",
    "Purse",
    "Reconciliation",
    "SalesCount",
    "Setup",
    "PaymentState",
    "Submission",
    "Transaction",
    "Transfer",
]
