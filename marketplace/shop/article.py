"""The article view: every purchase starts and ends here.

It finds the article, asks the gate, renders, lets the gate settle, and sends. It knows no rail and computes no amounts.
"""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from marketplace.reader import library
from marketplace.reader.card_pages import SeeOther
from marketplace.reader.purse import purse_id_of
from payments import gate, http, purses
from payments.money import dollars
from payments.offers import Offer, Presented
from publishers.articles import catalogue
from publishers.articles.catalogue import Body, Listing
from publishers.models import Article

from . import listings, paywall, representations
from .representations import HTML, Representation

_METHODS = "GET, HEAD, OPTIONS"
# So many other articles of its publication stand in the place of one that is no longer for sale.
_OTHERS = 6


def article(request: HttpRequest, slug: str, suffix: str = "") -> HttpResponse:
    """Sell one article to one request, or serve it to an owner."""
    if request.method not in ("GET", "HEAD"):
        return _other_method(request, representations.wanted(request, suffix))
    wanted = representations.wanted(request, suffix)
    listing = listings.find(slug)
    if listing is None:
        raise Http404
    presented = http.presented(request, library.held(request, listing.resource), purse_id_of(request))
    if presented == http.NOTHING:
        return _required(request, wanted, listing, listing.offer(wanted.audience, mime_type=wanted.mime_type))
    listing = catalogue.find(slug, include_withdrawn=True) or listing
    quotable = http.needs_quotable(presented)
    offer = listing.offer(wanted.audience, mime_type=wanted.mime_type, with_quotable=quotable)
    try:
        return _sold(request, wanted, listing, presented, offer)
    except gate.REFUSALS as error:
        return _refused(request, wanted, listing, offer, http.problem(error))


def _sold(
    request: HttpRequest, wanted: Representation, listing: Listing, presented: Presented, offer: Offer
) -> HttpResponse:
    """Verify, render, settle, send. If rendering fails, the buyer has not been charged."""
    admission = gate.verify(presented, offer)
    if admission.sells and listing.state != "published":
        raise gate.PaymentRequired(offer)
    body = _body(request, listing, admission)
    response = representations.written(request, wanted, listing, body, admission.grant)
    admitted = admission.settle()
    machine_reads = wanted is not HTML and request.method == "GET"
    if machine_reads and not purses.read_by_machine(admitted.grant, admitted.payment):
        raise gate.PaymentRequired(offer)
    # A key's purchase never enters the session's library, because the session would outlive the key.
    if wanted is HTML and admitted.proven and presented.bearer is None:
        library.remember(request, admitted.grant)
    return http.with_receipt(response, admitted, offer, request)


def _body(request: HttpRequest, listing: Listing, admission: gate.Admission) -> Body:
    """The current text, or an earlier version with ?version=N, but none before the version bought."""
    number = None
    if (asked := request.GET.get("version", "")).isascii() and asked.isdigit() and len(asked) < 9:
        number = max(int(asked), admission.version)
    body = catalogue.body(listing.article_id, number)
    if body is None:
        raise Http404
    return body


def _required(
    request: HttpRequest, wanted: Representation, listing: Listing, offer: Offer, told: http.Problem = http.UNPAID
) -> HttpResponse:
    """The 402: JSON for agents, the paywall for people."""
    if listing.state != "published":
        return _withdrawn(request, wanted, listing, told, http.terms_of_withdrawn(offer))
    terms = http.terms(offer, told.word, challenges=http.bearer_token(request) is not None)
    if wanted is not HTML:
        return http.required(told, terms)
    return http.with_terms(_paywall(request, listing, terms, told), terms)


def _refused(
    request: HttpRequest, wanted: Representation, listing: Listing, offer: Offer, told: http.Problem
) -> HttpResponse:
    if told.status == 402:
        return _required(request, wanted, listing, offer, told)
    if wanted is not HTML:
        return http.refusal(told)
    page = http.named(_paywall(request, listing, http.terms(offer), told), told.word)
    return http.sealed(http.later(page) if told.status == 503 else page)


def _paywall(request: HttpRequest, listing: Listing, terms: http.Terms, told: http.Problem) -> HttpResponse:
    error = {"word": told.word, "sentence": told.sentence, "charged": told.charged is not False}
    signed_in = settings.SESSION_COOKIE_NAME in request.COOKIES and request.user.is_authenticated
    if signed_in and not told.sentence and paywall.is_publisher(request.user, listing):
        return render(request, "shop/own.html", {"listing": listing}, status=told.status)
    context = {
        "listing": listing,
        "price": dollars(listing.people.amount_micros),
        "terms": terms.message,
        "network_name": settings.CHAIN_NAME,
        "signed_in": signed_in,
        "error": error if told.sentence else None,
        "article_url": listing.url,
        "md_url": f"{listing.url}.md",
        "json_url": f"{listing.url}.json",
        "expires_minutes": settings.QUOTE_SECONDS // 60,
        "wallet_rpc_url": settings.WALLET_RPC_URL,
        # While a wallet payment is pending, and after it was made, the page does not ask for a second payment.
        "cards": paywall.choices(request, terms) if told.status in (400, 402) else None,
        "refund_minutes": settings.REFUND_SECONDS // 60,
        "refund_fee": settings.REFUND_FEE_PAID_BY == "buyer",
    }
    return render(request, "shop/paywall.html", context, status=told.status)


def _withdrawn(
    request: HttpRequest, wanted: Representation, listing: Listing, told: http.Problem, terms: http.Terms
) -> HttpResponse:
    """410: no longer for sale. Buyers can still read; a buyer with only a wallet answers the challenge in the terms."""
    others = list(Article.objects.on_sale().filter(publication=listing.publication_id)[:_OTHERS])
    if wanted is HTML:
        context = {"listing": listing, "charged": told.charged is not False, "others": others}
        response = render(request, "shop/withdrawn.html", context | {"owned": library.owned(request)}, status=410)
    else:
        message = "This article is no longer for sale. Buyers can still read it with their receipt or wallet."
        said = {
            "error": "withdrawn",
            "message": message,
            "charged": told.charged,
            "documentation": http.documentation(),
        }
        said["others"] = [{"title": str(other), "url": other.url} for other in others]
        response = JsonResponse(said, status=410)
    response["PAYMENT-REQUIRED"] = terms.headers["PAYMENT-REQUIRED"]
    return http.sealed(response)


def _other_method(request: HttpRequest, wanted: Representation) -> HttpResponse:
    if request.method == "OPTIONS":
        return http.preflight(request, _METHODS)
    if wanted is HTML:
        response: HttpResponse = SeeOther(request.path)  # A page that was sent by mistake, or reloaded.
    else:
        sentence = "Request the article with GET. The payment goes into a header of that request."
        response = http.refusal(http.Problem(405, "method_not_allowed", sentence))
    response["Allow"] = _METHODS
    return http.sealed(response)
