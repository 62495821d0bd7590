"""`manage.py watch`: run the watcher until SIGTERM or SIGINT."""

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from payments import checks, onchain
from payments.onchain import watcher


class Command(BaseCommand):
    """Runs the watcher, which needs no key. Several may run: one of them looks at the chain."""

    # Checking every page's address would import every page.
    requires_system_checks = [checks.TAG]
    help = "Watch the chain for transfers and reorganisations until SIGTERM or SIGINT."

    def handle(self, *args: Any, **options: Any) -> None:
        """Watch. Refuse to start without a chain, or on another chain than the database's."""
        if not onchain.enabled():
            raise CommandError("CHAIN_RPC_URL and PAY_TO are not set: this shop sells on no chain.")
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        try:
            watcher.run(stop)
        except watcher.AnotherChain as error:
            raise CommandError(str(error)) from error
