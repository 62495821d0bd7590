"""The currency in which the processor's account settles: it must be the one of our books.

An account that settles in another currency books its fees and payouts in that one, and the books could never be
compared with it.
"""

import logging

from django.core.exceptions import ImproperlyConfigured

from . import enabled, stripe_api
from .facts import CURRENCY, NoAnswer, StripeRefused

log = logging.getLogger(__name__)


def refuse_another() -> None:
    """Raises ImproperlyConfigured when the account holds no dollars. Without an answer nothing is refused."""
    if not enabled():
        return
    try:
        held = stripe_api.holds_cents()
    except (NoAnswer, StripeRefused) as error:
        log.warning("cannot ask in which currency the card processor's account settles: %s", error)
        return
    if held is None:
        raise ImproperlyConfigured(f"The Stripe account must settle in {CURRENCY}: it has no balance in that currency.")
