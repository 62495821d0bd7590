"""What Celery wakes up for. A task carries nothing: the database knows what is to be done, and twice does no harm."""

import logging

from celery import shared_task

from payments import cards, fulfilment, onchain
from payments.cards import holds, reconciliation, sweeper
from payments.cards.facts import NoAnswer
from payments.onchain import rpc, watcher

from . import audit

log = logging.getLogger(__name__)


@shared_task(name="payments.watch_chain")
def watch_chain() -> None:
    """Look at the chain once; the next look is a second away."""
    if not onchain.enabled():
        return
    try:
        watcher.watch()
    except (rpc.ChainUnreachable, rpc.RpcRefused) as error:
        log.warning("cannot watch the chain: %s", error)


@shared_task(name="payments.audit_books")
def audit_books() -> None:
    """Check every invariant and shout about what does not hold."""
    for finding in audit.findings():
        log.error("audit: %s", finding)


@shared_task(name="payments.sweep_cards")
def sweep_cards() -> None:
    """Finish what is unfinished about cards, then buy what paid charges were made for."""
    if cards.enabled():
        sweeper.sweep()
        fulfilment.fulfil_paid()


@shared_task(name="payments.settle_tabs")
def settle_tabs() -> None:
    """Charge the tabs that are due, and clear what has waited long enough."""
    if cards.enabled():
        sweeper.settle_tabs()
        holds.clear()


@shared_task(name="payments.fetch_undelivered")
def fetch_undelivered() -> None:
    """Ask for events that no webhook brought."""
    if cards.enabled():
        try:
            sweeper.fetch_undelivered()
        except NoAnswer as error:
            log.warning("cannot ask for events: %s", error)


@shared_task(name="payments.reconcile")
def reconcile() -> None:
    """Compare the processor's books with ours."""
    if cards.enabled():
        reconciliation.run()
        fulfilment.fulfil_paid()
