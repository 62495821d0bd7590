"""The requester's purse: the account's when signed in, otherwise the browser's guest purse.

A request without a session cookie causes no query here, and no function here moves money.
"""

import uuid

from django.conf import settings
from django.http import HttpRequest

from payments import purses
from payments.models import Purse

GUEST = "guest"


def owner_of(request: HttpRequest) -> str:
    """The owner of this session's purse: "user:<id>", "guest:<uuid>", or empty."""
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return ""
    if request.user.is_authenticated:
        return f"user:{request.user.pk}"
    guest = request.session.get(GUEST, "")
    return f"guest:{guest}" if guest else ""


def purse_of(request: HttpRequest) -> Purse | None:
    """Return this session's purse, or None. Writes nothing."""
    name = owner_of(request)
    return purses.find(name) if name else None


def purse_id_of(request: HttpRequest) -> str:
    """The id of this session's purse, or empty."""
    found = purse_of(request)
    return str(found.pk) if found else ""


def open_purse(request: HttpRequest) -> Purse:
    """Return this session's purse, or create one for the account or guest. Call it in a POST only."""
    found = purse_of(request)
    if found and not found.joined_to_id:
        return found
    if request.user.is_authenticated:
        return purses.get_or_create(f"user:{request.user.pk}", request.user.email)
    # A guest purse that was joined to an account takes no more money.
    guest = str(uuid.uuid4())
    request.session[GUEST] = guest
    return purses.get_or_create(f"guest:{guest}")
