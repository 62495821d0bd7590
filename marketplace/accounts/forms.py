"""allauth's forms with this site's labels."""

from typing import Any

from allauth.account import forms as account
from allauth.mfa.webauthn import forms as webauthn


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


class AddWebAuthnForm(webauthn.AddWebAuthnForm):
    """Add a passkey."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if field := self.fields.get("passwordless"):
            field.label = "Sign in with this passkey alone"
            field.help_text = "Requires your fingerprint, face, PIN or screen lock."
