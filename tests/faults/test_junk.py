"""A crowd that signs with fresh keys and has no money, and an honest buyer in the middle of it.

PENNYPRESS_JUNK_SECONDS=3600 dev.py test tests/faults/test_junk.py -m slow -s
"""

import os
import statistics
import threading
import time
from collections import Counter

import httpx
import pytest

from tests.wallet import Wallet

from .stage import Stage

pytestmark = pytest.mark.slow
SECONDS = int(os.environ.get("PENNYPRESS_JUNK_SECONDS", "120"))
A_SECOND, THREADS = 50, 25


class Crowd:
    """So many payments a second from many addresses, each by a new key. It does not wait for the answers."""

    def __init__(self, stage: Stage) -> None:
        self.url = stage.shop.article(0)["json_url"]
        self.terms = stage.shop.terms(self.url)
        self.answers: Counter[str] = Counter()
        self.stopping = threading.Event()
        self.seconds = 0.0
        self.threads = [threading.Thread(target=self._press, args=(n,), daemon=True) for n in range(THREADS)]

    def __enter__(self) -> "Crowd":
        for thread in self.threads:
            thread.start()
        self.seconds = -time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.seconds += time.monotonic()
        for thread in self.threads:
            thread.join()

    def _press(self, number: int) -> None:
        with httpx.Client(transport=httpx.HTTPTransport(local_address=f"127.0.1.{number + 1}")) as client:
            while not self.stopping.is_set():
                began = time.monotonic()
                headers = {"PAYMENT-SIGNATURE": Wallet().pay(self.terms), "Connection": "close"}
                try:
                    answer = client.get(self.url, headers=headers, timeout=0.3)
                    self.answers[str(answer.status_code)] += 1
                except httpx.TransportError:
                    self.answers["hung up"] += 1
                time.sleep(max(0.0, THREADS / A_SECOND - (time.monotonic() - began)))


def test_a_crowd_without_money_stops_nobody_and_leaves_nothing(timed_stage: Stage):
    cluster, timed_stage.node.cluster = timed_stage.node.cluster, None
    quiet = [timed_stage.purchase().finish() for _ in range(8)]
    time.sleep(5)
    idle = _calls_a_second(timed_stage, 20)
    payments, size = _payments(timed_stage), _megabytes(timed_stage)
    took: list[float] = []

    def buy_until(ends: float) -> None:
        while time.monotonic() < ends:
            took.append(timed_stage.purchase().finish())
            time.sleep(max(2.0, SECONDS / 200))

    with Crowd(timed_stage) as crowd:
        time.sleep(5)
        timed_stage.node.counts.clear()
        buy_until(time.monotonic() + SECONDS)
        calls = timed_stage.node.counts.total() / SECONDS
    timed_stage.node.cluster = cluster
    left = _payments(timed_stage) - payments - len(took)
    print(
        f"\n{dict(crowd.answers)}, {crowd.answers.total() / crowd.seconds:.0f} a second for {SECONDS} s\n"
        f"a purchase takes {statistics.median(quiet):.2f} s alone and {statistics.median(took):.2f} s in the crowd "
        f"(slowest {max(took):.2f} of {len(took)})\ncalls a second: {idle:.1f} idle, {calls:.1f} in the crowd\n"
        f"payments of the crowd: {left}; the database grew by {_megabytes(timed_stage) - size:.1f} MB"
    )
    assert crowd.answers.total() / crowd.seconds > 0.8 * A_SECOND
    assert left == 0
    assert statistics.median(took) <= 2 * statistics.median(quiet)
    assert calls - idle - 10 * len(took) / SECONDS <= 5


def _calls_a_second(stage: Stage, seconds: int) -> float:
    stage.node.counts.clear()
    time.sleep(seconds)
    return stage.node.counts.total() / seconds


def _payments(stage: Stage) -> int:
    return int(stage.shop.sql("SELECT count(*) FROM payments_payment")[0][0])


def _megabytes(stage: Stage) -> float:
    size = "SELECT pg_database_size(current_database())"
    if stage.shop.line["env"]["DATABASE_URL"].startswith("sqlite"):
        size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    return float(stage.shop.sql(size)[0][0]) / 1e6
