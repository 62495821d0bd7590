"""Saved cards: the processor's names for them, with what a person recognises them by. No card number is ever here."""

import logging
import uuid

from django.db import transaction
from django.utils import timezone

from payments import purses
from payments.models import Card, Charge, Purse

from . import stripe_api
from .facts import CardFacts, NoAnswer, StripeRefused

log = logging.getLogger(__name__)


def keep(charge_id: uuid.UUID, reference: str) -> None:
    """Remember the card that paid a charge, for the next time. Of no consequence when it cannot be had now."""
    if not reference or Card.objects.filter(reference=reference).exists():
        return
    try:
        facts = stripe_api.card(reference)
    except (NoAnswer, StripeRefused) as error:
        log.warning("the card of charge %s could not be kept: %s", charge_id, error)
        return
    except Exception:  # Such as a payment method that is no card at all.
        log.exception("the card of charge %s could not be kept", charge_id)
        return
    with transaction.atomic(durable=True):
        purse = purses.locked(Charge.objects.values_list("purse_id", flat=True).get(id=charge_id))
        card = add(purse, facts)
        Purse.objects.filter(id=purse.id, card=None).update(card=card)


def add(purse: Purse, facts: CardFacts) -> Card:
    """The card's row, made for this purse when there is none; in the caller's transaction."""
    shown = {"brand": facts.brand, "last4": facts.last4, "expires": facts.expires}
    card, _ = Card.objects.get_or_create(reference=facts.reference, defaults={"purse": purse, **shown})
    return card


def changed(reference: str) -> None:
    """The processor says that a card has changed, such as its expiry date. Raises NoAnswer."""
    facts = stripe_api.card(reference)
    Card.objects.filter(reference=reference).update(brand=facts.brand, last4=facts.last4, expires=facts.expires)


def detached(reference: str) -> None:
    """Removed at the processor, by us or by hand: it cannot be charged, so there is no tab on it."""
    card = Card.objects.filter(reference=reference, removed_at=None).first()
    if card:
        with transaction.atomic(durable=True):
            Purse.objects.filter(card=card).update(card=None, tab_limit_micros=0, tab_opened_at=None)
            Card.objects.filter(id=card.id).update(removed_at=timezone.now())
