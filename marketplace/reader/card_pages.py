"""To the hosted card page: what every page about card money has in common. Cards are never typed in here."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.decorators.cache import never_cache

from payments import cards, http, purses
from payments.cards import checkout
from payments.cards.charges import CENT
from payments.cards.facts import NoAnswer
from payments.models import Purse
from payments.money import format_usd

from .purse import open_purse, purse_of

_UNSURE = "The card processor does not answer just now. You were not charged. Please try again in a moment."


class SeeOther(HttpResponseRedirect):
    """303: whatever was posted, the next request is a GET."""

    status_code = 303


def with_cards(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A page about card money: not there when cards are off, private, and kept by no cache."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not cards.enabled():
            raise Http404
        return view(request, *args, **kwargs)

    return never_cache(checked)


def own_purse(request: HttpRequest) -> Purse:
    """The purse of this session, or 404: other people's purses are not there."""
    found = purse_of(request)
    if found is None:
        raise Http404
    return found


def to_card_page(request: HttpRequest, back: str, open_page: Callable[[Purse, str], str]) -> HttpResponse:
    """303 to a hosted page for this session's purse, opened from this address; nobody is charged by that.

    Back with a sentence when it may not or could not be opened; a newcomer whom that happens to leaves no purse.
    """
    here = http.client_address(request)
    try:
        checkout.may_open(purse_of(request), here)
        return SeeOther(open_page(open_purse(request), here))
    except purses.PurseRefused as refusal:
        messages.error(request, f"{refusal.sentence} You were not charged.")
    except NoAnswer:
        messages.error(request, _UNSURE)
    return SeeOther(back)


def offered_amount(text: str) -> int | None:
    """The top-up that a form names, in cents, if it is one of those on offer."""
    return int(text) if text in {str(cents) for cents in settings.TOPUP_CENTS} else None


def topup_amounts(missing_micros: int) -> list[tuple[int, str]]:
    """The top-ups that cover what is missing."""
    covering = [cents for cents in sorted(settings.TOPUP_CENTS) if cents * CENT >= missing_micros]
    return [(cents, _dollars(cents)) for cents in covering]


def _dollars(cents: int) -> str:
    """500 → "5", 550 → "5.50"."""
    return format_usd(cents * CENT).removesuffix(".00")
