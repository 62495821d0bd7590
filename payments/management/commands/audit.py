"""`manage.py audit`: check the books against themselves and against the chain."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from payments import audit, onchain


class Command(BaseCommand):
    """Exits 0 when every invariant holds, and 1 when one is violated or the chain cannot be reached."""

    help = "Check every invariant of docs/audit.md against the database and the chain."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line per finding on stderr, and a summary line on stdout."""
        found = 0
        for finding in audit.findings():
            found += 1
            self.stderr.write(str(finding))
        if not onchain.enabled():
            self.stdout.write("Only the database was looked at: no chain is configured.")
        self.stdout.write(f"{found} findings" if found else "The books hold.")
        if found:
            sys.exit(1)
