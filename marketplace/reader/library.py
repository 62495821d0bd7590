"""The requester's library: the grants that a browser's session or a signed-in account holds.

A request without a session cookie causes no query here.
"""

import uuid
from collections.abc import Iterable
from datetime import timedelta

from django.conf import settings
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from marketplace.models import LibraryEntry
from payments import purses, rails
from payments.models import Grant, Payment, PaymentState

from .purse import purse_of

SESSION_KEY = "grants"
_SESSION_MAX = 500


def held(request: HttpRequest, resource: str | None = None) -> set[str]:
    """The ids of the grants in this session or account, for all resources or at least for the one given."""
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return set()
    ids = set(request.session.get(SESSION_KEY, []))
    if request.user.is_authenticated:
        entries = LibraryEntry.objects.filter(user=request.user)
        if resource:
            entries = entries.filter(grant__resource=resource)
        ids |= {str(grant_id) for grant_id in entries.values_list("grant_id", flat=True)}
    return ids


def grants(request: HttpRequest) -> QuerySet[Grant]:
    """Every grant this request may use: those in the library, and the purse's purchases, by its owner or an agent."""
    mine = Q(id__in=held(request))
    if found := purse_of(request):
        mine |= Q(buyer__in=purses.buyers(found))
    return Grant.objects.filter(mine, revoked_at=None)


def owned(request: HttpRequest) -> set[str]:
    """The resources that this request may use grants of. Without a session cookie no query is made."""
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return set()
    return set(grants(request).values_list("resource", flat=True))


def remember(request: HttpRequest, grant: Grant) -> None:
    """Add a grant to the library: the account's when signed in, otherwise this browser's session."""
    if request.user.is_authenticated:
        LibraryEntry.objects.get_or_create(user=request.user, grant=grant)
        return
    ids = request.session.get(SESSION_KEY, [])
    if str(grant.id) not in ids:
        request.session[SESSION_KEY] = [*ids, str(grant.id)][-_SESSION_MAX:]


def returnable(request: HttpRequest, owned: Iterable[Grant]) -> set[uuid.UUID]:
    """The refundable grants: bought from this purse within REFUND_SECONDS, for an article never refunded before."""
    since = timezone.now() - timedelta(seconds=settings.REFUND_SECONDS)
    fresh = [
        grant for grant in owned if rails.named(grant.payment.rail).from_balance and grant.payment.decided_at > since
    ]
    found = purse_of(request) if fresh else None
    if found is None:
        return set()
    names = set(purses.buyers(found))
    fresh = [grant for grant in fresh if grant.buyer in names and grant.payment.state == PaymentState.CONFIRMED]
    before = Payment.objects.filter(
        resource__in=[grant.resource for grant in fresh], state=PaymentState.REFUNDED, reason="buyer"
    ).values_list("buyer", "resource")
    used = set(before)
    if not fresh or purses.refunds_left(found) < 1:
        return set()
    by_people = purses.read_by_people(grant.payment_id for grant in fresh)
    return {grant.id for grant in fresh if (grant.buyer, grant.resource) not in used and grant.payment_id in by_people}


def shelve(request: HttpRequest, found: QuerySet[Grant]) -> None:
    """Add grants to the signed-in account's library."""
    entries = [LibraryEntry(user=request.user, grant=grant) for grant in found]
    LibraryEntry.objects.bulk_create(entries, ignore_conflicts=True)
