"""Saved cards: the processor's ids, and what people recognise a card by. No card number is ever stored."""

import logging
import uuid

from django.db import DatabaseError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from payments import purses
from payments.models import Card, Charge, Purse

from . import stripe_api
from .facts import CardFacts, NoAnswer, NotAsked, StripeRefused

log = logging.getLogger(__name__)


def keep(charge_id: uuid.UUID, stripe_card_id: str) -> None:
    """Save the card that paid a charge, for the next time. A failure is only logged: the charge has succeeded.

    Raises NotAsked, after which the next run does the same again.
    """
    if not stripe_card_id or Card.objects.filter(stripe_card_id=stripe_card_id).exists():
        return
    try:
        facts = stripe_api.card(stripe_card_id)
    except NotAsked:
        raise
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


def customer(card: Card) -> str:
    """The processor's customer who has this card; empty when the card is not there any more.

    Raises NoAnswer, or StripeRefused for any other reason: the card stays.
    """
    try:
        name = stripe_api.card(card.stripe_card_id).customer
    except StripeRefused as error:
        if not error.is_gone():
            raise
        log.warning("%s leads nowhere: %s", card.stripe_card_id, error)
        name = ""
    if not name:
        detached(card.stripe_card_id)
    return name


def changed(stripe_card_id: str) -> None:
    """A card changed at the processor, for example its expiry date: record that. Raises NoAnswer."""
    facts = stripe_api.card(stripe_card_id)
    Card.objects.filter(stripe_card_id=stripe_card_id).update(
        brand=facts.brand, last4=facts.last4, expires=facts.expires
    )


def detached(stripe_card_id: str) -> None:
    """A card was removed at the processor, by us or by hand: it cannot be charged, so its tab closes."""
    card = Card.objects.filter(stripe_card_id=stripe_card_id).first()
    if card:
        with transaction.atomic(durable=True):
            purses.locked(card.purse_id)
            remove(card)
            Card.objects.filter(id=card.id, forgotten_at=None).update(forgotten_at=timezone.now())


def remove(card: Card) -> None:
    """Remove a card here, which closes its tab, in the caller's database transaction. `forget` removes it there."""
    Purse.objects.filter(card=card).update(card=None, tab_limit_micros=0, tab_opened_at=None)
    Card.objects.filter(id=card.id, removed_at=None).update(removed_at=timezone.now())


def to_forget() -> QuerySet[Card]:
    """The cards that were removed here and may still be at the processor.

    In another order each time: one that can't be removed there must not keep the others waiting.
    """
    return Card.objects.filter(forgotten_at=None).exclude(removed_at=None).order_by("?")


def forget(card: Card) -> None:
    """Remove a removed card at the processor too. Idempotent. Raises NoAnswer: the sweeper tries again."""
    try:
        stripe_api.forget_card(card.stripe_card_id)
    except StripeRefused as error:
        log.warning("%s was not there to forget: %s", card.stripe_card_id, error)
    Card.objects.filter(id=card.id, forgotten_at=None).update(forgotten_at=timezone.now())
