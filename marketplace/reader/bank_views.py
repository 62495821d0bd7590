"""The page on which a bank asks the cardholder to confirm a charge.

Only this page loads a script from another host. Its link opens one charge and shows nothing but the amount and the
card's last four digits.
"""

import uuid
from typing import Any
from urllib.parse import urlsplit

from csp.decorators import csp_update
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from payments.cards import authentication, charges, mail
from payments.cards.facts import NoAnswer, StripeRefused
from payments.models import Charge

from .card_pages import SeeOther, with_cards
from .purse import purse_of

_STRIPE = ("https://api.stripe.com", "https://hooks.stripe.com", "https://js.stripe.com")

# A PaymentIntent in one of these states has nothing to ask the bank any more.
_DECIDED = ("succeeded", "processing", "canceled")


def policy() -> dict[str, list[str]]:
    """The content security policy that the bank's confirmation adds: the processor's script, calls and frames."""
    origins = {_origin(settings.STRIPE_JS_URL), _origin(settings.STRIPE_API_BASE)}
    if _origin(settings.STRIPE_API_BASE) in _STRIPE:
        origins |= set(_STRIPE)
    there = sorted(origins)
    return {"script-src": [_origin(settings.STRIPE_JS_URL)], "connect-src": there, "frame-src": there}


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@require_http_methods(["GET", "HEAD", "POST"])
@with_cards
def authenticate(request: HttpRequest, charge_id: uuid.UUID) -> HttpResponse:
    """Confirm one charge of a tab with the bank. Opens with the emailed link or in the purse's own session."""
    token = request.GET.get("token", "")
    charge = get_object_or_404(Charge.objects.select_related("card", "purse"), pk=charge_id)
    purse = purse_of(request)
    own = purse is not None and purse.pk == charge.purse_id
    if not own and mail.opens(token) != str(charge.pk):
        raise Http404
    here = f"{reverse('purse_authenticate', args=[charge.pk])}?token={token}"
    if request.method == "POST":
        try:
            charges.look(charge)
        except (NoAnswer, StripeRefused):
            messages.warning(request, "The card processor isn't responding. Check again in a moment.")
        return SeeOther(here)
    return _page(request, charge, own, here)


def _page(request: HttpRequest, charge: Charge, own: bool, here: str) -> HttpResponse:
    context: dict[str, Any] = {"charge": charge, "own": own, "here": here}
    if charge.state != Charge.State.ACTION:
        return render(request, "reader/authenticated.html", context)
    try:
        asked = authentication.needed_for(charge)
        if asked["status"] in _DECIDED:
            return render(request, "reader/authenticated.html", context | {"charge": charges.look(charge)})
    except (NoAnswer, StripeRefused):
        return render(request, "reader/authenticated.html", context | {"no_answer": True}, status=503)
    context["asked"] = {
        "publicKey": settings.STRIPE_PUBLISHABLE_KEY,
        "clientSecret": asked["client_secret"],
        "paymentMethod": asked["payment_method"],
    }
    context["js_url"] = settings.STRIPE_JS_URL
    return csp_update(policy())(render)(request, "reader/authenticate.html", context)
