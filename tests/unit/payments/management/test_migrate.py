"""PostgreSQL's roles: migrated by an owner, served by a role that can buy and sell but not rewrite the books."""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.conf import settings
from psycopg import errors

pytestmark = pytest.mark.postgresql

BOOKS = ("payments_account", "payments_transaction", "payments_posting")
KEPT = ("payments_payment", "payments_authorization", "payments_grant", "payments_transfer")
KEPT += tuple(
    f"payments_{table}"
    for table in ("purse", "charge", "cardrefund", "dispute", "apikey", "approval", "debit", "processorevent")
)
VIEWS = [f"audit_{name}" for name in ("journal", "entry", "payment", "grant", "payout", "voucher", "chain_seen")]

# What a shop does with its tables, from a draft to a sale that a reorganisation takes back and brings again.
BUY = """
from tests import cast
from payments.onchain import record
from payments.onchain.lease import LeaseHolder
from payments.models import Grant, Payment, PaymentState, Transfer
from payments.onchain.logs import SeenTransfer
from django.db import transaction
first, second = (cast.sale(cast.article(cast.publication(cast.person(name)))) for name in ("alice", "carol"))
row = first.transfers.get()
record.take_back(row)
assert Grant.objects.get(payment=first).revoked_at
record.transfers([SeenTransfer(row.block_number, row.block_hash, row.tx_hash, row.log_index, row.token, row.sender,
                                  row.recipient, row.value, row.nonce)])
record.finalise(row.chain_id, 10**9)
assert set(Payment.objects.values_list("state", flat=True)) == {PaymentState.FINAL}
record.transfers([SeenTransfer(5, b"b" * 32, b"t" * 32, 0, row.token, row.sender, row.recipient, 77, None)])
holder = LeaseHolder(1, b"k" * 20)
assert holder.hold()
with transaction.atomic():
    assert (holder.take_nonce(), holder.take_nonce()) == (0, 1)
holder.let_go()
"""


# The same with purses: agents, a guest who signs in, and all that the card processor can say of a charge.
CARDS = """
from django.conf import settings
settings.STRIPE_SECRET_KEY = "sk_test_of_the_tests"
from django.utils import timezone
from payments import gate, purses
from payments.cards import charges, disputes, holds, refunds, webhooks
from payments.purses import api_keys, approvals, joining
from payments.cards.facts import DisputeFacts, Event, Intent, Money, RefundFacts
from payments.models import Approval, Charge, Payment, ProcessorEvent, Purse
from tests import buyers
guest, owner = buyers.purse(500_000, owner="guest:1"), buyers.purse(1_000_000)
buyers.press(guest, buyers.offer(1))
joining.join(guest, owner)
text = buyers.key(owner, approve_above_micros=100_000, day_budget_micros=5_000_000)
buyers.present(text, buyers.offer(2))
purses.refund(buyers.press(owner, buyers.offer(9)).payment.id, owner)
for answer in (approvals.decline, lambda one: approvals.approve(one, one.amount_micros)):
    try:
        buyers.present(text, buyers.offer(3, 200_000))
    except gate.PaymentRequired:
        assert answer(Approval.objects.get())
buyers.present(text, buyers.offer(3, 200_000))
key = owner.keys.get()
api_keys.change(key, "renamed", api_keys.Limits(budget_micros=5_000_000))
api_keys.revoke(key)
charge = Charge.objects.create(purse=owner, purpose="topup", amount_micros=5_000_000, intent="pi_1", state="created")
now = timezone.now()
paid = {"stripe_charge_id": "ch_1", "transaction": "txn_1", "fee_cents": 45, "available_at": now}
charges.apply(Intent("pi_1", "succeeded", 500, str(charge.id), **paid))
refunds.apply(RefundFacts("re_1", "succeeded", 100, "pi_1", ""))
settings.CLEARING_HOLD_SECONDS = 0
assert holds.clear()
for status, cents in (("needs_response", -400), ("won", 400)):
    moved = Money(f"txn_{status}", "adjustment", "dp_1", cents, 0)
    disputes.apply(DisputeFacts("dp_1", status, "fraudulent", 400, "pi_1", (moved,)))
assert Purse.objects.get(id=owner.id).flag == ""
event = Event("evt_1", "x", "", "{}")
assert webhooks.store(event) and not webhooks.store(event)
assert webhooks.apply_waiting() == 1
"""


