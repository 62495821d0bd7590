"""What a guest has moves to the account that signs in: the browser's library, and its purse with what that bought.

This happens when somebody signs in and when they press a button, never because a page was looked at.
"""

from allauth.account.models import EmailAddress
from django.http import HttpRequest

from payments import purses
from payments.models import Charge, Grant, Purse
from payments.purses import joining as purse_joining

from . import library
from .purse import GUEST


def bring_along(request: HttpRequest) -> None:
    """Move what this browser holds to the account that is signed in now."""
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
    """Whatever it holds or owes: this browser has used it."""
    if guest := purses.find(f"guest:{request.session[GUEST]}"):
        _join(request, guest)
    del request.session[GUEST]


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
    guests = Purse.objects.filter(email__in=addresses, owner__startswith="guest:", joined_to=None)
    fine = guests.filter(flag=Purse.Flag.NONE, balance_micros__gte=0, charges__disputes=None)
    # With nothing paid there is nothing to bring.
    return list(fine.filter(charges__state=Charge.State.SUCCEEDED).distinct())


def join_guests_of_the_address(request: HttpRequest) -> int:
    """The person says that it was them; returns how many purses came."""
    found = guests_of_the_address(request)
    for guest in found:
        _join(request, guest)
    return len(found)
