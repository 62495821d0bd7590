"""What a browser's session or a signed-in reader has bought. A request without a session cookie costs nothing here."""

import uuid

from django.conf import settings
from django.http import HttpRequest

from payments import purses
from payments.models import Grant, Purse

from .models import LibraryEntry

_SESSION_KEY = "grants"
_GUEST = "guest"
_SESSION_MAX = 500


def held(request: HttpRequest, resource: str | None = None) -> set[str]:
    """The ids of the grants that this request's session or account holds, for one resource or for all."""
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return set()
    ids = set(request.session.get(_SESSION_KEY, []))
    if request.user.is_authenticated:
        entries = LibraryEntry.objects.filter(user=request.user)
        if resource:
            entries = entries.filter(grant__resource=resource)
        ids |= {str(grant_id) for grant_id in entries.values_list("grant_id", flat=True)}
    return ids


def remember(request: HttpRequest, grant: Grant) -> None:
    """Put a grant on the reader's shelf: the account's when signed in, this browser's session otherwise."""
    if request.user.is_authenticated:
        LibraryEntry.objects.get_or_create(user=request.user, grant=grant)
        return
    ids = request.session.get(_SESSION_KEY, [])
    if str(grant.id) not in ids:
        request.session[_SESSION_KEY] = [*ids, str(grant.id)][-_SESSION_MAX:]


def keep(request: HttpRequest) -> None:
    """Move what this browser's session holds to the account that is signed in now."""
    ids = request.session.get(_SESSION_KEY, [])
    if ids and request.user.is_authenticated:
        grants = Grant.objects.filter(id__in=ids)
        LibraryEntry.objects.bulk_create(
            [LibraryEntry(user=request.user, grant=grant) for grant in grants], ignore_conflicts=True
        )
        del request.session[_SESSION_KEY]


# --- The purse of whoever asks -----------------------------------------------------------------------------


def holder(request: HttpRequest) -> str:
    """The holder's name of the purse that this session may use: the account's, or this browser's guest's; or empty."""
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return ""
    if request.user.is_authenticated:
        return f"user:{request.user.pk}"
    guest = request.session.get(_GUEST, "")
    return f"guest:{guest}" if guest else ""


def purse(request: HttpRequest) -> Purse | None:
    """The purse of this session, if there is one; makes nothing."""
    name = holder(request)
    return purses.find(name) if name else None


def purse_id(request: HttpRequest) -> str:
    """Its id, or empty."""
    found = purse(request)
    return str(found.pk) if found else ""


def open_purse(request: HttpRequest) -> Purse:
    """The purse of this session; a signed-in person or a guest gets one now."""
    if request.user.is_authenticated:
        return purses.of(f"user:{request.user.pk}", request.user.email)
    guest = request.session.get(_GUEST) or str(uuid.uuid4())
    request.session[_GUEST] = guest
    return purses.of(f"guest:{guest}")
