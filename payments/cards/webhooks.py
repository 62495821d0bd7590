"""The inbox of the card processor's webhooks.

A webhook is only a hint: each is stored once by its event id and acknowledged, then the object it is about is fetched
from the processor. The order, repetition and loss of webhooks therefore do not matter.
"""

import json
import logging
from datetime import timedelta

from django.db.models import F
from django.utils import timezone

from payments.models import Charge, ProcessorEvent, Setup

from . import charges, checkout, disputes, refunds, saved_cards, stripe_api
from .facts import Declined, Event, Forged, NoAnswer, NotAsked, StripeRefused

__all__ = ["Forged", "apply_waiting", "receive", "store"]
log = logging.getLogger(__name__)
MAX_BYTES = 256_000
_AT_ONCE = 200
_FAILURES_MAX = 20


def receive(body: bytes, signature: str) -> bool:
    """Store a webhook; False when it is already stored. Raises Forged: unsigned, too old, or too long."""
    if len(body) > MAX_BYTES:
        raise Forged("too long")
    return store(stripe_api.read_event(body, signature))


def store(event: Event) -> bool:
    """Store an event once per id; False when it is already stored."""
    row = ProcessorEvent(id=event.id, type=event.type[:80], about=event.about[:100], body=event.body)
    before = ProcessorEvent.objects.filter(id=event.id).exists()
    if not before:
        ProcessorEvent.objects.bulk_create([row], ignore_conflicts=True)
    return not before


def apply_waiting() -> int:
    """Apply the events in the inbox, oldest first, with failed ones last. Returns how many were applied."""
    waiting = ProcessorEvent.objects.filter(applied_at=None, failures__lt=_FAILURES_MAX)
    waiting = waiting.order_by("failures", "received_at", "id")
    done = 0
    for event in waiting[:_AT_ONCE]:
        backing_off = event.received_at + timedelta(seconds=2**event.failures) if event.failures else None
        if backing_off and backing_off > timezone.now():
            continue
        done += _apply(event)
    return done


def _apply(event: ProcessorEvent) -> bool:
    row = ProcessorEvent.objects.filter(id=event.id)
    try:
        _look(event)
    except NotAsked:
        return False
    except (NoAnswer, Declined) as error:
        log.warning("%s is looked at later: %s", event, error)
        row.update(failures=F("failures") + 1)
        return False
    except StripeRefused as error:
        # The processor does not know the object (any more), so the event is about nothing of ours.
        log.warning("%s leads nowhere: %s", event, error)
    except Exception:
        # The other events must not wait behind a broken one, and a later event may fix the cause.
        log.exception("%s could not be applied", event)
        row.update(failures=F("failures") + 1)
        return False
    return bool(row.filter(applied_at=None).update(applied_at=timezone.now()))


def _look(event: ProcessorEvent) -> None:
    """Fetch and apply the object that an event is about, by the prefix of its id; the event's copy is never trusted."""
    about = event.about
    kind = about.split("_", 1)[0]
    if kind == "pi":
        charges.apply(stripe_api.intent(about))
    elif kind == "cs":
        _session(about)
    elif kind in ("ch", "py"):
        _intent_and_refunds(stripe_api.intent_of_charge(about))
    elif kind in ("re", "pyr"):
        made = stripe_api.refund_facts(about)
        _paid_first(made.intent)
        refunds.apply(made)
    elif kind in ("dp", "du"):
        opened = stripe_api.dispute(about)
        _paid_first(opened.intent)
        disputes.apply(opened)
    elif kind == "issfr":
        intent = stripe_api.intent_of_charge(_field(event, "charge"))
        _paid_first(intent)
        disputes.warned(intent)
    elif kind == "pm" and event.type == "payment_method.detached":
        saved_cards.detached(about)
    elif kind == "pm":
        saved_cards.changed(about)


def _paid_first(intent: str) -> None:
    """Record the payment first: a refund, dispute or warning about an unrecorded payment would be ignored."""
    if intent and not Charge.objects.filter(intent=intent, state=Charge.State.SUCCEEDED).exists():
        charges.apply(stripe_api.intent(intent))


def _session(about: str) -> None:
    if charge := Charge.objects.filter(session=about).first():
        charges.look(charge)
    elif setup := Setup.objects.filter(session=about).select_related("purse").first():
        checkout.apply_setup(setup, stripe_api.session(about))


def _intent_and_refunds(intent: str) -> None:
    if intent:
        charges.apply(stripe_api.intent(intent))
        refunds.look(intent)


def _field(event: ProcessorEvent, name: str) -> str:
    """The id of another object in the event's body. Untrusted: it is looked up, so a wrong id finds nothing."""
    found = json.loads(event.body).get("data", {}).get("object", {}).get(name) or ""
    return found if isinstance(found, str) else str(found.get("id", ""))
