"""What Celery wakes up for. A task carries nothing: the database knows what is to be done, and twice does no harm."""

import logging

from celery import shared_task

from . import audit, chain, watcher
from .rails import exact

log = logging.getLogger(__name__)


@shared_task(name="payments.watch_chain")
def watch_chain() -> None:
    """Look at the chain once; the next look is a second away."""
    if not exact.enabled():
        return
    try:
        watcher.watch()
    except (chain.ChainUnreachable, chain.RpcRefused) as error:
        log.warning("cannot watch the chain: %s", error)


@shared_task(name="payments.audit_books")
def audit_books() -> None:
    """Check every invariant and shout about what does not hold."""
    for finding in audit.findings():
        log.error("audit: %s", finding)
