"""The offer that a charge pays for, kept by value with the price that was quoted when the buyer agreed."""

from typing import Any

from payments.models import Charge
from payments.offers import Offer, Price


def by_value(offer: Offer | None) -> dict[str, Any] | None:
    """An offer as a charge's row keeps it."""
    if offer is None:
        return None
    price = offer.price
    return {
        "resource": offer.resource,
        "version": offer.version,
        "payee": offer.payee,
        "price": [price.id, price.audience, price.amount_micros],
        "url": offer.url,
        "title": offer.title,
        "mime_type": offer.mime_type,
    }


def offer_of(charge: Charge) -> Offer | None:
    """The offer that a charge was made for, with the price that was quoted then."""
    if not charge.wants:
        return None
    return Offer(**{**charge.wants, "price": Price(*charge.wants["price"])})
