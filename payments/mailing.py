"""Mail to people. Sent after the commit that it tells of, never before.

A message that cannot be sent is only logged: the pages say the same.
"""

import logging
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import send_mail

log = logging.getLogger(__name__)


def send(to: list[str], subject: str, text: str) -> bool:
    """Send one message in plain text; False when it could not be sent. Does nothing without an address."""
    if not to:
        return True
    try:
        send_mail(subject, f"{text}\n\n{settings.SITE_NAME}\n", settings.DEFAULT_FROM_EMAIL, to)
    except (OSError, SMTPException) as error:
        # Not the error's words: they may have the address.
        log.warning("a message could not be sent (%s): %s", type(error).__name__, subject)
        return False
    return True
