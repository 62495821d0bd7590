"""Charges that this database does not know, because it was restored from an older backup.

The processor knows them: each intent carries the ids of our charge and of its purse. The money returns to the purse.
What was bought with it is forgotten, so the buyer can buy it again with the same money.
"""

import logging
import uuid
from collections.abc import Iterable

from django.db import IntegrityError, transaction
from django.utils import timezone

from payments.books import ledger
from payments.books.accounts import Kind
from payments.models import Charge, Purse
from payments.purses import CARD_FLOOR_MICROS

from . import stripe_api
from .facts import CURRENCY, Intent, StripeRefused

log = logging.getLogger(__name__)
_CENT = 10_000


def unknown(intents: Iterable[Intent]) -> list[Intent]:
    """Those of these intents that were paid for a charge of ours that is not paid here."""
    paid = {ours.id: found for found in intents if (ours := _origin(found)) and found.status == "succeeded"}
    here = set(Charge.objects.filter(id__in=paid, state=Charge.State.SUCCEEDED).values_list("id", flat=True))
    return [found for charge_id, found in paid.items() if charge_id not in here]


def charge(found: Intent) -> Charge | None:
    """Make the row of a paid charge again, to which the intent can be applied. None when the intent is not ours.

    Raises NoAnswer when its purse is not here either and the processor cannot be asked about it.
    """
    ours = _origin(found)
    if ours is None or found.status != "succeeded" or Charge.objects.filter(id=ours.id).exists():
        return None
    if found.transaction and ledger.posted(Kind.PROCESSOR_OTHER.key(found.transaction)):
        return None  # Reconciliation has booked it into suspense.
    purse = None if Purse.objects.filter(id=ours.purse_id).exists() else _purse(ours.purse_id, found.customer)
    try:
        with transaction.atomic(durable=True):
            if purse:
                purse.save(force_insert=True)
            made = Charge.objects.create(
                id=ours.id,
                purse_id=ours.purse_id,
                purpose=ours.purpose,
                amount_micros=ours.amount_micros,
                # Not a live state, of which a tab has one at most: success is recorded from any.
                state=Charge.State.CANCELED,
                intent=found.id,
                decided_at=timezone.now(),
            )
    except IntegrityError:
        return None  # Another worker was first, and applies it.
    log.warning("%s was paid before a backup was restored: its purse has the money again", made)
    return made


def _origin(found: Intent) -> Charge | None:
    """The charge that an intent was made for, by its metadata. Not saved."""
    try:
        charge_id, purse_id = uuid.UUID(found.charge_id), uuid.UUID(found.purse_id)
    except ValueError:
        return None
    micros = found.amount_cents * _CENT
    if found.purpose not in Charge.Purpose.values or found.currency != CURRENCY or micros < CARD_FLOOR_MICROS:
        return None
    return Charge(id=charge_id, purse_id=purse_id, purpose=found.purpose, amount_micros=micros)


def _purse(purse_id: uuid.UUID, customer: str) -> Purse:
    """The purse of a restored charge, made again as a guest's. Not saved.

    Never as an account's: the number of a forgotten account may belong to another person by now. The buyer claims a
    guest's purse with its email address.
    """
    try:
        email = stripe_api.email_of(customer) if customer else ""
    except StripeRefused:
        email = ""
    return Purse(id=purse_id, owner=f"guest:{purse_id}", email=email, customer=customer)
