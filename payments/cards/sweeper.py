"""The sweeper: looks up and finishes everything unfinished about cards, without any webhook. Idempotent."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

from django.db.models import F
from django.utils import timezone

from payments import jobs
from payments.models import Card, CardRefund, Charge, Setup

from . import charges, refunds, saved_cards, stripe_api, tabs, webhooks
from .checkout import setup_returned
from .facts import Declined, NoAnswer, StripeRefused

log = logging.getLogger(__name__)
_AT_ONCE = 200
_LATEST_LOOK = timedelta(hours=1)


def sweep() -> None:
    """One round: unfinished charges, paid ones without a balance transaction, refunds, card pages, removed cards.

    One of each in turn, the one that was looked at longest ago first: a round that ends early keeps none waiting twice.
    """
    now = timezone.now()
    charges_due = Charge.objects.filter(look_at__lte=now).select_related("purse", "card").order_by("look_at")
    pages = Setup.objects.filter(state="open", look_at__lte=now).order_by("look_at")
    oldest = F("look_at").asc(nulls_first=True)
    kinds: tuple[tuple[Callable[[Any], object], Any], ...] = (
        (_finish, charges_due.filter(state__in=Charge.LIVE)),
        (charges.look, charges_due.filter(state=Charge.State.SUCCEEDED, available_at=None)),
        (refunds.drive, refunds.unanswered().order_by(oldest, "made_at")),
        (lambda page: setup_returned(page.id), pages),
        (saved_cards.forget, saved_cards.to_forget()),
    )
    for turn in zip_longest(*([(act, row) for row in rows[:_AT_ONCE]] for act, rows in kinds)):
        for act, row in jobs.in_time(filter(None, turn)):
            _next_look(row, now)
            _quietly(act, row)


def _next_look(row: Charge | Setup | CardRefund | Card, now: datetime) -> None:
    """Schedule the next look. Of charges and pages the interval grows with their age, from two minutes to an hour."""
    if isinstance(row, CardRefund):
        CardRefund.objects.filter(id=row.id).update(look_at=now)
    elif not isinstance(row, Card):
        age = min(max(now - row.made_at, charges.FIRST_LOOK), _LATEST_LOOK)
        type(row).objects.filter(id=row.id).update(look_at=now + age)


def _finish(charge: Charge) -> None:
    """Look up what became of a charge, then drive a tab's charge, which only we can move."""
    if charge.state == Charge.State.NEW and charge.purpose != Charge.Purpose.TAB:
        # The buyer never got the page's address and cannot pay on it.
        gone = {"state": Charge.State.CANCELED, "reason": "no_page", "decided_at": timezone.now()}
        charges.step(charge, (Charge.State.NEW,), **gone)
        return
    if charge.purpose == Charge.Purpose.TAB and tabs.is_paid_otherwise(charge):
        return
    charges.look(charge)
    if charge.purpose == Charge.Purpose.TAB:
        charges.drive(charge)


def fetch_undelivered() -> None:
    """Put events of the last three days that the processor could not deliver into the inbox. Raises NoAnswer."""
    for event in stripe_api.undelivered_since(timezone.now() - timedelta(days=3)):
        webhooks.store(event)


def _quietly(act: Callable[[Any], object], what: object) -> None:
    """Log an error instead of raising it: one row that cannot be looked up must not keep the others waiting."""
    try:
        act(what)
    except (NoAnswer, StripeRefused, Declined) as error:
        log.warning("%s: %s", what, error)
    except Exception:
        log.exception("%s could not be finished", what)
