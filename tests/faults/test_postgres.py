"""PostgreSQL cuts everybody off, or is killed: nothing acknowledged is lost, nothing is done twice. Not for SQLite."""

import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from dev import services
from dev.children import Child, Children
from tests.shop import PATIENCE, Shop

from .conftest import IMPATIENT
from .stage import Stage, open_stage


def test_connections_that_are_cut_in_the_middle_of_everything_lose_no_payment(stage: Stage):
    purchases = stage.purchases(10)
    stop = threading.Event()
    cutter = threading.Thread(target=_cut_again_and_again, args=(stage.shop, stop))
    cutter.start()
    with ThreadPoolExecutor(5) as pool:
        under_way = [pool.submit(purchase.finish) for purchase in purchases]
        time.sleep(3)
        stop.set()
        for answer in under_way:
            answer.result()
    cutter.join()
    for purchase in purchases:
        purchase.finish()
        purchase.was_bought_once()


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Stage, Child]]:
    """A shop on a PostgreSQL of its own, which keeps what it has acknowledged."""
    children = Children()
    with tempfile.TemporaryDirectory(prefix="pennypress-fragile-", ignore_cleanup_errors=True) as folder:
        try:
            url = services.postgres(children, Path(folder))
            with psycopg.connect(url, autocommit=True) as owner:
                owner.execute("ALTER ROLE ALL SET synchronous_commit = on")
            monkeypatch.setenv("DATABASE_URL", url)
            with open_stage("fragile", **IMPATIENT) as stage:
                yield stage, children.all[0]
        finally:
            children.stop()


def test_a_database_killed_under_load_loses_nothing_that_was_acknowledged(fragile: tuple[Stage, Child]):
    stage, server = fragile
    purchases = stage.purchases(12)
    with ThreadPoolExecutor(6) as pool:
        under_way = [pool.submit(purchase.finish) for purchase in purchases]
        time.sleep(0.3)
        server.signal(signal.SIGKILL)
        stage.shop.wait(lambda: server.ended() is not None, "the end of PostgreSQL")
        time.sleep(1)
        server.start()
        back = time.monotonic()
        stage.ready()
        for answer in under_way:
            answer.result()
    assert time.monotonic() - back < PATIENCE / 2
    for purchase in purchases:
        purchase.finish()
        purchase.was_bought_once()
    stage.shop.audit()


def _cut_again_and_again(shop: Shop, stop: threading.Event) -> None:
    role = shop.line["env"]["DATABASE_URL"].split("://")[1].split(":")[0]
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as owner:
        while not stop.wait(0.2):
            cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"
            owner.execute(cut, [role])
