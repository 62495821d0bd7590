"""The quiet chain and the counter, and the stand-in for the card processor."""

from tests.cards.conftest import _standin, bank
from tests.payments.conftest import _quiet_chain, chain, counter

__all__ = ["_quiet_chain", "_standin", "bank", "chain", "counter"]
