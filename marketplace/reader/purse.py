"""The purse of whoever asks: the account's when signed in, this browser's guest's otherwise.

A request without a session cookie costs nothing here, and nothing here moves money.
"""

import uuid

from django.conf import settings
from django.http import HttpRequest

from payments import purses
from payments.models import Purse

GUEST = "guest"


def owner_of(request: HttpRequest) -> str:
    """The owner of the purse that this session may use: "user:<id>", "guest:<uuid>", or empty."""
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return ""
    if request.user.is_authenticated:
        return f"user:{request.user.pk}"
    guest = request.session.get(GUEST, "")
    return f"guest:{guest}" if guest else ""


def purse_of(request: HttpRequest) -> Purse | None:
    """The purse of this session, if there is one. Writes nothing."""
    name = owner_of(request)
    return purses.find(name) if name else None


def purse_id_of(request: HttpRequest) -> str:
    """Its id, or empty."""
    found = purse_of(request)
    return str(found.pk) if found else ""


def open_purse(request: HttpRequest) -> Purse:
    """The purse of this session; a signed-in person or a guest gets one now. Only for a POST."""
    found = purse_of(request)
    if found and not found.joined_to_id:
        return found
    if request.user.is_authenticated:
        return purses.get_or_create(f"user:{request.user.pk}", request.user.email)
    # A guest's purse that was joined to an account elsewhere takes no more money.
    guest = str(uuid.uuid4())
    request.session[GUEST] = guest
    return purses.get_or_create(f"guest:{guest}")
