"""Whether a payer can pay, before anything is claimed: who has no money leaves no row and reaches no transaction."""

import time
from collections.abc import Mapping

from django.db.models import Count, Sum

from payments.models import OPEN, OWNED, Payment
from payments.onchain import payers

from .exact_header import Credential
from .protocol import RailRefused, Unknowable

# Undecided payments of one payer, and of all payers together. A claim beyond them has to wait for a decision.
_EACH = 50
_ALL = 5_000
_FAILURES_PER_HOUR = 3


def check(credential: Credential, buyer: str, reasons: Mapping[str, str], failures: int) -> bool:
    """Refuse a payer without the money. Raises RailRefused; Unknowable when the payer cannot be read, or when this
    payer, or all together, have claimed enough for now.

    `failures` of this payer within the hour have cost us gas. True: the authorization is spent already, which is no
    question of money. Costs one chain call, which requests at the same time share.
    """
    mine = Payment.objects.filter(buyer=buyer, state__in=OPEN).aggregate(n=Count("id"), micros=Sum("amount_micros"))
    if mine["n"] >= _EACH or _undecided.count() >= _ALL:
        raise Unknowable
    facts = payers.ask(credential.payer, credential.nonce, credential.value, credential.source)
    if facts.used:
        return True
    if failures >= _FAILURES_PER_HOUR:
        sentence = "Too many payments from this wallet failed on the chain. Try again in an hour."
        raise RailRefused("too_many_failures", sentence)
    # Code can accept the simulation and refuse the transaction, so a burst of it counts as if each one failed.
    if facts.has_code and failures + mine["n"] >= _FAILURES_PER_HOUR and not _is_customer(buyer):
        raise Unknowable
    if facts.balance < credential.value:
        raise RailRefused("insufficient_funds", reasons["insufficient_funds"])
    # What is claimed may be settled already and so be counted twice: that is no reason to refuse.
    if facts.balance < credential.value + (mine["micros"] or 0):
        raise Unknowable
    return False


def _is_customer(buyer: str) -> bool:
    return Payment.objects.filter(buyer=buyer, state__in=OWNED).exists()


class _Undecided:
    """The number of undecided payments in all, counted at most once a second."""

    def __init__(self) -> None:
        self.until: float = 0
        self.number = 0

    def count(self) -> int:
        if time.monotonic() > self.until:
            self.until, self.number = time.monotonic() + 1, Payment.objects.filter(state__in=OPEN).count()
        return self.number


_undecided = _Undecided()
