"""Mail about a tab: a decline, a required authentication, the end of retries. Sent after the commit, never before.

A message that cannot be sent is only logged: the balance page says the same.
"""

import logging
from datetime import datetime
from smtplib import SMTPException

from django.conf import settings
from django.core import signing
from django.core.mail import send_mail
from django.utils.formats import date_format

from payments.models import Charge
from payments.money import dollars

log = logging.getLogger(__name__)
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
        charge,
        f"Confirm your {_usd(charge)} payment",
        f"Your bank needs to confirm this {_usd(charge)} payment for your tab. You have not been charged.\n\n"
        f"Confirm the payment:\n{link(charge)}\n\n"
        "You can't buy anything else on your tab until you confirm it. We stop asking after seven days.",
    )


def declined(charge: Charge, retry_at: datetime) -> None:
    """The card was declined, and the charge is retried at `retry_at`."""
    _send(
        charge,
        "Your card was declined",
        f"We could not charge {_usd(charge)} to your card for your tab. You have not been charged.\n\n"
        f"We will try again on {date_format(retry_at, 'j F Y')}. To use another card or pay now, open your balance:\n"
        f"{settings.BASE_URL}/purse",
    )


def failed(charge: Charge) -> None:
    """The charge failed and is not retried."""
    _send(
        charge,
        "We could not charge your tab",
        f"We could not charge {_usd(charge)} to your card for your tab, and we won't try again. You have not been "
        "charged.\n\nTo keep buying on your tab, save another card or pay now:\n"
        f"{settings.BASE_URL}/purse",
    )


def _usd(charge: Charge) -> str:
    return dollars(charge.amount_micros)


def _send(charge: Charge, subject: str, text: str) -> None:
    if not charge.purse.email:
        return
    try:
        send_mail(subject, f"{text}\n\n{settings.SITE_NAME}\n", settings.DEFAULT_FROM_EMAIL, [charge.purse.email])
    except (OSError, SMTPException):
        log.exception("mail about %s was not sent", charge)
