"""The sweeper: looks up and finishes everything unfinished about cards, without any webhook. Idempotent."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from django.utils import timezone

from payments.models import Charge, Setup

from . import charges, refunds, saved_cards, stripe_api, tabs, webhooks
from .checkout import setup_returned
from .facts import Declined, NoAnswer, StripeRefused

log = logging.getLogger(__name__)
_Row = TypeVar("_Row")
_AT_ONCE = 200
_LATEST_LOOK = timedelta(hours=1)


def sweep() -> None:
    """One round: unfinished charges, paid ones without a balance transaction, removed cards, refunds, card pages."""
    now = timezone.now()
    live = Charge.objects.filter(state__in=Charge.LIVE, look_at__lte=now).select_related("purse", "card")
    for charge in live.order_by("look_at")[:_AT_ONCE]:
        _next_look(charge, now)
        _quietly(_finish, charge)
    paid = Charge.objects.filter(state=Charge.State.SUCCEEDED)
    for charge in paid.filter(available_at=None, look_at__lte=now)[:_AT_ONCE]:
        _next_look(charge, now)
        _quietly(charges.look, charge)
    for card in saved_cards.to_forget()[:_AT_ONCE]:
        _quietly(saved_cards.forget, card)
    for refund in refunds.unanswered()[:_AT_ONCE]:
        _quietly(refunds.drive, refund)
    for setup in Setup.objects.filter(state="open", look_at__lte=now).order_by("look_at")[:_AT_ONCE]:
        _next_look(setup, now)
        _quietly(lambda one: setup_returned(one.id), setup)


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


def _next_look(unfinished: Charge | Setup, now: datetime) -> None:
    """Schedule the next look. The interval grows with the age of the row, from two minutes to an hour."""
    age = min(max(now - unfinished.made_at, charges.FIRST_LOOK), _LATEST_LOOK)
    type(unfinished).objects.filter(id=unfinished.id).update(look_at=now + age)


def _quietly(act: Callable[[_Row], object], what: _Row) -> None:
    """Log an error instead of raising it: one row that cannot be looked up must not keep the others waiting."""
    try:
        act(what)
    except (NoAnswer, StripeRefused, Declined) as error:
        log.warning("%s: %s", what, error)
    except Exception:
        log.exception("%s could not be finished", what)
