"""Reconciliation: the processor's own books beside ours, transaction by transaction, and then the sum to the cent.

Run daily with an overlap. What webhooks and sweeper missed is applied here and counted as healed; what is none of ours
(a payment made by hand, a payout of the account) is booked into suspense, so that the sums agree and nothing is hidden.
"""

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.utils import timezone

from payments.books import accounts, ledger
from payments.books.accounts import Kind
from payments.books.ledger import Move
from payments.models import Charge

from . import charges, disputes, refunds, stripe_api
from .facts import Money, NoAnswer, StripeRefused

log = logging.getLogger(__name__)
OVERLAP = timedelta(days=3)
_CHARGES = ("charge", "payment")
_REFUNDS = ("refund", "payment_refund", "refund_failure", "payment_failure_refund")


@dataclass
class Report:
    """What a run found: entries it had to make, transactions of nobody, and what still differs, in micros."""

    healed: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    difference_micros: int = 0

    @property
    def clean(self) -> bool:
        """Whether the processor's books and ours agree."""
        return not self.difference_micros and not self.missing


def reconcile(since: datetime | None = None) -> Report:
    """Compare everything the processor booked since then. Raises NoAnswer: nothing is known of the rest."""
    since = since or timezone.now() - OVERLAP
    report = Report()
    seen = set()
    # The processor says the newest first; what was taken back is understood after what it was taken from.
    for money in reversed(list(stripe_api.money_since(since))):
        seen.add(money.source)
        _heal(money, report)
    report.healed += disputes.look_at_open()
    paid = Charge.objects.filter(state=Charge.State.SUCCEEDED, decided_at__gte=since + timedelta(minutes=5))
    settled = timezone.now() - timedelta(minutes=5)
    unseen = paid.filter(decided_at__lt=settled).exclude(reference__in=seen)
    report.missing += [charge.reference for charge in unseen if not _is_there(charge)]
    report.difference_micros = stripe_api.holds_cents() * charges.CENT + ledger.balance(accounts.STRIPE, accounts.USD)
    if not report.clean or report.unknown:
        log.error("reconciliation: %s", report)
    return report


def _is_there(charge: Charge) -> bool:
    """Whether the processor has the payment, though booked before the days looked at: we learnt of it late."""
    try:
        return stripe_api.intent(charge.intent).reference == charge.reference
    except StripeRefused:
        return False


def _heal(money: Money, report: Report) -> None:
    """Make sure that one transaction is in our books; each of ours has its own key there."""
    if _booked(money):
        _fee(money, report)
        return
    try:
        _apply(money)
    except StripeRefused as error:
        log.warning("%s leads nowhere: %s", money.id, error)
    except NoAnswer:
        raise
    except Exception:
        # Not into suspense: it may be ours, and would be booked twice when it is understood.
        log.exception("%s could not be applied", money.id)
        report.missing.append(money.id)
        return
    if _booked(money):
        report.healed.append(money.id)
        _fee(money, report)
        return
    report.unknown.append(money.id)
    net = (money.amount_cents - money.fee_cents) * charges.CENT
    pair = (accounts.STRIPE, accounts.STRIPE_SUSPENSE) if net > 0 else (accounts.STRIPE_SUSPENSE, accounts.STRIPE)
    if net:
        ledger.post(
            Kind.PROCESSOR_OTHER, Kind.PROCESSOR_OTHER.key(money.id), [Move(*pair, abs(net))], asset=accounts.USD
        )


def _booked(money: Money) -> bool:
    keys = [kind.key(money.id) for kind in (Kind.PROCESSOR_OTHER, Kind.DISPUTE, Kind.DISPUTE_FEE)]
    if money.type in _CHARGES:
        keys.append(Kind.CARD_PAID.key(money.source))
    elif money.type in _REFUNDS and money.amount_cents < 0:
        keys.append(Kind.CARD_REFUND.key(money.source))
    elif money.type in _REFUNDS:
        keys.append(Kind.CARD_REFUND_FAILED.key(money.source))
    return any(ledger.posted(key) for key in keys)


def _fee(money: Money, report: Report) -> None:
    """A dispute books its own fee, and what is in suspense is booked net."""
    ours = money.type in (*_CHARGES, *_REFUNDS) and not ledger.posted(Kind.PROCESSOR_OTHER.key(money.id))
    if ours and charges.post_fee(money.id, money.fee_cents):
        report.healed.append(f"fee of {money.id}")


def _apply(money: Money) -> None:
    disputed = stripe_api.dispute(money.source) if money.source.startswith(("dp_", "du_")) else None
    intent = disputed.intent if disputed else money.intent
    if not intent or not (disputed or money.type in (*_CHARGES, *_REFUNDS)):
        return
    charges.apply(stripe_api.intent(intent))
    if disputed:
        disputes.apply(disputed)
    else:
        refunds.look(intent)


def run() -> Report | None:
    """For the schedule: a processor that does not answer is asked again the next time."""
    try:
        return reconcile()
    except NoAnswer as error:
        log.warning("no reconciliation: %s", error)
        return None
