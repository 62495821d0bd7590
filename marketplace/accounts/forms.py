"""allauth's forms with this site's labels."""

from typing import Any

from allauth.account import forms as account
from allauth.mfa.webauthn import forms as webauthn
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.http import HttpRequest

_REFUSED = (
    "This passkey was not accepted: it may belong to another site, have been removed from your account, or have taken "
    "too long. Try again, use another passkey, or sign in another way."
)


def _label(form: Any, **labels: str) -> None:
    for name, label in labels.items():
        if name in form.fields:
            form.fields[name].label = label
            form.fields[name].widget.attrs.pop("placeholder", None)


class LoginForm(account.LoginForm):
    """Sign in with a password."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _label(self, login="Email", remember="Keep me signed in")


class SignupForm(account.SignupForm):
    """Create an account; the password is optional."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _label(self, password1="Password (optional)")

    def try_save(self, request: HttpRequest) -> Any:
        """Hash the password also for an address that has an account, and drop it.

        Hashing takes a large part of a second, so that an answer without it would tell whose address is known.
        """
        if self.account_already_exists:
            make_password(self.cleaned_data.get("password1") or None)
        return super().try_save(request)


class ChangePasswordForm(account.ChangePasswordForm):
    """Change the password."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _label(self, oldpassword="Current password", password1="New password", password2="New password (again)")


class ResetPasswordKeyForm(account.ResetPasswordKeyForm):
    """Choose a new password with the emailed link."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _label(self, password1="New password", password2="New password (again)")


class _PasskeyForm:
    """Says of a refused passkey what to do. allauth has the same sentence for it as for a wrong code."""

    def add_error(self, field: str | None, error: Any) -> None:
        if getattr(error, "code", "") == "incorrect_code":
            error = ValidationError(_REFUSED, code="incorrect_passkey")
        super().add_error(field, error)  # type: ignore[misc]


class SignupWebAuthnForm(_PasskeyForm, webauthn.SignupWebAuthnForm):
    """Create an account with a passkey."""


class LoginWebAuthnForm(_PasskeyForm, webauthn.LoginWebAuthnForm):
    """Sign in with a passkey alone."""


class AuthenticateWebAuthnForm(_PasskeyForm, webauthn.AuthenticateWebAuthnForm):
    """Use a passkey as the second factor."""


class ReauthenticateWebAuthnForm(_PasskeyForm, webauthn.ReauthenticateWebAuthnForm):
    """Confirm with a passkey that it is still the same person."""


class AddWebAuthnForm(_PasskeyForm, webauthn.AddWebAuthnForm):
    """Add a passkey."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if field := self.fields.get("passwordless"):
            field.label = "Sign in with this passkey alone"
            field.help_text = "Requires your fingerprint, face, PIN or screen lock."
