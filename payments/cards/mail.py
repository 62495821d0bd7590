"""Letters about a tab: it was declined, the bank wants to ask, it was given up. Sent after the commit, never before.

A letter that cannot be sent is logged: the purse's page says the same.
"""

import logging
from datetime import datetime
from smtplib import SMTPException

from django.conf import settings
from django.core import signing
from django.core.mail import send_mail

from payments.models import Charge
from payments.money import format_usd

log = logging.getLogger(__name__)
_SALT = "payments.authenticate"
_LINK_SECONDS = 8 * 86400


def link(charge: Charge) -> str:
    """The address at which whoever has it may finish the authentication of this one charge, for eight days."""
    token = signing.dumps(str(charge.id), salt=_SALT)
    return f"{settings.BASE_URL}/purse/authenticate/{charge.id}?token={token}"


def opens(token: str) -> str:
    """The id of the charge that a link is for, or empty."""
    try:
        return str(signing.loads(token, salt=_SALT, max_age=_LINK_SECONDS))
    except signing.BadSignature:
        return ""


def authenticate(charge: Charge) -> None:
    """Your bank wants to ask you."""
    _send(
        charge,
        "Your bank asks you to confirm a payment",
        f"We tried to charge your card {_usd(charge)} for what you have read, and your bank wants to ask you first.\n"
        f"Please confirm it here:\n\n{link(charge)}\n\nYou were not charged so far. Without it nothing more can be"
        " bought on your tab, and after seven days we stop asking.",
    )


def declined(charge: Charge, retry_at: datetime) -> None:
    """Your card was declined; we try again."""
    _send(
        charge,
        "Your card was declined",
        f"We could not charge your card {_usd(charge)} for what you have read. You were not charged.\n"
        f"We try again on {retry_at:%d %B %Y}. You can use another card, or pay now:\n\n{settings.BASE_URL}/purse",
    )


def failed(charge: Charge) -> None:
    """We stop trying."""
    _send(
        charge,
        "Your tab could not be charged",
        f"We could not charge your card {_usd(charge)} for what you have read, and do not try again by ourselves.\n"
        f"You were not charged. To go on reading, save another card or pay now:\n\n{settings.BASE_URL}/purse",
    )


def _usd(charge: Charge) -> str:
    return f"{format_usd(charge.amount_micros)} US dollars"


def _send(charge: Charge, subject: str, text: str) -> None:
    if not charge.purse.email:
        return
    try:
        send_mail(subject, text, settings.DEFAULT_FROM_EMAIL, [charge.purse.email])
    except (OSError, SMTPException):
        log.exception("a letter about %s was not sent", charge)
