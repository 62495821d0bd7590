"""What a browser's session or a signed-in reader has: bought articles and a purse.

A request without a session cookie costs nothing here.
"""

import uuid
from collections.abc import Iterable
from datetime import timedelta

from allauth.account.models import EmailAddress
from django.conf import settings
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from marketplace.models import LibraryEntry
from payments import purses
from payments.models import Charge, Grant, Payment, Purse, State

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


def grants(request: HttpRequest) -> QuerySet[Grant]:
    """Every grant that this request may use: the shelf's, and what the purse bought for its person or by a program."""
    mine = Q(id__in=held(request))
    if found := purse(request):
        mine |= Q(buyer__in=purses.buyers(found))
    return Grant.objects.filter(mine, revoked_at=None)


def remember(request: HttpRequest, grant: Grant) -> None:
    """Put a grant on the reader's shelf: the account's when signed in, this browser's session otherwise."""
    if request.user.is_authenticated:
        LibraryEntry.objects.get_or_create(user=request.user, grant=grant)
        return
    ids = request.session.get(_SESSION_KEY, [])
    if str(grant.id) not in ids:
        request.session[_SESSION_KEY] = [*ids, str(grant.id)][-_SESSION_MAX:]


def returnable(request: HttpRequest, owned: Iterable[Grant]) -> set[uuid.UUID]:
    """Which of these grants can be given back now: bought from this purse just now, and never given back before."""
    since = timezone.now() - timedelta(seconds=settings.REFUND_SECONDS)
    fresh = [grant for grant in owned if grant.payment.rail == "purse" and grant.payment.decided_at > since]
    found = purse(request) if fresh else None
    if found is None:
        return set()
    names = set(purses.buyers(found))
    fresh = [grant for grant in fresh if grant.buyer in names and grant.payment.state == State.CONFIRMED]
    before = Payment.objects.filter(
        resource__in=[grant.resource for grant in fresh], state=State.REFUNDED, reason="buyer"
    ).values_list("buyer", "resource")
    used = set(before)
    return {grant.id for grant in fresh if (grant.buyer, grant.resource) not in used}


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
    """The purse of this session, if there is one. Makes nothing, but joins a guest's purse to who has signed in."""
    name = holder(request)
    if not name:
        return None
    if request.user.is_authenticated and _GUEST in request.session:
        _join_this_browsers(request)
    return purses.find(name)


def purse_id(request: HttpRequest) -> str:
    """Its id, or empty."""
    found = purse(request)
    return str(found.pk) if found else ""


def open_purse(request: HttpRequest) -> Purse:
    """The purse of this session; a signed-in person or a guest gets one now."""
    found = purse(request)
    if found and not found.joined_to_id:
        return found
    if request.user.is_authenticated:
        return purses.of(f"user:{request.user.pk}", request.user.email)
    # A guest's purse that was joined to an account elsewhere takes no more money.
    guest = str(uuid.uuid4())
    request.session[_GUEST] = guest
    return purses.of(f"guest:{guest}")


# --- Signing in --------------------------------------------------------------------------------------------


def keep(request: HttpRequest) -> None:
    """Move what this browser holds to the account that is signed in now."""
    if not request.user.is_authenticated:
        return
    if ids := request.session.get(_SESSION_KEY, []):
        _shelve(request, Grant.objects.filter(id__in=ids))
        del request.session[_SESSION_KEY]
    if _GUEST in request.session:
        _join_this_browsers(request)


def _shelve(request: HttpRequest, found: QuerySet[Grant]) -> None:
    entries = [LibraryEntry(user=request.user, grant=grant) for grant in found]
    LibraryEntry.objects.bulk_create(entries, ignore_conflicts=True)


def _join(request: HttpRequest, guest: Purse) -> None:
    owner = purses.of(f"user:{request.user.pk}", request.user.email)
    purses.join(guest, owner)
    guest.refresh_from_db(fields=["joined_to"])
    if guest.joined_to_id == owner.pk:
        _shelve(request, Grant.objects.filter(buyer=guest.buyer, revoked_at=None))


def _join_this_browsers(request: HttpRequest) -> None:
    """Whatever it holds or owes: this browser has used it."""
    if guest := purses.find(f"guest:{request.session[_GUEST]}"):
        _join(request, guest)
    del request.session[_GUEST]


def guests_of_the_address(request: HttpRequest) -> list[Purse]:
    """Purses of guests who named an address that is proven to be this account's, and are in order.

    Anybody can name any address, and pay with a stolen card: only whoever owns it can say that it was them.
    """
    if not request.user.is_authenticated:
        return []
    proven = EmailAddress.objects.filter(user=request.user, verified=True).values_list("email", flat=True)
    addresses = {spelling for email in proven for spelling in (email, email.lower())}
    if not addresses:
        return []
    guests = Purse.objects.filter(email__in=addresses, holder__startswith="guest:", joined_to=None)
    fine = guests.filter(flag=Purse.Flag.NONE, balance_micros__gte=0, charges__disputes=None)
    # With nothing paid there is nothing to bring.
    return list(fine.filter(charges__state=Charge.State.SUCCEEDED).distinct())


def join_guests_of_the_address(request: HttpRequest) -> int:
    """The person says that it was them; returns how many purses came."""
    found = guests_of_the_address(request)
    for guest in found:
        _join(request, guest)
    return len(found)
