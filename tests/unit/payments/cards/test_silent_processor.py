"""A card processor that accepts connections and never answers: no job waits for it for long, and no runs pile up."""

import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from payments import tasks
from payments.cards import sweeper
from payments.models import CardRefund, Charge, Job, ProcessorEvent, Setup
from tests import buyers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]
TIMEOUT_SECONDS = 0.1


@pytest.fixture
def silent(settings: Any) -> Iterator[list[socket.socket]]:
    """The connections to a processor that never says a word."""
    server, taken = socket.create_server(("127.0.0.1", 0)), []

    def accept() -> None:
        while True:
            try:
                taken.append(server.accept()[0])
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    settings.STRIPE_API_BASE = f"http://127.0.0.1:{server.getsockname()[1]}"
    settings.STRIPE_TIMEOUT_SECONDS = TIMEOUT_SECONDS
    yield taken
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    for connection in taken:
        connection.close()


def open_charges(number: int) -> None:
    purse = buyers.purse()
    due = timezone.now() - timedelta(minutes=1)
    for each in range(number):
        Charge.objects.create(
            purse=purse, purpose="topup", amount_micros=5_000_000, state="created", session=f"cs_{each}", look_at=due
        )


def test_sixty_open_charges_cost_three_timeouts_and_later_runs_none(silent):
    open_charges(60)
    tasks.sweep_cards()
    assert len(silent) == 3
    began = time.monotonic()
    for _ in range(5):
        tasks.sweep_cards()
    assert time.monotonic() - began < 5 * TIMEOUT_SECONDS * 5
    assert len(silent) == 3
    assert Job.objects.get().result == "paused"


@pytest.mark.planted
def test_what_needs_no_call_goes_on_while_the_processor_is_left_alone(silent):
    open_charges(3)
    tasks.sweep_cards()
    purse = buyers.purse()
    paid = {"state": "succeeded", "decided_at": timezone.now(), "fulfilled_at": None}
    charge = Charge.objects.create(purse=purse, purpose="topup", amount_micros=5_000_000, **paid)
    waiting = ProcessorEvent.objects.create(id="evt_1", type="charge.updated", about="pi_1", body="{}")
    free = ProcessorEvent.objects.create(id="evt_2", type="payment_method.detached", about="pm_1", body="{}")
    tasks.sweep_cards()
    for one in (charge, waiting, free):
        one.refresh_from_db()
    assert charge.fulfilled_at
    assert free.applied_at
    assert (waiting.applied_at, waiting.failures) == (None, 0)


@pytest.mark.planted
def test_a_round_that_ends_early_has_looked_at_something_of_each_kind(monkeypatch):
    open_charges(3)
    purse = buyers.purse()
    ends_after = [4]
    before = timezone.now() - timedelta(hours=1)
    paid = Charge.objects.create(
        purse=purse, purpose="topup", amount_micros=5_000_000, state="succeeded", intent="pi_1", look_at=before
    )
    for each in (1, 2):
        CardRefund.objects.create(charge=paid, amount_micros=each, made_at=before)
    Setup.objects.create(purse=purse, session="cs_setup", state="open", look_at=before)
    looked: list[str] = []
    monkeypatch.setattr(sweeper, "_quietly", lambda act, row: looked.append(f"{row._meta.model_name} {row.pk}"))
    monkeypatch.setattr(sweeper.jobs, "goes_on", lambda: len(looked) < ends_after[0])
    sweeper.sweep()
    ends_after[0] = 6
    sweeper.sweep()
    kinds = [one.split()[0] for one in looked]
    assert kinds[:4] == ["charge", "charge", "cardrefund", "setup"]
    assert kinds[4:] == ["charge", "cardrefund"]
    assert len(set(looked)) == 6
