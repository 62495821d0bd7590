"""What a browser's session or a signed-in reader has bought. A request without a session cookie costs nothing here."""

from django.conf import settings
from django.http import HttpRequest

from payments.models import Grant

from .models import LibraryEntry

_SESSION_KEY = "grants"
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
