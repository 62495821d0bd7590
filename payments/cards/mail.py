"""Mail about card payments: to buyers of a decline, a required authentication, a failure; to staff of a dispute."""

from datetime import datetime

from django.conf import settings
from django.core import signing
from django.utils.formats import date_format

from payments import mailing
from payments.models import Charge, Dispute, Purse
from payments.money import dollars

_SALT = "payments.authenticate"
_LINK_SECONDS = 8 * 86400


def link(charge: Charge) -> str:
    """The link that lets its bearer finish the authentication of this one charge, for eight days."""
    token = signing.dumps(str(charge.id), salt=_SALT)
    return f"{settings.BASE_URL}/purse/authenticate/{charge.id}?token={token}"


def opens(token: str) -> str:
    """The id of the charge that a link's token is for; empty when the token is forged or expired."""
    try:
        return str(signing.loads(token, salt=_SALT, max_age=_LINK_SECONDS))
    except signing.BadSignature:
        return ""


def authenticate(charge: Charge) -> None:
    """The bank requires the cardholder to confirm the charge."""
    _send(
        charge.purse,
        f"Confirm your {_usd(charge)} payment",
        f"Your bank needs to confirm this {_usd(charge)} payment for your tab. You have not been charged.\n\n"
        f"Confirm the payment:\n{link(charge)}\n\n"
        "You can't buy anything else on your tab until you confirm it. We stop asking after seven days.",
    )


def declined(charge: Charge, retry_at: datetime) -> None:
    """The card was declined, and the charge is retried at `retry_at`."""
    _send(
        charge.purse,
        "Your card was declined",
        f"We could not charge {_usd(charge)} to your card for your tab. You have not been charged.\n\n"
        f"We will try again on {date_format(retry_at, 'j F Y')}. To use another card or pay now, open your balance:\n"
        f"{settings.BASE_URL}/purse",
    )


def failed(charge: Charge) -> None:
    """The charge failed and is not retried."""
    _send(
        charge.purse,
        "We could not charge your tab",
        f"We could not charge {_usd(charge)} to your card for your tab, and we won't try again. You have not been "
        "charged.\n\nTo keep buying on your tab, save another card or pay now:\n"
        f"{settings.BASE_URL}/purse",
    )


def page_failed(charge: Charge) -> None:
    """A payment on a hosted page failed after the buyer had left it."""
    _send(
        charge.purse,
        "Your payment failed",
        f"Your bank did not pay {_usd(charge)}. You have not been charged, and nothing was added to your balance.\n\n"
        f"To try again, or to pay in another way, open your balance:\n{settings.BASE_URL}/purse",
    )


def gone(charge: Charge) -> None:
    """The card processor no longer knows a charge, so the shop cannot tell whether it was paid."""
    _send(
        charge.purse,
        "We could not find out about your payment",
        f"Our card processor has no record of your {_usd(charge)} payment, so we can't tell whether your card was "
        "charged. We won't charge it again by ourselves.\n\nPlease look at your card statement before you pay again:\n"
        f"{settings.BASE_URL}/purse",
    )


def no_card_saved(purse: Purse) -> None:
    """A page that saves a card ended without a card that can be charged."""
    _send(
        purse,
        "No card was saved",
        "We could not save your payment method, because it is not a card. You have not been charged.\n\n"
        f"To save a card, open your balance:\n{settings.BASE_URL}/purse",
    )


def _usd(charge: Charge) -> str:
    return dollars(charge.amount_micros)


def disputed(dispute: Dispute) -> None:
    """Tells staff that a bank asks for money back."""
    amount = dollars(dispute.amount_micros)
    mailing.send(
        settings.STAFF_EMAILS,
        f"Dispute over {amount}",
        f"A cardholder's bank asks for {amount} back: {dispute.id}, {dispute.reason or 'no reason given'}, "
        f"{dispute.status}.\n\nThe buyer's balance is frozen while the dispute is open, unless it is an inquiry. "
        "Answer it in the Stripe dashboard. The payment here:\n"
        f"{settings.BASE_URL}/admin/payments/charge/{dispute.charge_id}/change/",
    )


def warned(charge: Charge) -> None:
    """Tells staff that a card's bank warns of fraud."""
    mailing.send(
        settings.STAFF_EMAILS,
        f"Fraud warning about {_usd(charge)}",
        f"A card's bank warns that a payment of {_usd(charge)} may be fraud. What was unspent is refunded, and the "
        f"buyer's balance is frozen.\n{settings.BASE_URL}/admin/payments/charge/{charge.id}/change/",
    )


def _send(purse: Purse, subject: str, text: str) -> None:
    mailing.send([purse.email] if purse.email else [], subject, text)
