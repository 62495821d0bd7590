"""One article to one request: the path of every purchase starts and ends here.

Finds the article, asks the gate, renders, lets the gate settle, and sends. Knows no rail and does no sums.
"""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from marketplace.reader import library
from marketplace.reader.purse import purse_id_of
from payments import gate, http
from payments.money import dollars
from payments.offers import Offer
from publishers.articles import catalogue
from publishers.articles.catalogue import Body, Listing

from . import listings, paywall, representations
from .representations import HTML, Form


def article(request: HttpRequest, slug: str, suffix: str = "") -> HttpResponse:
    """Sell one article to one request, or serve it to an owner."""
    if request.method not in ("GET", "HEAD"):
        return _other_method(request)
    form = representations.wanted(request, suffix)
    listing = listings.find(slug)
    if listing is None:
        raise Http404
    presented = http.presented(request, library.held(request, listing.resource), purse_id_of(request))
    empty = presented == http.NOTHING
    if not empty:
        listing = catalogue.find(slug, include_withdrawn=True) or listing
    offer = listing.offer(form.audience, mime_type=form.mime_type, with_quotable="X-PAYMENT" in presented.headers)
    try:
        if empty:
            raise gate.PaymentRequired(offer)
        return _sold(request, form, listing, gate.verify(presented, offer), by_key=bool(presented.authorization))
    except _GATE_ERRORS as error:
        return _refused(request, form, listing, offer, error)


_GATE_ERRORS = (gate.PaymentRequired, gate.PaymentMalformed, gate.PaymentInFlight, gate.AlreadyPaid)


def _sold(
    request: HttpRequest, form: Form, listing: Listing, admission: gate.Admission, *, by_key: bool = False
) -> HttpResponse:
    """Render, settle, send. Rendering may fail here and nobody has paid.

    An agent's key puts nothing on the shelf of a session: that would outlive the key.
    """
    if admission.sells and listing.state != "published":
        raise gate.PaymentRequired(admission.offer)
    body = _body(request, listing, admission)
    response = representations.written(request, form, listing, body, admission.grant)
    admitted = admission.settle()
    if form is HTML and admitted.proven and not by_key:
        library.remember(request, admitted.grant)
    return http.with_receipt(response, admitted, admission.offer, request)


def _body(request: HttpRequest, listing: Listing, admission: gate.Admission) -> Body:
    """The current text, or with ?version=N an earlier one, back to the one that was bought."""
    number = None
    if (asked := request.GET.get("version", "")).isascii() and asked.isdigit() and len(asked) < 9:
        number = max(int(asked), admission.version)
    body = catalogue.body(listing.article_id, number)
    if body is None:
        raise Http404
    return body


def _refused(request: HttpRequest, form: Form, listing: Listing, offer: Offer, error: Exception) -> HttpResponse:
    told = http.problem(error)
    if listing.state != "published" and told.status == 402:
        return _withdrawn(request, form, listing, told, http.terms(offer, "withdrawn") | {"accepts": []})
    terms = http.terms(offer, told.word) if told.status == 402 else None
    machine = http.refusal(told, offer, terms)
    if form is not HTML:
        return machine
    page = _paywall(request, listing, terms or http.terms(offer), (told, offer))
    for header in ("PAYMENT-REQUIRED", "WWW-Authenticate", "Retry-After"):
        if header in machine:
            page[header] = machine[header]
    return http.sealed(page)


def _paywall(request: HttpRequest, listing: Listing, terms: dict, why: tuple[http.Problem, Offer]) -> HttpResponse:
    told, offer = why
    error = {"word": told.word, "sentence": told.sentence, "charged": told.charged is not False}
    signed_in = settings.SESSION_COOKIE_NAME in request.COOKIES and request.user.is_authenticated
    context = {
        "listing": listing,
        "price": dollars(listing.people.amount_micros),
        "minutes": listing.minutes,
        "terms": terms,
        "network_name": settings.CHAIN_NAME,
        "signed_in": signed_in,
        "error": error if told.sentence else None,
        "article_url": listing.url,
        "md_url": f"{listing.url}.md",
        "json_url": f"{listing.url}.json",
        "expires_minutes": settings.QUOTE_SECONDS // 60,
        "wallet_rpc_url": settings.WALLET_RPC_URL,
        # While a wallet's payment is under way, or was made already, nobody is asked to pay a second time.
        "cards": paywall.choices(request, offer, terms) if told.status in (400, 402) else None,
        "refund_minutes": settings.REFUND_SECONDS // 60,
    }
    return render(request, "shop/paywall.html", context, status=told.status)


def _withdrawn(request: HttpRequest, form: Form, listing: Listing, told: http.Problem, terms: dict) -> HttpResponse:
    """410: no longer sold. Owners never come here, unless they have only their wallet left: the terms challenge it."""
    if form is HTML:
        context = {"listing": listing, "charged": told.charged is not False}
        response = render(request, "shop/withdrawn.html", context, status=410)
    else:
        message = "This article is no longer for sale. Buyers can still read it with their receipt or wallet."
        response = JsonResponse({"error": "withdrawn", "message": message, "charged": told.charged}, status=410)
    response["PAYMENT-REQUIRED"] = http.encoded(terms)
    return http.sealed(response)


def _other_method(request: HttpRequest) -> HttpResponse:
    response = HttpResponse(status=204 if request.method == "OPTIONS" else 405)
    response["Allow"] = "GET, HEAD, OPTIONS"
    if request.method == "OPTIONS":
        response["Access-Control-Allow-Methods"] = "GET, HEAD, OPTIONS"
        # The official clients send Access-Control-Expose-Headers, a header of answers, along with a payment.
        response["Access-Control-Allow-Headers"] = (
            "Accept, Authorization, PAYMENT-SIGNATURE, X-PAYMENT, PAYMENT-RECEIPT, SIGN-IN-WITH-X,"
            " Access-Control-Expose-Headers"
        )
    return http.sealed(response)
