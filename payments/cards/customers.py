"""The processor's customer of each purse, created on first use.

The processor may not know a stored id: the customer was deleted, or the key is of another account by now. Then the
id is forgotten and the customer created again, once for each call.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

from payments.models import Purse

from . import stripe_api
from .facts import StripeRefused

log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


def customer(purse: Purse) -> str:
    """The processor's customer id for the buyer. Raises NoAnswer or StripeRefused."""
    if not purse.customer:
        name = stripe_api.create_customer(str(purse.id), purse.email)
        Purse.objects.filter(id=purse.id, customer="").update(customer=name)
        purse.refresh_from_db(fields=["customer"])
    return purse.customer


def forget(name: str) -> None:
    """Forget an id that the processor does not know."""
    log.warning("customer %s is not at the processor any more", name)
    Purse.objects.filter(customer=name).update(customer="")


def with_customer(purse: Purse, call: Callable[[str], _Answer]) -> _Answer:
    """Make a call with the buyer's customer id; a call under an idempotency key has that id in the key.

    Raises what the call raises.
    """
    name = customer(purse)
    try:
        return call(name)
    except StripeRefused as error:
        if not error.is_gone("customer"):
            raise
    forget(name)
    purse.refresh_from_db(fields=["customer"])
    return call(customer(purse))
