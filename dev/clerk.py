"""Runs in the project's environment and executes the demo's requests, one per line of stdin.

One process serves all requests, because starting Django takes longest. It is started as `clerk.py migrate`: that
argument tells the settings that this process may act as the owner of the tables.
"""

import io
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import django  # noqa: E402

django.setup()

from django.core.management import CommandError, call_command  # noqa: E402


def static() -> None:
    """Collect the static files."""
    call_command("collectstatic", interactive=False, verbosity=0)


def database() -> None:
    """Create the tables and deploy the batch contract. Refused if the database belongs to another chain."""
    call_command("migrate", verbosity=0)
    call_command("deploy_settler")


def sample() -> Any:
    """Articles and logins, as printed by `manage.py sample --json`."""
    said = io.StringIO()
    call_command("sample", json=True, stdout=said)
    return json.loads(said.getvalue())


def earned(article: str) -> str:
    """The earned balance of an article's publisher in dollars, from the books."""
    from payments import money
    from payments.books import ledger
    from publishers.models import Article

    return money.format_usd(ledger.balance(f"publisher:{Article.objects.get(pk=article).publication_id}:earned"))


def audit() -> list[str]:
    """The findings of `manage.py audit`."""
    from django.db import connection

    from marketplace.ops import outage
    from payments import audit

    # The database may have restarted since the last request.
    connection.close()
    outage.replace_dead_connections()
    return [str(finding) for finding in audit.findings()]


def main() -> None:
    """Answer each request with one line: {"answer": …}, or {"problem": a sentence or an empty string}."""
    out, sys.stdout = sys.stdout, sys.stderr
    verbs: dict[str, Callable[..., Any]] = {f.__name__: f for f in (static, database, sample, earned, audit)}
    for line in sys.stdin:
        verb, *words = json.loads(line)
        try:
            said = {"answer": verbs[verb](*words)}
        except CommandError as error:
            said = {"problem": str(error)}
        except Exception:  # noqa: BLE001 - the traceback is logged, and the demo stops.
            traceback.print_exc()
            said = {"problem": ""}
        print(json.dumps(said), file=out, flush=True)


if __name__ == "__main__":
    main()
