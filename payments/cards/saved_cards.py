"""Saved cards: the processor's ids, and what people recognise a card by. No card number is ever stored."""

import logging
import uuid

from django.db import DatabaseError, transaction
from django.utils import timezone

from payments import purses
from payments.models import Card, Charge, Purse

from . import stripe_api
from .facts import CardFacts, NoAnswer, StripeRefused

log = logging.getLogger(__name__)


def keep(charge_id: uuid.UUID, stripe_card_id: str) -> None:
    """Save the card that paid a charge, for the next time. A failure is only logged: the charge has succeeded."""
    if not stripe_card_id or Card.objects.filter(stripe_card_id=stripe_card_id).exists():
        return
    try:
        facts = stripe_api.card(stripe_card_id)
    except (NoAnswer, StripeRefused) as error:
        log.warning("the card of charge %s could not be kept: %s", charge_id, error)
        return
    except Exception:  # For example, a payment method that is not a card.
        log.exception("the card of charge %s could not be kept", charge_id)
        return
    try:
        with transaction.atomic(durable=True):
            purse = purses.locked(Charge.objects.values_list("purse_id", flat=True).get(id=charge_id))
            card = add(purse, facts)
            Purse.objects.filter(id=purse.id, card=None).update(card=card)
    except DatabaseError:
        log.exception("the card of charge %s could not be kept", charge_id)


def add(purse: Purse, facts: CardFacts) -> Card:
    """The card's row, created for this purse when there is none, in the caller's database transaction."""
    shown = {"brand": facts.brand, "last4": facts.last4, "expires": facts.expires}
    card, _ = Card.objects.get_or_create(stripe_card_id=facts.stripe_card_id, defaults={"purse": purse, **shown})
    return card


def changed(stripe_card_id: str) -> None:
    """A card changed at the processor, for example its expiry date: record that. Raises NoAnswer."""
    facts = stripe_api.card(stripe_card_id)
    Card.objects.filter(stripe_card_id=stripe_card_id).update(
        brand=facts.brand, last4=facts.last4, expires=facts.expires
    )


def detached(stripe_card_id: str) -> None:
    """A card was removed at the processor, by us or by hand: it cannot be charged, so its tab closes."""
    card = Card.objects.filter(stripe_card_id=stripe_card_id, removed_at=None).first()
    if card:
        with transaction.atomic(durable=True):
            Purse.objects.filter(card=card).update(card=None, tab_limit_micros=0, tab_opened_at=None)
            Card.objects.filter(id=card.id).update(removed_at=timezone.now())
