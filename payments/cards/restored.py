"""Charges that this database does not know, because it was restored from an older backup.

The processor knows them: each intent carries the ids of our charge and of its purse. The money returns to the purse.
What was bought with it is forgotten, so the buyer can buy it again with the same money.
"""

import hmac
import logging
import uuid
from collections.abc import Iterable

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from payments.books import ledger
from payments.books.accounts import Kind
from payments.models import Charge, Purse
from payments.purses import CARD_FLOOR_MICROS

from . import stripe_api
from .facts import CENT, CURRENCY, Intent, Origin, StripeRefused

log = logging.getLogger(__name__)
_EMAIL_MAX = 254
# What another worker did first is seen in the second round.
_ROUNDS = 2


def origin(charge: Charge) -> Origin:
    """What the processor keeps with a charge's intent."""
    said = str(charge.id), str(charge.purse_id), str(charge.purpose)
    return Origin(*said, _mac(*said, key=settings.SECRET_KEY))


def _mac(*said: str, key: str) -> str:
    """That this shop said so, and not another one with the same account at the processor."""
    return salted_hmac("payments.cards.restored", "|".join(said), key, algorithm="sha256").hexdigest()


def unknown(intents: Iterable[Intent]) -> list[Intent]:
    """Those of these intents that were paid for a charge of ours that is not paid here."""
    paid = {ours.id: found for found in intents if (ours := _charge_named_by(found)) and found.status == "succeeded"}
    here = set(Charge.objects.filter(id__in=paid, state=Charge.State.SUCCEEDED).values_list("id", flat=True))
    return [found for charge_id, found in paid.items() if charge_id not in here]


def charge(found: Intent) -> Charge | None:
    """Make the row of a paid charge again, to which the intent can be applied. None when the intent is not ours.

    Raises NoAnswer when its purse is not here either and the processor cannot be asked about it.
    """
    ours = _charge_named_by(found)
    if ours is None or found.status != "succeeded" or is_in_suspense(found):
        return None
    for _ in range(_ROUNDS):
        if Charge.objects.filter(id=ours.id).exists():
            break
        purse = None if Purse.objects.filter(id=ours.purse_id).exists() else _purse(ours.purse_id, found.customer)
        try:
            with transaction.atomic(durable=True):
                if purse:
                    purse.save(force_insert=True)
                ours.save(force_insert=True)
        except IntegrityError:
            continue
        log.warning("%s was paid before a backup was restored: its purse has the money again", ours)
    return Charge.objects.filter(id=ours.id, intent=found.id).first()


def is_in_suspense(found: Intent) -> bool:
    """Whether reconciliation has booked an intent's money into suspense."""
    return bool(found.transaction) and ledger.posted(Kind.PROCESSOR_OTHER.key(found.transaction))


def _charge_named_by(found: Intent) -> Charge | None:
    """The charge that an intent was made for, by its metadata. Not saved."""
    try:
        charge_id, purse_id = uuid.UUID(found.charge_id), uuid.UUID(found.purse_id)
    except ValueError:
        return None
    micros = found.amount_cents * CENT
    if found.currency != CURRENCY or micros < CARD_FLOOR_MICROS:
        return None
    said = found.charge_id, found.purse_id, found.purpose
    keys = settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS
    if not any(hmac.compare_digest(found.mac.encode(), _mac(*said, key=key).encode()) for key in keys):
        return None
    return Charge(
        id=charge_id,
        purse_id=purse_id,
        purpose=found.purpose,
        amount_micros=micros,
        # Not a live state, of which a tab has one at most: success is recorded from any.
        state=Charge.State.CANCELED,
        intent=found.id,
        made_at=found.made_at or timezone.now(),
        decided_at=timezone.now(),
        receipt_sent_at=timezone.now(),  # Before the restore.
    )


def _purse(purse_id: uuid.UUID, customer: str) -> Purse:
    """The purse of a restored charge, made again as a guest's. Not saved.

    Never as an account's: the number of a forgotten account may belong to another person by now. The buyer claims a
    guest's purse with its email address.
    """
    try:
        email = stripe_api.email_of(customer) if customer else ""
    except StripeRefused:
        email = ""
    return Purse(
        id=purse_id, owner=f"guest:{purse_id}", email=email if len(email) <= _EMAIL_MAX else "", customer=customer
    )
