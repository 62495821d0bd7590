"""What the page needs on which a cardholder's bank authenticates a charge."""

from payments.models import Charge

from . import stripe_api


def needed_for(charge: Charge) -> dict[str, str]:
    """What the page needs to let the bank authenticate the cardholder. Raises NoAnswer."""
    found = stripe_api.intent(charge.intent)
    return {
        "client_secret": found.client_secret,
        "payment_method": charge.card.stripe_card_id if charge.card else "",
        "status": found.status,
    }
