"""What all card pages share. Card numbers are entered on the processor's hosted page, never on this site."""

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
from payments.money import dollars
from payments.places import first_address

from .purse import open_purse, purse_of

_UNSURE = "The card processor isn't responding. You have not been charged. Please try again in a moment."


# Fragments, for the end of a redirect: a browser moves the focus there, with or without scripts, so that a keyboard
# goes on from there and a screen reader begins there.
TO_THE_TEXT = "#article"
TO_WHAT_IS_SAID = "#said"


class SeeOther(HttpResponseRedirect):
    """A 303 redirect: after a POST, the next request is a GET."""

    status_code = 303


def with_cards(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Wrap a card page: 404 while cards are off, and never cached."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not cards.enabled():
            raise Http404
        return view(request, *args, **kwargs)

    return never_cache(checked)


def own_purse(request: HttpRequest) -> Purse:
    """Return this session's purse. Raises Http404 without one."""
    found = purse_of(request)
    if found is None:
        raise Http404
    return found


def to_card_page(request: HttpRequest, back: str, open_page: Callable[[Purse, str], str]) -> HttpResponse:
    """Redirect to a hosted page for this session's purse. The redirect charges nothing.

    If the page may not or could not be opened, return to `back` with a message. A visitor refused by `may_open` gets no
    purse.
    """
    here = first_address(http.client_address(request))
    try:
        checkout.may_open(purse_of(request), here)
        return SeeOther(open_page(open_purse(request), here))
    except purses.PurseRefused as refusal:
        messages.error(request, f"{refusal.sentence} You have not been charged.")
    except NoAnswer:
        messages.error(request, _UNSURE)
    return SeeOther(back)


def offered_amount(text: str) -> int | None:
    """The form's top-up in cents, or None if that amount is not on offer."""
    return int(text) if text in {str(cents) for cents in settings.TOPUP_CENTS} else None


def topup_amounts(missing_micros: int) -> list[tuple[int, str]]:
    """The top-ups that cover the missing amount, as (cents, dollars)."""
    covering = [cents for cents in sorted(settings.TOPUP_CENTS) if cents * CENT >= missing_micros]
    return [(cents, dollars(cents * CENT)) for cents in covering]
