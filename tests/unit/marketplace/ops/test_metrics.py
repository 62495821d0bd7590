"""/metrics: for whoever has the token, with few labels, the same from every web process."""

import re
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from marketplace.ops import figures, metrics, parts
from payments import gate, tasks
from payments.books import reports
from payments.models import Chain, Job, ProcessorEvent, SalesCount
from payments.onchain import rpc
from tests import buyers
from tests.visitor import HTML, owls

pytestmark = pytest.mark.django_db
TOKEN = "a token of the tests"
JSON = {"Accept": "application/json"}


@pytest.fixture(autouse=True)
def on(settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN
    settings.MIDDLEWARE = [
        "marketplace.ops.health.Probes",
        "marketplace.ops.metrics.Measured",
        *settings.MIDDLEWARE[1:],
    ]
    for kept in (figures.kept, figures.head, parts.node, parts.messages, parts.gas_use):
        kept.forget()


def read() -> dict[str, float]:
    """The samples, by name and labels."""
    answer = Client().get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    lines = [line.rsplit(" ", 1) for line in answer.content.decode().splitlines() if not line.startswith("#")]
    assert len({name for name, _ in lines}) == len(lines)
    return {name: float(value) for name, value in lines}


@pytest.mark.parametrize("shown", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}"])
def test_without_the_token_there_is_nothing_to_read(shown: str):
    answer = Client().get("/metrics", headers={"Authorization": shown} if shown else {})
    assert (answer.status_code, answer.content) == (401, b"")


@pytest.mark.parametrize("shown", ["", "Bearer ", f"Bearer {TOKEN}"])
def test_without_a_token_set_there_is_no_such_page(settings, shown: str):
    settings.METRICS_TOKEN = ""
    assert Client().get("/metrics", headers={"Authorization": shown}).status_code == 404


def test_requests_are_counted_by_kind_and_status_and_refusals_by_word():
    owls()
    before = read()
    for headers in (JSON, JSON, HTML):
        assert Client().get("/articles/owls", headers=headers).status_code == 402
    Client().get("/no/such/page", headers=JSON)
    new = {name: value - before.get(name, 0) for name, value in read().items() if value != before.get(name, 0)}
    assert new['pennypress_requests_total{kind="article",status="402"}'] == 3
    assert new['pennypress_requests_total{kind="page",status="404"}'] == 1
    assert new['pennypress_refusals_total{status="402",word="payment_required"}'] == 3
    assert new['pennypress_refusals_total{status="404",word="not_found"}'] == 1
    assert new['pennypress_request_seconds_count{kind="article"}'] == 3


@pytest.mark.parametrize("headers", [JSON, HTML])
def test_a_503_is_counted_by_its_word_also_as_a_page(monkeypatch, headers: dict[str, str]):
    def pending(*_: Any) -> None:
        raise gate.PaymentInFlight

    owls()
    monkeypatch.setattr("marketplace.shop.article.gate.verify", pending)
    name = 'pennypress_refusals_total{status="503",word="settlement_pending"}'
    before = read().get(name, 0)
    assert Client().get("/articles/owls", headers={**headers, "PAYMENT-SIGNATURE": "x"}).status_code == 503
    assert read()[name] == before + 1


def test_no_label_comes_from_a_request():
    for path in ('/evil"}', "/x/y/z", "/articles/nothing-here", "/api/nothing"):
        Client().get(path, headers=JSON)
    kinds = {kind for name in read() for kind in re.findall(r'kind="([^"]*)"', name)}
    assert kinds <= {"page", *metrics._KINDS.values()}


def test_the_figures_of_a_shop(settings, monkeypatch):
    settings.CHAIN_RPC_URL, settings.PAY_TO = "http://127.0.0.1:1", "0x" + "11" * 20
    monkeypatch.setattr(rpc, "request", lambda method, *params: hex(110))
    Chain.objects.create(chain_id=settings.CHAIN_ID, genesis_hash=b"g", started_at=1, scanned_to=100, scanned_hash=b"s")
    ago = timezone.now() - timedelta(seconds=50)
    Job.objects.create(name="audit_books", succeeded_at=ago, found=2)
    Job.objects.create(name="watch", succeeded_at=ago)
    ProcessorEvent.objects.create(id="evt_1", type="charge.updated", about="ch_1", body="{}", received_at=ago)
    SalesCount.objects.create(rail="exact", number=7, counted_to="0" * 32)
    said = read()
    assert said['pennypress_sales_total{rail="exact"}'] == 7
    assert said["pennypress_watcher_lag_blocks"] == 10
    assert 50 <= said["pennypress_watcher_lag_seconds"] < 80
    assert said["pennypress_audit_findings"] == 2
    assert said["pennypress_audit_timestamp_seconds"] == pytest.approx(ago.timestamp())
    assert said['pennypress_job_success_timestamp_seconds{job="watch"}'] == pytest.approx(ago.timestamp())
    assert said["pennypress_last_webhook_timestamp_seconds"] == pytest.approx(ago.timestamp())
    assert (said["pennypress_unapplied_events"], said["pennypress_oldest_open_payment_seconds"]) == (1, 0)
    assert said["pennypress_broker_messages"] >= 0


def test_without_the_database_the_counts_of_the_processes_are_there(monkeypatch):
    monkeypatch.setattr(figures, "_jobs", lambda rows: (_ for _ in ()).throw(DatabaseError()))
    Client().get("/no/such/page", headers=JSON)
    assert 'pennypress_requests_total{kind="page",status="404"}' in read()


def test_a_second_scrape_reads_a_few_small_tables():
    read()
    with CaptureQueriesContext(
        connection,
    ) as asked:
        read()
    tables = {table for query in asked for table in re.findall(r'FROM "(\w+)"', query["sql"])}
    assert tables <= {"payments_salescount", "payments_job"}


@pytest.mark.django_db(transaction=True)
def test_sales_are_counted_once_when_they_are_two_minutes_old(cards_on, monkeypatch):
    purse = buyers.purse(5_000_000)
    buyers.press(purse, buyers.offer(1))
    tasks.count_sales()
    assert SalesCount.objects.count() == 0
    minutes = timedelta(minutes=3)
    for _ in range(2):
        reports.count_sales(timezone.now() + minutes)
    assert SalesCount.objects.get().number == 1
    monkeypatch.setattr("payments.ids.time.time_ns", lambda: int((time.time() + 200) * 10**9))
    buyers.press(purse, buyers.offer(2))
    reports.count_sales(timezone.now() + 2 * minutes)
    row = SalesCount.objects.get()
    assert (row.rail, row.number) == ("purse", 2)
