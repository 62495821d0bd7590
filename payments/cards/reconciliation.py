"""Reconciliation: the processor's books are compared with ours, transaction by transaction, then in total to the cent.

Each run goes on from where the last one ended, less three days. What webhooks and the sweeper missed is applied
here and counted as healed, also what an older backup has forgotten. What belongs to no charge of ours (a payment made
by hand, a payout of the account) is booked into suspense, so that the totals agree and nothing is hidden.
"""

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.utils import timezone

from payments.books import accounts, ledger
from payments.books.accounts import Kind
from payments.books.ledger import Move
from payments.models import Charge, Reconciliation

from . import charges, disputes, refunds, stripe_api
from .facts import CURRENCY, Money, NoAnswer, StripeRefused

log = logging.getLogger(__name__)
_OVERLAP = timedelta(days=3)
_WINDOW = timedelta(days=1)
_BEFORE_ALL = timedelta(days=90)
_CHARGES = ("charge", "payment")
_REFUNDS = ("refund", "payment_refund", "refund_failure", "payment_failure_refund")


@dataclass
class Report:
    """What a run found: transactions booked late (healed), unknown ones, and the difference in micros.

    `missing` are paid charges that the processor does not have, `failed` transactions that could not be applied, and
    `foreign` those in another currency than the books': they are never booked as dollars.
    """

    healed: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    difference_micros: int = 0

    @property
    def clean(self) -> bool:
        """Whether the processor's books and ours agree."""
        return not (self.difference_micros or self.missing or self.failed or self.foreign)


def reconcile() -> Report:
    """Compare everything the processor booked since the last run ended, less three days.

    A day at a time, each of which is remembered: after a long absence, or a restored backup, nothing in between is left
    out. A day with a transaction that could not be applied is not remembered, nor any later day of that run. Raises
    NoAnswer: what was booked until then stays.
    """
    started = timezone.now() + timedelta(seconds=1)  # The processor counts in whole seconds.
    report = Report()
    start = _goes_on_from(started)
    while start < started:
        end = min(start + _WINDOW, started)
        _compare(start, end, report)
        if not report.failed:
            _remember(end)
        start = end
    report.healed += disputes.look_at_open()
    held = stripe_api.holds_cents() or 0
    report.difference_micros = held * charges.CENT + ledger.balance(accounts.STRIPE, accounts.USD)
    if not report.clean or report.unknown:
        log.error("reconciliation: %s", report)
    return report


def _goes_on_from(now: datetime) -> datetime:
    """From the end of the last run, less an overlap; before the first run from the first charge.

    Without either, which may be an old backup too, from a while ago.
    """
    read_to = Reconciliation.objects.values_list("read_to", flat=True).first()
    if read_to is None:
        read_to = Charge.objects.order_by("made_at").values_list("made_at", flat=True).first()
    return min(read_to or now - _BEFORE_ALL, now) - _OVERLAP


def _remember(end: datetime) -> None:
    """A run that ends within the overlap has not come as far as the one before."""
    Reconciliation.objects.get_or_create(id=1, defaults={"read_to": end})
    Reconciliation.objects.filter(id=1, read_to__lt=end).update(read_to=end)


def _compare(start: datetime, end: datetime, report: Report) -> None:
    """Compare what the processor booked from `start` to `end`."""
    seen = set()
    # The processor lists the newest first, but a refund or dispute can be applied only after its payment.
    for money in reversed(list(stripe_api.money_between(start, end))):
        seen.add(money.source)
        _heal(money, report)
    settled = min(end, timezone.now() - timedelta(minutes=5))
    paid = Charge.objects.filter(state=Charge.State.SUCCEEDED, decided_at__gte=start, decided_at__lt=settled)
    unseen = paid.exclude(stripe_charge_id__in=seen)
    report.missing += [charge.stripe_charge_id for charge in unseen if not _is_there(charge)]


def _is_there(charge: Charge) -> bool:
    """Whether the processor has the payment. It may have booked the payment before the period, and we learned late."""
    try:
        return stripe_api.intent(charge.intent).stripe_charge_id == charge.stripe_charge_id
    except StripeRefused:
        return False


def _heal(money: Money, report: Report) -> None:
    """Make sure that our books have one balance transaction; its key in our books makes this idempotent."""
    if money.currency != CURRENCY:
        report.foreign.append(money.id)
        return
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
        # Not into suspense: the transaction may be ours, and a later run that can apply it would book it twice.
        log.exception("%s could not be applied", money.id)
        report.failed.append(money.id)
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
    """Post the fee of a charge or refund. A dispute posts its own fee, and suspense is booked net of fees."""
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


def run() -> None:
    """Reconcile on schedule. No answer from the processor is only logged: the next run tries again."""
    try:
        reconcile()
    except NoAnswer as error:
        log.warning("no reconciliation: %s", error)
