"""`manage.py settle`: run the settler until SIGTERM or SIGINT."""

import logging
import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from payments import checks
from payments.onchain import rpc, watcher
from payments.onchain.settler import Settler
from payments.outages import SETTLING

log = logging.getLogger(__name__)


class Command(BaseCommand):
    """Runs the settler, the only process that needs SETTLER_KEY. Several may run: only the lease holder signs."""

    # Checking every page's address would import every page.
    requires_system_checks = [checks.TAG]
    help = "Settle claimed payments on the chain, in batches, until SIGTERM or SIGINT."

    def handle(self, *args: Any, **options: Any) -> None:
        """Wait for the chain, then settle. Refuse to start without key or batch contract, or on the wrong chain."""
        if not settings.SETTLER_KEY:
            raise CommandError("SETTLER_KEY is not set: the key that signs and pays for settlement transactions.")
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        settler = Settler(settings.SETTLER_KEY)
        while not stop.is_set() and not self._ready(settler):
            stop.wait(1)
        if not stop.is_set():
            log.info("settling with %s through 0x%s", settler.account.address, rpc.batch_contract().hex())
            settler.run(stop.is_set)

    def _ready(self, settler: Settler) -> bool:
        try:
            watcher.meet()
            if not rpc.code_at(rpc.batch_contract()):
                raise CommandError("The batch contract is not on this chain yet: run `manage.py deploy_settler` once.")
        except watcher.AnotherChain as error:
            raise CommandError(str(error)) from error
        except rpc.ChainUnreachable as error:
            SETTLING.failed(error)
            return False
        SETTLING.answered()
        return True
