"""Who may see the finance pages and the back office: staff, and only with a second factor."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from allauth.account.authentication import get_authentication_records
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added
from allauth.mfa.utils import is_mfa_enabled
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

_ADDRESSES = ("/finance/", "/admin/")
# Recovery codes are not among them: they stand in for one of these that was lost.
_SET_UP_BY = "second_factor_set_up_by"
_FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


def second_factor(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware that leads staff from every page about money to their second factor, or to the page that sets one up.

    A password or a mailbox alone must not open other people's money. The session itself must have shown the factor: one
    that was opened before it was set up is asked for it.
    """

    def checked(request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(_ADDRESSES) or not request.user.is_staff:
            return get_response(request)
        if is_mfa_enabled(request.user, _FACTORS):
            if _has_shown_it(request):
                return get_response(request)
            return redirect(f"{reverse('mfa_reauthenticate')}?{urlencode({'next': request.get_full_path()})}")
        messages.warning(
            request,
            "Staff pages need a second factor. Add a passkey or set up an authenticator app, then open them again.",
        )
        return redirect("mfa_index")

    return checked


def _has_shown_it(request: HttpRequest) -> bool:
    records = get_authentication_records(request, request.user)
    return request.session.get(_SET_UP_BY) == request.user.pk or any(one["method"] == "mfa" for one in records)


@receiver(authenticator_added)
def _set_up_here(request: HttpRequest, user: Any, authenticator: Authenticator, **_: Any) -> None:
    """The session that sets a factor up has just shown it."""
    if authenticator.type in _FACTORS:
        request.session[_SET_UP_BY] = user.pk


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
