"""The database is slow or does not answer: everybody is told "later", and nothing is lost or done twice."""

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from django.db import OperationalError, connection
from django.test import Client

from tests.shop import PATIENCE, Shop

from .purchase import Purchase
from .stage import Stage


def test_a_database_that_somebody_holds_for_three_seconds_makes_everybody_late_and_nothing_else(stage: Stage):
    purchases = stage.purchases(6)
    with ThreadPoolExecutor(6) as pool:
        with _held(stage.shop):
            under_way = [pool.submit(Purchase.finish, purchase) for purchase in purchases]
            time.sleep(3)
            assert not any(answer.done() for answer in under_way)
        for answer, purchase in zip(under_way, purchases, strict=True):
            answer.result()
            purchase.was_bought_once()


@pytest.mark.django_db
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_a_database_that_does_not_answer_is_a_503_and_not_a_500(accept: str):
    def gone(*_: object) -> None:
        raise OperationalError("the server closed the connection unexpectedly")

    browser = Client(raise_request_exception=False)
    with connection.execute_wrapper(gone):
        answer = browser.get("/articles/owls", headers={"Accept": accept, "PAYMENT-SIGNATURE": "e30="})
    assert (answer.status_code, answer["Retry-After"], answer["Cache-Control"]) == (503, "2", "no-store")
    assert answer["Content-Type"].startswith(accept)


def test_a_web_server_killed_before_the_claim_is_written_leaves_nothing(stage: Stage):
    purchase = stage.purchase()
    with _held(stage.shop), stage.death_of(stage.web) as kill, purchase.under_way() as answer:
        time.sleep(0.5)
        kill()
        assert isinstance(answer.exception(PATIENCE), Exception)
    assert purchase.payments() == []
    purchase.finish(web_dies=True)
    purchase.was_bought_once()


@contextmanager
def _held(shop: Shop) -> Iterator[None]:
    """Nobody else can write what a purchase writes."""
    url = shop.line["env"]["DATABASE_URL"]
    if url.startswith("sqlite"):
        file = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        file.execute("BEGIN IMMEDIATE")
        yield
        file.execute("ROLLBACK")
        file.close()
        return
    with psycopg.connect(shop.line["env"]["DATABASE_OWNER_URL"]) as other:
        other.execute("LOCK TABLE payments_payment IN EXCLUSIVE MODE")
        yield
