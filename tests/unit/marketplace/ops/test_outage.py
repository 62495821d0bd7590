"""A PostgreSQL that was restarted: the pool's dead connections cost one request, and no waiting."""

import threading
import time

import pytest
from django.db import connection
from django.test import Client

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


def keep(connections: int) -> None:
    """So many connections were in use at once, and now lie idle in the pool."""
    barrier = threading.Barrier(connections)

    def use() -> None:
        connection.ensure_connection()
        barrier.wait()
        connection.close()

    threads = [threading.Thread(target=use) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def hang_up_on_everybody() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid()"
        )
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
    connection.close()


@pytest.mark.parametrize("address", ["/?q=owls", "/readyz"])
def test_a_restarted_database_is_used_again_at_once_however_many_connections_were_kept(address: str):
    keep(12)
    hang_up_on_everybody()
    began = time.monotonic()
    failures = 0
    while not answers(address):
        failures += 1
    assert time.monotonic() - began < 5
    assert failures <= 1


def answers(address: str) -> bool:
    """Whether the database was there for one request."""
    answer = Client().get(address)
    connection.close()  # As at the end of every request.
    return answer.status_code == 200 or b'"database": "ok"' in answer.content
