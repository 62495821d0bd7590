"""/readyz: each part that stands still makes the shop unready, with a word; asking often costs the others nothing."""

import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone

from marketplace.ops import parts, queue
from marketplace.ops.kept import Kept
from payments.models import Job, Lease
from payments.onchain import gas, rpc

pytestmark = pytest.mark.django_db
ETHER = 10**18


@pytest.fixture(autouse=True)
def shop(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A shop on a chain in which every part works, for an hour; what the node was asked."""
    settings.CHAIN_RPC_URL, settings.PAY_TO = "http://127.0.0.1:1", "0x" + "11" * 20
    settings.STRIPE_SECRET_KEY = ""
    asked: list[str] = []
    monkeypatch.setattr(rpc, "ether_of", lambda address: asked.append("balance") or ETHER)
    monkeypatch.setattr(queue, "waiting", lambda: 0)
    monkeypatch.setattr(parts, "_began", time.monotonic() - 3600)
    Lease.objects.create(
        chain_id=settings.CHAIN_ID, key=b"k" * 20, holder="one", expires_at=timezone.now() + timedelta(hours=1)
    )
    now = timezone.now()
    for name in (*parts.periods(), "watch"):
        Job.objects.create(name=name, ended_at=now, succeeded_at=now, result="ok")
    forget()
    yield asked
    forget()


def forget() -> None:
    for kept in (parts.node, parts.messages, parts.gas_use):
        kept.forget()


def asked() -> tuple[int, dict[str, Any]]:
    answer = Client().get("/readyz")
    return answer.status_code, answer.json()


def unready(**parts: Any) -> None:
    status, said = asked()
    assert status == 503
    assert {name: said[name] for name in parts} == parts
    assert not said["ready"]


def ago(seconds: float) -> Any:
    return timezone.now() - timedelta(seconds=seconds)


def test_a_shop_in_which_everything_works_says_so_part_by_part():
    assert asked() == (200, {
        "ready": True, "database": "ok", "chain": "ok", "settler": "ok", "watcher": "ok", "worker": "ok",
        "beat": "ok", "broker": "ok", "gas": {"state": "ok", "days_left": None}, "late": [], "waiting": 0,
    })  # fmt: skip


def test_without_gas_nothing_is_settled(monkeypatch):
    monkeypatch.setattr(rpc, "ether_of", lambda address: 0)
    unready(chain="ok", gas={"state": "out", "days_left": 0})


def test_gas_that_is_low_is_said_in_time(monkeypatch):
    monkeypatch.setattr(gas, "use", lambda key: gas.Use(ETHER // 3, 1))
    assert asked()[0] == 200
    assert asked()[1]["gas"] == {"state": "low", "days_left": 3}


def test_a_watcher_that_is_gone_and_one_that_reads_nothing():
    Job.objects.filter(name="watch").update(succeeded_at=ago(50))
    unready(watcher="down")
    Job.objects.filter(name="watch").update(held_until=ago(-5))
    unready(watcher="stalled")
    Job.objects.filter(name="watch").delete()
    unready(watcher="down")


@pytest.mark.parametrize(("waiting", "worker", "beat"), [(3, "down", "ok"), (0, "unknown", "down")])
def test_when_no_job_runs_it_is_the_worker_if_messages_wait_and_beat_if_none_do(monkeypatch, waiting, worker, beat):
    Job.objects.update(ended_at=ago(31), held_until=ago(31), succeeded_at=timezone.now())
    monkeypatch.setattr(queue, "waiting", lambda: waiting)
    unready(worker=worker, beat=beat, late=["sweep_cards"])


def test_a_job_that_works_for_long_is_not_late():
    Job.objects.filter(name="sweep_cards").update(ended_at=ago(100), held_until=ago(-1))
    assert asked()[0] == 200


def test_a_rare_job_that_is_late_is_said_and_sells_on(monkeypatch):
    monkeypatch.setattr(parts, "_began", time.monotonic() - 86400 * 5)
    Job.objects.filter(name="reconcile").update(ended_at=ago(86400 * 4), held_until=ago(86400 * 4))
    assert asked()[0] == 200
    assert asked()[1]["late"] == ["reconcile"]


def test_a_shop_that_has_just_started_waits_for_its_worker(monkeypatch):
    Job.objects.exclude(name="watch").delete()
    unready(beat="down")
    monkeypatch.setattr(parts, "_began", time.monotonic())
    assert asked()[0] == 200


def test_without_its_broker_nothing_is_woken(monkeypatch):
    def away() -> int:
        raise queue.BrokerUnreachable

    monkeypatch.setattr(queue, "waiting", away)
    unready(broker="unreachable", worker="ok")


def test_a_broker_that_never_answers_costs_a_second(settings, monkeypatch):
    monkeypatch.undo()
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings.CELERY_BROKER_URL = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        began = time.monotonic()
        with pytest.raises(queue.BrokerUnreachable):
            queue.waiting()
        assert time.monotonic() - began < 10


def test_messages_in_the_folder_are_counted(settings, monkeypatch, tmp_path):
    monkeypatch.undo()
    settings.CELERY_BROKER_URL = "filesystem://"
    settings.CELERY_BROKER_TRANSPORT_OPTIONS = {"data_folder_in": str(tmp_path)}
    for name in ("1_a.celery.msg", "2_b.celery.msg", "3_c.celery.draft", "4_d.other.msg"):
        (tmp_path / name).touch()
    assert queue.waiting() == 2
    settings.CELERY_BROKER_TRANSPORT_OPTIONS = {"data_folder_in": str(tmp_path / "gone")}
    with pytest.raises(queue.BrokerUnreachable):
        queue.waiting()


def test_without_the_database_little_is_known(monkeypatch):
    monkeypatch.setattr(parts, "Jobs", lambda: (_ for _ in ()).throw(DatabaseError()))
    unready(database="unreachable", settler="unknown", watcher="unknown", worker="unknown", waiting=None)


def test_a_shop_of_cards_alone_needs_no_chain_but_its_worker(settings, shop):
    settings.CHAIN_RPC_URL = settings.PAY_TO = ""
    settings.STRIPE_SECRET_KEY = "sk_test_x"
    Job.objects.filter(name="watch").delete()
    status, said = asked()
    assert status == 200
    assert {said[name] for name in ("chain", "settler", "watcher")} == {said["gas"]["state"]} == {"not_configured"}
    assert shop == []
    Job.objects.update(ended_at=ago(31), held_until=ago(31))
    unready(beat="down")


def test_the_node_is_asked_once_a_second_however_often_that_is_wanted(shop, monkeypatch):
    clock = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    for _ in range(5):
        asked()
    assert shop == ["balance"]
    clock[0] += 1.1
    asked()
    assert shop == ["balance"] * 2


def test_while_one_thread_asks_the_others_get_the_last_answer():
    inside, answered = threading.Event(), threading.Event()

    def slow() -> str:
        inside.set()
        assert answered.wait(10)
        return "new"

    kept = Kept(slow, 1, "old")
    thread = threading.Thread(target=kept)
    thread.start()
    assert inside.wait(10)
    assert kept() == "old"
    answered.set()
    thread.join()
    assert kept() == "new"
