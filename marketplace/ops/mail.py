"""Mail by SMTP: Django's backend, whose outages are logged once and not for each letter."""

from collections.abc import Sequence
from smtplib import SMTPException

from django.core.mail import EmailMessage
from django.core.mail.backends import smtp

from payments.outages import MAIL


class Backend(smtp.EmailBackend):
    """Django's SMTP backend. Errors are raised as before."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Send, and note whether the server answered."""
        try:
            sent = super().send_messages(email_messages)
        except (OSError, SMTPException) as error:
            # Its words may hold the address of the recipient.
            MAIL.failed(type(error).__name__)
            raise
        MAIL.answered()
        return sent
