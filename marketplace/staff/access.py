"""Who may see the finance pages."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse


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
