"""`manage.py migrate`, run as the owner of the tables, which is not the role that serves requests."""

from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as Migrate
from django.db import connections, transaction
from psycopg import sql

# The tables where the application's role is restricted. The books are append-only; all other tables are unrestricted.
_BOOKS = ("payments_account", "payments_transaction", "payments_posting")
# Who paid how much for what must not change: the application may update only these columns and delete no row.
_KEPT = {
    "payments_payment": "state, reason, claimed_at, decided_at, reversals, sale_id",
    "payments_authorization": "submission_id, wasted_at",
    "payments_grant": "revoked_at, machine_read_at",
    "payments_transfer": "final, orphaned_at, orphanings, payment_id, received_id",
    "payments_purse": "email, balance_micros, tab_limit_micros, tab_opened_at, flag, owing_since, customer, card_id,"
    " joined_to_id",
    "payments_debit": "purse_id",
    "payments_apikey": "name, day_budget_micros, budget_micros, ceiling_micros, approve_above_micros, payees,"
    " expires_at, revoked_at, spent_micros, day, day_spent_micros, used_at",
    "payments_approval": "amount_micros, state, asked_at, decided_at, mailed_at",
    "payments_charge": "purse_id, state, reason, session, intent, stripe_charge_id, declined_stripe_charge_id, card_id,"
    " attempt, renewal, retry_at, look_at, reminders, bought_id, fulfilled_at, receipt_sent_at,"
    " available_at, fee_micros, refunded_micros, disputed_micros, decided_at",
    "payments_cardrefund": "state, stripe_refund_id, reason, renewal, look_at, decided_at",
    "payments_dispute": "status, withdrawn_micros, lost_at",
    "payments_processorevent": "applied_at, failures",
}
_VIEWS = ("journal", "entry", "payment", "grant", "payout", "voucher", "chain_seen")


class Command(Migrate):
    """Migrates as DATABASE_OWNER_URL, if set, then grants DATABASE_URL's role only what the application needs."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate, and grant. Without DATABASE_OWNER_URL this is Django's own command."""
        separate = "owner" in connections.settings and options["database"] == "default"
        if separate:
            self._check_roles()
            options["database"] = "owner"
        super().handle(*args, **options)
        if separate:
            self._grant()

    def _check_roles(self) -> None:
        """Refuse an application role that triggers and privileges cannot restrict: a superuser or the tables' owner."""
        owner = connections["owner"]
        if owner.vendor != "postgresql":
            raise CommandError("DATABASE_OWNER_URL is for PostgreSQL; SQLite has no roles.")
        name, _ = _application()
        if not name:
            raise CommandError("DATABASE_URL names no role: the application needs one of its own.")
        with owner.cursor() as cursor:
            cursor.execute("SELECT pg_has_role(oid, current_user, 'MEMBER') FROM pg_roles WHERE rolname = %s", [name])
            found = cursor.fetchone()
        if found and found[0]:
            raise CommandError(
                f"The role {name} of DATABASE_URL is a superuser or the owner of the tables, so nothing would protect"
                " the books from it. Give the application a role of its own."
            )

    def _grant(self) -> None:
        owner = connections["owner"]
        name, password = _application()
        role = sql.Identifier(name)
        # One commit, so that a running shop never loses a privilege it needs and never gains an extra one.
        with transaction.atomic(using="owner"), owner.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
            run = cursor.cursor.execute
            if not cursor.fetchone():
                run(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password)))
            for statement in _grants():
                run(sql.SQL(statement).format(role=role))
        self.stdout.write(f"  Granted {name} what the application needs.")


def _application() -> tuple[str, str]:
    """The name and the password of the application's role."""
    url = urlsplit(settings.DATABASE_URL)
    return unquote(url.username or ""), unquote(url.password or "")


def _grants() -> list[str]:
    books, kept = ", ".join(_BOOKS), ", ".join(_KEPT)
    views = ", ".join(f"audit_{name}" for name in _VIEWS)
    return [
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        "GRANT USAGE ON SCHEMA public TO {role}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
        "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
        f"REVOKE UPDATE, DELETE ON {books}, {kept} FROM {{role}}",
        *(f"GRANT UPDATE ({columns}) ON {table} TO {{role}}" for table, columns in _KEPT.items()),
        f"REVOKE INSERT, UPDATE, DELETE ON {views} FROM {{role}}",
        "REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM {role}",
    ]
