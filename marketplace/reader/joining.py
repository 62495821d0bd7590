"""Moves a guest to an account: the browser's library, and the guest's purse with what it bought.

A guest moves at sign-in or on a button press, never on a page view.
"""

from allauth.account.models import EmailAddress
from django.http import HttpRequest

from payments import purses
from payments.models import Charge, Grant, Purse
from payments.purses import joining as purse_joining

from . import library
from .purse import GUEST


def bring_along(request: HttpRequest) -> None:
    """Move this browser's library and purse to the signed-in account."""
    if not request.user.is_authenticated:
        return
    if ids := request.session.get(library.SESSION_KEY, []):
        library.shelve(request, Grant.objects.filter(id__in=ids))
        del request.session[library.SESSION_KEY]
    if GUEST in request.session:
        _join_this_browsers(request)


def _join(request: HttpRequest, guest: Purse) -> None:
    owner = purses.get_or_create(f"user:{request.user.pk}", request.user.email)
    purse_joining.join(guest, owner)
    guest.refresh_from_db(fields=["joined_to"])
    if guest.joined_to_id == owner.pk:
        library.shelve(request, Grant.objects.filter(buyer=guest.buyer, revoked_at=None))


def _join_this_browsers(request: HttpRequest) -> None:
    """Join the browser's own purse, with its balance or debt: this browser has used it."""
    if guest := purses.find(f"guest:{request.session[GUEST]}"):
        _join(request, guest)
    del request.session[GUEST]


def waiting_guests(request: HttpRequest) -> list[Purse]:
    """Guest purses that the signed-in person may claim: this browser's, and those that name their verified address.

    This browser's is here only when it could not be moved at sign-in.
    """
    if not request.user.is_authenticated:
        return []
    own = purses.find(f"guest:{request.session[GUEST]}") if GUEST in request.session else None
    return [*([own] if own and own.joined_to_id is None else []), *_guests_of_the_address(request)]


def _guests_of_the_address(request: HttpRequest) -> list[Purse]:
    """Guest purses in good standing, with a successful charge, that name a verified address of this account.

    Anyone can enter any address and pay with a stolen card, so only the owner of the address can claim the purse.
    """
    proven = EmailAddress.objects.filter(user=request.user, verified=True).values_list("email", flat=True)
    addresses = {spelling for email in proven for spelling in (email, email.lower())}
    if not addresses:
        return []
    guests = Purse.objects.filter(email__in=addresses, owner__startswith="guest:", joined_to=None)
    fine = guests.filter(flag=Purse.Flag.NONE, balance_micros__gte=0, charges__disputes=None)
    # A purse without a successful charge has nothing to move.
    return list(fine.filter(charges__state=Charge.State.SUCCEEDED).distinct())


def claim_waiting(request: HttpRequest) -> int:
    """Join the guest purses that the person claims, and move this browser's library. Returns how many purses."""
    found = waiting_guests(request)
    bring_along(request)
    for guest in found:
        if guest.joined_to_id is None:
            _join(request, guest)
    return len(found)
