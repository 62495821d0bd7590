"""The Celery tasks. A task carries no arguments: the database says what is due. Every task is idempotent, and a job:
one run at a time, for at most so many seconds (payments.jobs).
"""

import logging
from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from payments import cards, fulfilment, jobs
from payments.books import reports
from payments.cards import holds, reconciliation, sweeper, tabs, webhooks
from payments.cards.facts import NoAnswer
from payments.onchain import record
from payments.purses import approval_mail

from . import audit, card_receipts

log = logging.getLogger(__name__)
_PRUNED_AT_ONCE = 500


@shared_task(name="payments.prune_claims")
@jobs.job(seconds=60)
def prune_claims() -> None:
    """Delete the claims that failed a day ago and left no trace on the chain."""
    day_ago = timezone.now() - timedelta(days=1)
    while record.prune(day_ago, _PRUNED_AT_ONCE) == _PRUNED_AT_ONCE and jobs.goes_on():
        pass


@shared_task(name="payments.audit_books")
@jobs.job(seconds=3600)
def audit_books() -> int:
    """Check every invariant of the books and log each violation as an error. Returns how many there are."""
    found = 0
    for finding in audit.findings():
        log.error("audit: %s", finding)
        found += 1
    return found


@shared_task(name="payments.sweep_cards")
@jobs.job(seconds=20)
def sweep_cards() -> None:
    """Complete unfinished card operations, then fulfil the paid charges."""
    if cards.enabled():
        # Buyers wait for what the inbox says. A round of the sweeper may be slow, and the worker may end in it.
        with jobs.part(0.5):
            webhooks.apply_waiting()
        fulfilment.fulfil_paid()
        try:
            sweeper.sweep()
        finally:
            fulfilment.fulfil_paid()


@shared_task(name="payments.charge_tabs")
@jobs.job(seconds=45)
def charge_tabs() -> None:
    """Charge the tabs that are due, and release the earnings whose hold is over."""
    if cards.enabled():
        with jobs.part(0.6):
            tabs.charge_due()
        tabs.dun()
        tabs.forgive_small()
        holds.clear()


@shared_task(name="payments.send_mail")
@jobs.job(seconds=60)
def send_mail() -> None:
    """Send receipts for card payments, and tell owners what waits for their approval."""
    if cards.enabled():
        card_receipts.send_due()
        approval_mail.send_due()


@shared_task(name="payments.fetch_undelivered")
@jobs.job(seconds=120)
def fetch_undelivered() -> None:
    """Fetch the processor's events that no webhook delivered."""
    if cards.enabled():
        try:
            sweeper.fetch_undelivered()
        except NoAnswer as error:
            log.warning("cannot ask for events: %s", error)


@shared_task(name="payments.reconcile")
@jobs.job(seconds=3600)
def reconcile() -> None:
    """Reconcile our books with the processor's, then fulfil the charges that this found paid."""
    if cards.enabled():
        reconciliation.run()
        fulfilment.fulfil_paid()


@shared_task(name="payments.count_sales")
@jobs.job(seconds=60)
def count_sales() -> None:
    """Bring the count of sales up to date, for the metrics."""
    reports.count_sales(timezone.now())
