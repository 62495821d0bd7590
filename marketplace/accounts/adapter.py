"""allauth adapters: the hook after every sign-in, and allauth's messages in this site's wording."""

import logging
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from marketplace.reader import joining
from payments.places import first_address

log = logging.getLogger(__name__)


class AccountAdapter(DefaultAccountAdapter):
    """allauth's account adapter. Every way to sign in calls `post_login` once."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "account_inactive": "This account is inactive.",
        "cannot_remove_primary_email": "You can't remove your primary email address.",
        "duplicate_email": "This email address is already part of your account.",
        "email_password_mismatch": "The email address or password is incorrect.",
        "email_taken": "An account with this email address already exists.",
        "enter_current_password": "Enter your current password.",
        "incorrect_code": "This code is incorrect.",
        "incorrect_password": "This password is incorrect.",
        "invalid_login": "The email address or password is incorrect.",
        "invalid_or_expired_key": "This link is invalid or has expired.",
        "invalid_password_reset": "This password reset link is invalid or has expired.",
        "max_email_addresses": "You can't add more than %d email addresses.",
        "rate_limited": "Too many attempts. Wait a few minutes, then try again.",
        "same_as_current": "Enter a value that is different from the current one.",
        "select_only_one": "Select only one.",
        "too_many_login_attempts": "Too many failed attempts. Wait a few minutes, then try again.",
        "unknown_email": "There is no account with this email address.",
        "unverified_primary_email": "Your primary email address must be confirmed first.",
    }

    def get_client_ip(self, request: HttpRequest) -> str:
        """Whom the limits on attempts count: an IPv4 address, or the first address of an IPv6 /64."""
        return first_address(super().get_client_ip(request))

    def post_login(self, request: HttpRequest, user: Any, **options: Any) -> HttpResponse:
        """Move this browser's library and purse to the account. The session's data survives the sign-in.

        A failure stops nobody from signing in: what was not moved stays in the session, and the library and the balance
        page offer to move it.
        """
        try:
            joining.bring_along(request)
        except Exception:
            log.exception("what %s had as a guest was not moved", user)
        return super().post_login(request, user, **options)


class MFAAdapter(DefaultMFAAdapter):
    """allauth's adapter for passkeys, authenticator apps and recovery codes."""

    error_messages = DefaultMFAAdapter.error_messages | {
        "add_email_blocked": "You can't add an email address while two-factor authentication is on.",
        "cannot_delete_authenticator": "You can't turn off two-factor authentication.",
        "cannot_generate_recovery_codes": "Add a passkey or an authenticator app before you create recovery codes.",
        "incorrect_code": "This code is incorrect.",
        "unverified_email": "Confirm your email address before you turn on two-factor authentication.",
    }

    def generate_authenticator_name(self, user: Any, type: Authenticator.Type) -> str:  # noqa: A002 - allauth's name
        """The default name of a new passkey."""
        there = Authenticator.objects.filter(user_id=user.pk, type=type).count()
        return f"Passkey {there + 1}" if there else "My passkey"

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """The site's name on the device that creates a passkey."""
        return {**super().get_public_key_credential_rp_entity(), "name": settings.SITE_NAME}