@dataclass
class House:
    """A database with an owner and an application's role; neither is a superuser, the latter did not exist before."""

    superuser_url: str
    owner: str
    role: str
    owner_url: str
    url: str

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """`manage.py …` with both URLs in its environment."""
        known = {"DATABASE_URL": self.url, "DATABASE_OWNER_URL": self.owner_url, "SECRET_KEY": "for tests"}
        environment = {**os.environ, **known, "DJANGO_SETTINGS_MODULE": "marketplace.settings", **variables}
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(command, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True)

    def as_role(self) -> psycopg.Connection:
        return psycopg.connect(self.url, autocommit=True)


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """Migrated from nothing in a process of its own, and two articles sold by the application's role."""
    parts = urlsplit(settings.DATABASE_URL)
    name = f"house_{os.getpid()}_{secrets.token_hex(3)}"
    place = parts.netloc.rpartition("@")[2]

    def url(role: str) -> str:
        return urlunsplit(parts._replace(netloc=f"{role}:secret%2Fword@{place}", path=f"/{name}"))

    made = House(settings.DATABASE_URL, f"{name}_owner", f"{name}-app", url(f"{name}_owner"), url(f"{name}-app"))
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as superuser:
        superuser.execute(f"CREATE ROLE {made.owner} LOGIN CREATEROLE PASSWORD 'secret/word'")
        superuser.execute(f"CREATE DATABASE {name} OWNER {made.owner}")
        try:
            done = made.run("migrate")
            assert done.returncode == 0, done.stderr
            assert "Granted" in done.stdout
            bought = made.run("shell", "-v0", "-c", BUY)
            assert bought.returncode == 0, bought.stderr
            paid = made.run("shell", "-v0", "-c", CARDS)
            assert paid.returncode == 0, paid.stderr
            yield made
        finally:
            superuser.execute(f"DROP DATABASE {name} WITH (FORCE)")
            for role in (made.role, made.owner):
                superuser.execute(f'DROP ROLE IF EXISTS "{role}"')


REFUSED = [
    *(f"UPDATE {table} SET id = id" for table in BOOKS),
    *(f"DELETE FROM {table}" for table in (*BOOKS, *KEPT)),
    *(f"TRUNCATE {table} CASCADE" for table in (*BOOKS, *KEPT)),
    *(f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in BOOKS),
    *(f"DROP TABLE {table} CASCADE" for table in (*BOOKS, *KEPT)),
    *(f"DELETE FROM {view}" for view in VIEWS),
    *(f"DROP VIEW {view}" for view in VIEWS),
    "INSERT INTO payments_account (id, code, asset) SELECT id, code, asset FROM payments_account"
    " ON CONFLICT (id) DO UPDATE SET code = 'x'",
    "UPDATE payments_payment SET amount_micros = 1",
    "UPDATE payments_payment SET buyer = 'me'",
    "UPDATE payments_grant SET buyer = 'me'",
    "UPDATE payments_grant SET resource = 'article:dearer'",
    "UPDATE payments_authorization SET nonce = payer",
    "UPDATE payments_transfer SET value = '1'",
    "UPDATE payments_purse SET owner = 'user:1'",
    "UPDATE payments_apikey SET digest = 'mine'",
    "UPDATE payments_apikey SET purse_id = (SELECT id FROM payments_purse LIMIT 1)",
    "UPDATE payments_approval SET resource = 'article:dearer'",
    "UPDATE payments_debit SET key_id = NULL",
    "UPDATE payments_debit SET address = NULL",
    "UPDATE payments_charge SET amount_micros = 1000000",
    "UPDATE payments_cardrefund SET amount_micros = 1",
    "UPDATE payments_dispute SET charge_id = charge_id",
    "UPDATE payments_processorevent SET body = ''",
    "UPDATE audit_payment SET amount = 1",
    "INSERT INTO audit_grant (buyer, resource) VALUES ('me', 'everything')",
    "CREATE OR REPLACE VIEW audit_journal AS SELECT 1 AS id",
    "DROP TRIGGER append_only ON payments_posting",
    "ALTER TABLE payments_posting DROP CONSTRAINT posting_positive",
    "ALTER TABLE payments_posting OWNER TO CURRENT_USER",
    "CREATE TRIGGER mine BEFORE INSERT ON payments_posting FOR EACH ROW EXECUTE FUNCTION payments_append_only()",
    "CREATE RULE mine AS ON INSERT TO payments_posting DO INSTEAD NOTHING",
    "CREATE OR REPLACE FUNCTION payments_append_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "DROP FUNCTION payments_append_only() CASCADE",
    "ALTER FUNCTION payments_posts() SET search_path = pg_temp",
    "CREATE TABLE public.mine (id int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "SET session_replication_role = replica",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE CURRENT_USER CREATEROLE",
    "SET ROLE {owner}",
    "GRANT {owner} TO CURRENT_USER",
    "COPY payments_posting TO PROGRAM 'cat'",
    "INSERT INTO django_migrations (app, name, applied) VALUES ('payments', '0099', now())",
    "UPDATE pg_trigger SET tgenabled = 'D'",
]


