"""Log lines: one JSON object each, under the id of the request; an outage is two lines, however often it is met."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.test import Client

from marketplace.celery import app
from marketplace.ops import logs, mail
from marketplace.ops.beat import Scheduler
from marketplace.shop import catalogue
from payments import events, outages, tasks

GIVEN = "0123-abc.DEF_9"


def line(message: str, *words: object, **more: Any) -> dict[str, Any]:
    """A record as the JSON formatter writes it."""
    record = logging.makeLogRecord(
        {"name": "payments.gate", "levelname": "INFO", "msg": message, "args": words, **more}
    )
    logs.Source().filter(record)
    text = logs.Json().format(record)
    assert "\n" not in text
    return json.loads(text)


def test_a_line_is_one_json_object_with_its_source() -> None:
    said = line("two\nlines about %s", "owls", fields={"event": "sale", "amount_micros": 50_000})
    assert said["message"] == "two\nlines about owls"
    assert (said["level"], said["logger"], said["event"], said["amount_micros"]) == (
        "INFO", "payments.gate", "sale", 50_000,
    )  # fmt: skip
    assert said["time"].endswith("+00:00")
    assert said["process"]
    assert "request_id" not in said


def test_a_traceback_stays_in_its_line() -> None:
    try:
        raise ValueError("here")
    except ValueError:
        assert "ValueError: here" in line("failed", exc_info=sys.exc_info())["exception"]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["/app/.venv/bin/gunicorn"], "web"),
        (["celery", "-A", "marketplace", "worker", "-P", "threads"], "worker"),
        (["/app/.venv/lib/celery/__main__.py", "-A", "marketplace", "beat"], "beat"),
        (["manage.py", "settle"], "settler"),
        (["manage.py", "watch"], "watcher"),
        (["manage.py", "migrate", "--noinput"], "migrate"),
        (["manage.py"], "manage"),
    ],
)
def test_a_process_is_named_by_its_command(command: list[str], name: str) -> None:
    assert logs.process(command) == name


@pytest.mark.parametrize(
    ("trusted", "given", "taken"),
    [
        (True, GIVEN, True),
        (False, GIVEN, False),
        (True, "short", False),
        (True, "x" * 65, False),
        (True, "a b c d e f", False),
    ],
)
def test_only_a_trusted_proxy_names_a_request(settings: Any, trusted: bool, given: str, taken: bool) -> None:
    settings.TRUST_PROXY_HEADERS = trusted
    said = Client().get("/healthz", headers={"X-Request-Id": given})["X-Request-Id"]
    assert (said == given) is taken
    assert len(said) >= 8
    assert events.request_id.get() == ""


def test_a_defect_names_its_request_in_the_log_and_in_the_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(catalogue, "render", broken)
    caplog.handler.addFilter(logs.Source())
    client = Client(raise_request_exception=False, headers={"host": "localhost"})
    page = client.get("/about", headers={"Accept": "text/html"})
    assert page.status_code == 500
    assert page["X-Request-Id"] in page.content.decode()
    agents = client.get("/about")
    assert agents.json()["request_id"] == agents["X-Request-Id"] != page["X-Request-Id"]
    assert [record.source["request_id"] for record in caplog.records] == [page["X-Request-Id"], agents["X-Request-Id"]]


@pytest.mark.django_db
def test_lines_of_a_task_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    monkeypatch.setattr(tasks.audit, "findings", lambda: said.append(line("in it")) or [])
    app.tasks["payments.audit_books"].apply()
    assert said[0]["task"] == "payments.audit_books"
    assert "task" not in line("after it")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seconds that have passed, for outages to read."""
    now = [100]
    monkeypatch.setattr(outages.time, "monotonic", lambda: now[0])
    return now


def test_an_outage_is_one_line_and_its_end_another(clock: list[int], caplog: pytest.LogCaptureFixture) -> None:
    service = outages.Outage("node")
    service.answered()
    for _ in range(3):
        service.failed(OSError("refused\nand more"))
        clock[0] += 4
    service.answered()
    service.answered()
    assert [record.message for record in caplog.records] == ["node: outage: refused", "node: recovered after 12 s"]
    assert caplog.records[1].fields == {"event": "recovered", "service": "node", "seconds": 12}


def test_a_service_that_answers_every_other_call_has_one_outage(
    clock: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    service = outages.Outage("node", calm_seconds=5)
    for _ in range(5):
        service.failed("busy")
        clock[0] += 1
        service.answered()
    clock[0] += 5
    service.answered()
    assert [record.message for record in caplog.records] == ["node: outage: busy", "node: recovered after 10 s"]


def test_beat_makes_its_folder_and_says_once_that_the_broker_is_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages.BROKER, "_began", None)
    beat = Scheduler(app, schedule_filename=str(tmp_path / "not" / "there" / "schedule"))
    answers = iter([OSError("refused")] * 3 + [None])

    def send(*_: Any, **__: Any) -> None:
        if error := next(answers):
            raise error

    monkeypatch.setattr(beat, "apply_async", send)
    entry = next(iter(beat.schedule.values()))
    for _ in range(4):
        beat.apply_entry(entry)
    beat.close()
    assert [record.message.partition(":")[2][:9] for record in caplog.records] == [" outage: ", " recovere"]


@pytest.mark.parametrize("error", ["consumer: Cannot connect to redis://x: refused.\nTrying", "of the database"])
def test_celerys_lines_about_each_try_are_dropped(
    error: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in (outages.BROKER, outages.DATABASE):
        monkeypatch.setattr(service, "_began", None)
    why = OperationalError("gone")
    name = "celery.worker.consumer.consumer" if "consumer" in error else "celery.app.trace"
    for _ in range(3):
        logging.getLogger(name).error(error, exc_info=None if "consumer" in error else (type(why), why, None))
    assert len(caplog.records) == 1
    assert ": outage: " in caplog.text
    logging.getLogger(name).error("another defect")
    assert len(caplog.records) == 2


def test_an_outage_of_the_mail_server_is_logged_without_an_address(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages.MAIL, "_began", None)
    backend = mail.Backend()

    def refuse(_: Any) -> None:
        raise OSError("ada@example.com")

    monkeypatch.setattr(backend, "open", lambda: refuse(None))
    for _ in range(2):
        with pytest.raises(OSError, match="ada"):
            backend.send_messages([object()])  # type: ignore[list-item]
    assert [record.message for record in caplog.records] == ["mail server: outage: OSError"]


@pytest.mark.django_db(transaction=True)
def test_an_event_of_money_is_written_after_the_commit_and_not_without_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with transaction.atomic():
        events.note("sale", "sold", payment="p1", amount_micros=50_000, reason="")
        assert connection.in_atomic_block
        assert not caplog.records
    with transaction.atomic():
        events.note("sale", "sold", payment="p2")
        transaction.set_rollback(True)
    assert [record.message for record in caplog.records] == ["sale sold: payment=p1 amount_micros=50000"]
    assert caplog.records[0].fields["amount_micros"] == 50_000
