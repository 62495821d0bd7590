"""`manage.py rescan FROM TO`: read the token's logs in these blocks again and record what is missing."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from payments import checks, onchain
from payments.models import Transfer
from payments.onchain import logs, rpc, watcher


class Command(BaseCommand):
    """Repairs a gap: transfers that no node mentioned when the watcher read their block. Idempotent."""

    help = "Read the chain's blocks FROM to TO (inclusive) again and record transfers that are missing in the books."
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: CommandParser) -> None:
        """The first and the last block."""
        parser.add_argument("first", metavar="FROM", type=int)
        parser.add_argument("last", metavar="TO", type=int)

    def handle(self, *args: Any, **options: Any) -> None:
        """Read range by range. Blocks that the watcher has not read yet are left to it."""
        if not onchain.enabled():
            raise CommandError("CHAIN_RPC_URL and PAY_TO are not set: this shop sells on no chain.")
        first = options["first"]
        try:
            known = watcher.meet()
            first, last = max(first, known.started_at + 1), min(options["last"], known.scanned_to)
            if first > last:
                read = f"{known.started_at + 1} to {known.scanned_to}"
                raise CommandError(f"Nothing to read again: the watcher has read the blocks {read}.")
            before, unsure = Transfer.objects.filter(orphaned_at=None).count(), 0
            while first <= last:
                upto = min(last, first + logs.comfortable_blocks() - 1)
                unsure += watcher.record_new(first, upto)
                self.stderr.write(f"read blocks {first} to {upto}")
                first = upto + 1
        except watcher.AnotherChain as error:
            raise CommandError(str(error)) from error
        except rpc.ChainUnreachable as error:
            raise CommandError(f"The chain cannot be read: {error}. Blocks from {first} on are not done.") from error
        if unsure:
            self.stderr.write(f"{unsure} transfers are in blocks that a second read did not confirm: run it again.")
        self.stdout.write(f"{Transfer.objects.filter(orphaned_at=None).count() - before} transfers were missing.")
