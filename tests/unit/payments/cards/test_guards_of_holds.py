"""Each guard of the hold on what a card has paid, and of the inbox, alone."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from payments.cards import holds, stripe_api, webhooks
from payments.cards.facts import CardFacts, Event
from payments.models import Charge, ProcessorEvent, Purse
from tests import buyers

from .rows import FLAGS

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nobody_is_asked")]


@pytest.mark.parametrize("flag", FLAGS)
def test_a_hold_ends_only_if_the_purse_allows_it_at_that_moment(flag: str):
    """A dispute may have come since the purses were chosen."""
    purse = buyers.purse(1_000_000)
    buyers.press(purse, buyers.offer())
    Charge.objects.update(available_at=timezone.now())
    Purse.objects.update(flag=flag)
    later = timezone.now() + timedelta(days=30)
    assert holds._clear_purse(purse.id, later, later) == (flag in ("", "past_due", "chargeback"))


@pytest.mark.parametrize(
    "change",
    [{"available_at": None}, {"available_at": timezone.now() + timedelta(days=99)}, {"refunded_micros": 960_000}],
)
@pytest.mark.planted
def test_a_sale_is_cleared_by_money_that_is_there_and_stays(change: dict[str, Any]):
    purse = buyers.purse(1_000_000)
    buyers.press(purse, buyers.offer())
    Charge.objects.update(available_at=timezone.now())
    Charge.objects.update(**change)
    assert holds.clear(timezone.now() + timedelta(days=30)) == 0


def test_what_is_cleared_is_not_cleared_by_the_same_money_again():
    purse = buyers.purse(1_000_000, tab=1_000_000)
    Charge.objects.update(available_at=timezone.now())
    buyers.press(purse, buyers.offer(1, 600_000))
    later = timezone.now() + timedelta(days=30)
    assert holds.clear(later) == 1
    buyers.press(purse, buyers.offer(2, 600_000))
    assert holds.clear(later) == 0


def test_an_event_is_applied_once_and_its_moment_stands(monkeypatch: pytest.MonkeyPatch):
    looked: list[str] = []
    monkeypatch.setattr(stripe_api, "card", lambda about: looked.append(about) or CardFacts(about, "visa", "1", "1/30"))
    event = Event("evt_1", "payment_method.updated", "pm_1", "{}")
    assert webhooks.store(event)
    assert not webhooks.store(event)
    stale = ProcessorEvent.objects.get()
    assert webhooks.apply_waiting() == 1
    assert webhooks.apply_waiting() == 0
    assert looked == ["pm_1"]
    first = timezone.now() - timedelta(days=1)
    ProcessorEvent.objects.update(applied_at=first)
    assert not webhooks._apply(stale)
    assert ProcessorEvent.objects.get().applied_at == first
