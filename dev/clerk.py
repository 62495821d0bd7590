"""Runs inside the project's environment and does what the demo needs done there, one request per line of stdin.

One process for all of it, because starting Django is most of the work. It is called as `clerk.py migrate`: that word
is how the settings know that this process may act as the owner of the tables.
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
    """Collect what the web server serves as files."""
    call_command("collectstatic", interactive=False, verbosity=0)


def database() -> None:
    """Tables, and the batch contract; refused when the database remembers another chain."""
    call_command("migrate", verbosity=0)
    call_command("deploy_settler")


def sample() -> Any:
    """Articles and logins, as `manage.py sample --json` says them."""
    said = io.StringIO()
    call_command("sample", json=True, stdout=said)
    return json.loads(said.getvalue())


def earned(article: str) -> str:
    """What the publisher of an article has earned so far, in dollars, from the books."""
    from payments import money
    from payments.books import ledger
    from publishers.models import Article

    return money.format_usd(ledger.balance(f"publisher:{Article.objects.get(pk=article).publication_id}:earned"))


def audit() -> list[str]:
    """What `manage.py audit` finds, as it would say it."""
    from django.db import connection

    from marketplace.ops import outage
    from payments import audit

    # The database may have been restarted since the last question.
    connection.close()
    outage.replace_dead_connections()
    return [str(finding) for finding in audit.findings()]


def main() -> None:
    """Answer each request with one line: {"answer": …}, or {"problem": a sentence or nothing}."""
    out, sys.stdout = sys.stdout, sys.stderr
    verbs: dict[str, Callable[..., Any]] = {f.__name__: f for f in (static, database, sample, earned, audit)}
    for line in sys.stdin:
        verb, *words = json.loads(line)
        try:
            said = {"answer": verbs[verb](*words)}
        except CommandError as error:
            said = {"problem": str(error)}
        except Exception:  # noqa: BLE001 - whatever it is, the log has it and the demo stops.
            traceback.print_exc()
            said = {"problem": ""}
        print(json.dumps(said), file=out, flush=True)


if __name__ == "__main__":
    main()
