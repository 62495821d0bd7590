"""The paywall's buttons: buy from the balance, or pay on the hosted card page and return to the open article.

Every change is a POST from a form of this site. A purchase never costs more or less than the price on the page.
"""

import contextlib
import uuid
from dataclasses import replace

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from marketplace.reader import library
from marketplace.reader.card_pages import (
    TO_THE_TEXT,
    TO_WHAT_IS_SAID,
    SeeOther,
    offered_amount,
    own_purse,
    to_card_page,
    with_cards,
)
from marketplace.reader.purse import purse_of
from payments import fulfilment, gate, http, quotes
from payments.cards import checkout, wanted
from payments.cards.facts import NoAnswer, StripeRefused
from payments.models import Charge
from payments.money import dollars
from payments.offers import Offer
from publishers.articles import catalogue
from publishers.articles.catalogue import Listing
from publishers.models import PEOPLE

_RELOADS = 40
_NOT_PAID = "The card payment did not go through. You have not been charged."
_NOBODY_KNOWS = "The card processor has no record of this payment. Look at your card statement before you pay again."
_DAYS = "Your bank is processing your payment, which can take a few days. We will write to you when it has arrived."
_NOT_CHARGED = (Charge.State.FAILED, Charge.State.CANCELED, Charge.State.DECLINED)


# --- From the paywall ----------------------------------------------------------------------------------------


@require_POST
@with_cards
def buy(request: HttpRequest, slug: str) -> HttpResponse:
    """Buy an article from the balance at the price on the page."""
    listing = _on_sale(slug)
    purse = purse_of(request)
    offer = listing.offer(PEOPLE, mime_type="text/html")
    shown = request.POST.get("quote", "")
    if purse is None or not shown:
        messages.error(request, "Check the price and try again. You have not been charged.")
        return SeeOther(listing.path)
    try:
        admitted = gate.verify(http.pressed(request, str(purse.pk), shown), offer).settle()
    except gate.REFUSALS as error:
        told = http.problem(error)
        messages.error(request, told.sentence + (" You have not been charged." if told.charged is False else ""))
        return SeeOther(listing.path)
    library.remember(request, admitted.grant)
    return SeeOther(f"{listing.path}{TO_THE_TEXT}")


@require_POST
@with_cards
def pay(request: HttpRequest, slug: str) -> HttpResponse:
    """Redirect to the hosted card page: top up and buy this article, or pay for this article alone."""
    listing = _on_sale(slug)
    offer = _as_shown(listing.offer(PEOPLE, mime_type="text/html"), request.POST.get("quote", ""))
    if offer is None:
        messages.error(
            request, "The price has expired. Check the current price and try again. You have not been charged."
        )
        return SeeOther(listing.path)
    asked, leaving = request.POST.get("amount", ""), reverse("article_canceled", args=[slug])
    if asked == "direct" and checkout.direct_cents(purse_of(request), offer):
        return to_card_page(
            request, listing.path, lambda purse, here: checkout.direct(purse, offer, leaving, address=here)
        )
    if cents := offered_amount(asked):
        return to_card_page(
            request, listing.path, lambda purse, here: checkout.top_up(purse, cents, leaving, offer, address=here)
        )
    messages.error(request, "Choose one of the top-up amounts. You have not been charged.")
    return SeeOther(listing.path)


def _on_sale(slug: str) -> Listing:
    listing = catalogue.find(slug)
    if listing is None:
        raise Http404
    return listing


def _as_shown(offer: Offer, quote: str) -> Offer | None:
    """The offer at the quoted price. None if the quote is invalid or has expired."""
    try:
        promised = quotes.read(quote, offer)
    except quotes.QuoteRefused:
        return None
    fits = promised.price.audience == offer.price.audience and not promised.expired
    return replace(offer, price=promised.price) if fits else None


# --- Back from the card page -----------------------------------------------------------------------------------


@require_safe
@with_cards
def returned(request: HttpRequest, charge_id: uuid.UUID) -> HttpResponse:
    """Return from the hosted page to the article, or to a page that waits for the processor without scripts."""
    charge = get_object_or_404(Charge, pk=charge_id, purse=own_purse(request))
    offer = wanted.offer_of(charge)
    target = offer.url.removeprefix(settings.BASE_URL) if offer else reverse("purse")
    if not charge.fulfilled_at:  # Otherwise the worker has already fulfilled the charge.
        try:
            charge = fulfilment.returned(charge.pk)
        except (NoAnswer, StripeRefused):
            return _waiting(request, charge, target)
    if charge.state == Charge.State.SUCCEEDED:
        if offer and not charge.fulfilled_at:
            return _waiting(request, charge, target)
        return _paid(request, charge, offer, target)
    if charge.state in _NOT_CHARGED:
        messages.error(request, _NOT_PAID if charge.reason != "gone" else _NOBODY_KNOWS)
        return SeeOther(f"{target}{TO_WHAT_IS_SAID}")
    if charge.state == Charge.State.PROCESSING:
        messages.success(request, _DAYS)
        return SeeOther(f"{target}{TO_WHAT_IS_SAID}")
    return _waiting(request, charge, target)


@require_safe
@with_cards
def canceled(request: HttpRequest, slug: str = "") -> HttpResponse:
    """The way back from a card page without paying: to the article or the balance, which says that nothing was charged.

    The processor is asked first, because the page may have been paid in another window.
    """
    listing = catalogue.find(slug, include_withdrawn=True) if slug else None
    if slug and listing is None:
        raise Http404
    target, purse = listing.path if listing else reverse("purse"), purse_of(request)
    pages = Charge.objects.filter(purse=purse).exclude(purpose=Charge.Purpose.TAB)
    charge = pages.order_by("-id").first() if purse else None
    if charge is None:
        return SeeOther(target)
    with contextlib.suppress(NoAnswer, StripeRefused):
        charge = fulfilment.returned(charge.pk)
        if charge.state in (Charge.State.CREATED, *_NOT_CHARGED) and charge.reason != "gone":
            messages.warning(request, "You left the card page without paying. You have not been charged.")
            return SeeOther(f"{target}{TO_WHAT_IS_SAID}")
    return SeeOther(reverse("purse_return", args=[charge.pk]))


def _paid(request: HttpRequest, charge: Charge, offer: Offer | None, target: str) -> HttpResponse:
    paid = dollars(charge.amount_micros)
    if offer is None:
        messages.success(request, f"{paid} was added to your balance.")
    elif charge.bought_id:
        for grant in charge.bought.grants.filter(revoked_at=None):
            library.remember(request, grant)
        messages.success(request, f"We charged {paid} to your card, and the article is yours.")
        return SeeOther(f"{target}{TO_THE_TEXT}")
    else:
        messages.warning(
            request, f"{paid} is in your balance, but we could not buy the article with it. Check the current price."
        )
    return SeeOther(f"{target}{TO_WHAT_IS_SAID}")


def _waiting(request: HttpRequest, charge: Charge, target: str) -> HttpResponse:
    """The waiting page. It reloads every few seconds; the URL counts the reloads, so that they end."""
    counted = request.GET.get("look", "")
    turn = int(counted) if counted.isascii() and counted.isdigit() and len(counted) < 4 else 0
    again = f"{reverse('purse_return', args=[charge.pk])}?look={turn + 1}"
    waits = turn < _RELOADS
    context = {"charge": charge, "target": target, "again": again, "waits": waits, "turn": turn}
    response = render(request, "shop/returning.html", context)
    if waits:
        response["Refresh"] = f"{2 if turn < 10 else 10}; url={again}"
    return response