@pytest.mark.parametrize("statement", REFUSED)
def test_the_application_may_not(house: House, statement: str):
    with house.as_role() as connection:
        # Views over several tables cannot be written at all, which is noticed before the missing right.
        unwritable = (errors.ObjectNotInPrerequisiteState,) if "audit_" in statement else ()
        refusals = (errors.InsufficientPrivilege, *unwritable)
        with pytest.raises(refusals):
            connection.execute(statement.format(owner=house.owner))


def test_the_application_owns_nothing_and_is_nobody_special(house: House):
    with house.as_role() as connection:
        owned = "SELECT relname FROM pg_class WHERE relowner = (SELECT oid FROM pg_roles WHERE rolname = CURRENT_USER)"
        assert connection.execute(owned).fetchall() == []
        powers = "rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls"
        assert connection.execute(f"SELECT {powers} FROM pg_roles WHERE rolname = CURRENT_USER").fetchone() == (False,)
        members = "SELECT rolname FROM pg_roles WHERE pg_has_role(CURRENT_USER, oid, 'MEMBER')"
        assert connection.execute(members).fetchall() == [(house.role,)]
        # Nothing comes of this but a warning.
        connection.execute("GRANT UPDATE ON payments_posting TO CURRENT_USER")
        may = "has_table_privilege(relname, 'UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')"
        for table in (*BOOKS, *VIEWS):
            assert connection.execute(f"SELECT {may} FROM (SELECT '{table}' AS relname) t").fetchone() == (False,)


def test_the_application_can_read_every_view(house: House):
    with house.as_role() as connection:
        for view in VIEWS:
            connection.execute(f"SELECT * FROM {view}")
        final = "SELECT method, count(*) FROM audit_payment WHERE state = 'final' GROUP BY method ORDER BY method"
        assert connection.execute(final).fetchall() == [("exact", 2), ("purse", 3)]


def test_no_temporary_table_stands_in_for_the_ones_that_the_triggers_look_at(house: House):
    """A temporary table comes before all others in the search path of whoever made it."""
    with house.as_role() as connection:
        entry, source, target = connection.execute(
            "SELECT transaction_id, source_id, target_id FROM payments_posting LIMIT 1"
        ).fetchone()
        connection.execute("CREATE TEMPORARY TABLE payments_posting (LIKE public.payments_posting)")
        connection.execute("CREATE TEMPORARY TABLE payments_account (LIKE public.payments_account)")
        assert connection.execute("SELECT count(*) FROM payments_posting").fetchone() == (0,)
        with pytest.raises(errors.CheckViolation, match="late posting"):
            connection.execute(
                "INSERT INTO public.payments_posting (id, transaction_id, source_id, target_id, amount_micros)"
                " VALUES (gen_random_uuid(), %s, %s, %s, 5)",
                [entry, source, target],
            )


_FUNCTIONS = ("append_only", "opens", "closes", "posts", "payment_kept", "authorization_kept")


def test_the_functions_of_the_triggers_say_where_they_look(house: House):
    with house.as_role() as connection:
        found = connection.execute(
            "SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE proname LIKE 'payments_%'"
        ).fetchall()
    assert {name for name, _ in found} == {f"payments_{what}" for what in _FUNCTIONS}
    for name, source in found:
        if " FROM " in source:
            assert not re.search(r"(FROM|JOIN) payments_", source), name
            assert "search_path TO 'pg_catalog', 'pg_temp'" in source, name


def test_the_application_audits_what_it_sold(house: House):
    """As itself, not as the owner: `audit` reads, and nothing that it needs is the owner's alone."""
    done = house.run("audit")
    assert done.returncode == 0, done.stdout + done.stderr


def test_migrating_again_changes_nothing(house: House):
    """Neither does it open the books for a moment: the application's rights are set in one commit."""
    with psycopg.connect(house.superuser_url) as superuser:
        password = "SELECT rolpassword FROM pg_authid WHERE rolname = %s"
        before = superuser.execute(password, [house.role]).fetchone()
        done = house.run("migrate")
        assert done.returncode == 0, done.stderr
        assert "No migrations to apply" in done.stdout
        assert superuser.execute(password, [house.role]).fetchone() == before
    with house.as_role() as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute("DELETE FROM payments_posting")


@pytest.mark.parametrize("whose", ["the owner's", "a superuser's"])
def test_a_role_from_which_nothing_protects_the_books_is_refused(house: House, whose: str):
    url = house.owner_url if whose == "the owner's" else house.superuser_url
    done = house.run("migrate", DATABASE_URL=url)
    assert done.returncode == 1
    assert "Give the application a role of its own" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_applications_role_cannot_migrate(house: House):
    """Without the owner's URL there is nothing to act as."""
    done = house.run("migrate", "payments", "zero", DATABASE_OWNER_URL="")
    assert done.returncode != 0
    with house.as_role() as connection:
        assert connection.execute("SELECT count(*) FROM audit_journal").fetchone()[0] > 0
