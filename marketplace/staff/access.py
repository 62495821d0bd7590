"""Who may see the finance pages and the back office: staff, and only with a second factor."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

_ADDRESSES = ("/finance/", "/admin/")
# Recovery codes are not among them: they stand in for one of these that was lost.
_FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
_SENTENCE = "Staff pages need a second factor. Add a passkey or set up an authenticator app, then open them again."


def second_factor(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware that leads staff without a second factor from every page about money to the page that sets one up.

    A password or a mailbox alone must not open other people's money. Once there is a second factor, every way to sign
    in asks for it.
    """

    def checked(request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(_ADDRESSES) or not request.user.is_staff:
            return get_response(request)
        if is_mfa_enabled(request.user, _FACTORS):
            return get_response(request)
        messages.warning(
            request,
            "Staff pages need a second factor. Add a passkey or set up an authenticator app, then open them again.",
        )
        return redirect("mfa_index")

    return checked


def staff_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Wrap a page for staff: a visitor signs in first, and anybody else is told that the page is not theirs (403)."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path(), reverse("account_login"))
        if not request.user.is_staff:
            # To the sign-in page it would be a loop: that page sends on whoever is signed in.
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return checked
