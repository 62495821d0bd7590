"""`manage.py migrate`, with the tables owned by another role than the one that serves requests."""

from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as Migrate
from django.db import connections
from psycopg import sql

# What the application may do with the books, and with what is kept for ever; everything else it may change freely.
_BOOKS = ("payments_account", "payments_transaction", "payments_posting")
_KEPT = ("payments_payment", "payments_authorization", "payments_grant", "payments_transfer")
_VIEWS = ("journal", "entry", "payment", "grant", "payout", "voucher", "chain_seen")


class Command(Migrate):
    """With DATABASE_OWNER_URL: migrate as the owner, then grant DATABASE_URL's role only what the application needs."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Without DATABASE_OWNER_URL this is Django's own command."""
        separate = "owner" in connections.settings and options["database"] == "default"
        if separate:
            options["database"] = "owner"
        super().handle(*args, **options)
        if separate:
            self._grant()

    def _grant(self) -> None:
        owner = connections["owner"]
        if owner.vendor != "postgresql":
            raise CommandError("DATABASE_OWNER_URL is for PostgreSQL; SQLite has no roles.")
        url = urlsplit(settings.DATABASE_URL)
        role, password = sql.Identifier(unquote(url.username or "")), sql.Literal(unquote(url.password or ""))
        with owner.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [unquote(url.username or "")])
            run = cursor.cursor.execute
            if not cursor.fetchone():
                run(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, password))
            for statement in _grants():
                run(sql.SQL(statement).format(role=role))
        owner.commit()
        self.stdout.write(f"  Granted {unquote(url.username or '')} what the application needs.")


def _grants() -> list[str]:
    books, kept = ", ".join(_BOOKS), ", ".join(_KEPT)
    views = ", ".join(f"audit_{name}" for name in _VIEWS)
    return [
        "GRANT USAGE ON SCHEMA public TO {role}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
        "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
        f"REVOKE UPDATE, DELETE ON {books} FROM {{role}}",
        f"REVOKE DELETE ON {kept} FROM {{role}}",
        f"REVOKE INSERT, UPDATE, DELETE ON {views} FROM {{role}}",
        "REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM {role}",
    ]
