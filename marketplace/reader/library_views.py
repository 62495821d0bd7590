"""The library and receipt pages. No paid text passes through this module."""

import uuid
from collections.abc import Iterable
from datetime import timedelta

from django.conf import settings
from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from marketplace.paging import SEARCH_MAX, page_of
from payments import card_receipts, cards, gate, rails
from payments.models import Debit, Grant
from payments.offers import Presented
from payments.proofs import receipts
from publishers.articles import catalogue
from publishers.articles.manuscript import one_line
from publishers.models import PEOPLE, Article, Membership

from . import joining, library

_TOKEN_MAX = 200


@require_safe
@never_cache
def signed_in(request: HttpRequest) -> HttpResponse:
    """The landing page after sign-in: the studio for publishers, the library for readers."""
    sells = request.user.is_authenticated and Membership.objects.filter(user=request.user).exists()
    return redirect("studio" if sells else "library")


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def overview(request: HttpRequest) -> HttpResponse:
    """What this browser or account has bought. Posting a receipt adds its article."""
    if request.method == "POST" and "mailed" in request.POST:
        return _opened(request, request.POST["mailed"])
    if request.method == "POST":
        return _redeemed(request, "".join(request.POST.get("receipt", "").split()))
    words = one_line(request.GET.get("q", ""))[:SEARCH_MAX]
    grants = _held_grants(request).order_by("-made_at", "-id")
    page = page_of(request, _found(grants, words) if words else grants)
    articles = _articles(grant.resource for grant in page)
    returnable = library.returnable(request, page)
    agents = dict(
        Debit.objects.filter(payment__in=[grant.payment_id for grant in page])
        .exclude(key=None)
        .values_list("payment_id", "key__name")
    )
    entries = [
        {
            "grant": grant,
            "article": articles.get(grant.resource),
            "agent": agents.get(grant.payment_id),
            "returnable": grant.id in returnable,
        }
        for grant in page
    ]
    context = {
        "page": page,
        "entries": entries,
        "words": words,
        "mailed": request.GET.get("mailed", "")[:_TOKEN_MAX],
        "refund_minutes": settings.REFUND_SECONDS // 60,
        "guests": joining.waiting_guests(request) if cards.enabled() else [],
    }
    return render(request, "reader/library.html", context)


@require_safe
@never_cache
def receipt(request: HttpRequest, grant_id: uuid.UUID) -> HttpResponse:
    """The receipt of one purchase, with the signed code that opens the article again. Only for holders of the grant."""
    grant = get_object_or_404(_held_grants(request), pk=grant_id)
    try:
        listing = catalogue.listing(uuid.UUID(grant.resource.removeprefix("article:")))
    except (Article.DoesNotExist, ValueError) as error:
        raise Http404 from error
    offer = listing.offer(PEOPLE, mime_type="text/html")
    signed = gate.receipt_of(grant, offer)
    refundable_until = (grant.payment.decided_at or grant.made_at) + timedelta(seconds=settings.REFUND_SECONDS)
    context = {
        "grant": grant,
        "payment": grant.payment,
        "from_balance": rails.named(grant.payment.rail).from_balance,
        "listing": listing,
        "signed": signed,
        "told": receipts.read(signed),
        "network_name": settings.CHAIN_NAME,
        "debit": Debit.objects.filter(payment=grant.payment).select_related("key").first(),
        "returnable": bool(library.returnable(request, [grant])),
        "refund_minutes_left": max(1, (refundable_until - timezone.now()) // timedelta(minutes=1)),
    }
    return render(request, "reader/receipt.html", context)


def _opened(request: HttpRequest, token: str) -> HttpResponse:
    """Redirect to the article whose purchase was mailed with this link."""
    grant = card_receipts.grant_of(token[:_TOKEN_MAX])
    article = _articles([grant.resource]).get(grant.resource) if grant else None
    if grant is None or article is None:
        messages.error(request, "This link no longer opens an article. You have not been charged.")
        return redirect("library")
    library.remember(request, grant)
    return redirect(article.get_absolute_url())


def _redeemed(request: HttpRequest, signed: str) -> HttpResponse:
    """Redirect to the article that a pasted receipt opens. The gate verifies it like the receipt header."""
    told = receipts.read(signed)
    slug = told.resource_url.removeprefix(f"{settings.BASE_URL}/articles/") if told else ""
    if listing := catalogue.find(slug, include_withdrawn=True):
        offer = listing.offer(PEOPLE, mime_type="text/html")
        try:
            admitted = gate.verify(Presented(receipt=signed), offer).settle()
        except gate.REFUSALS:
            pass
        else:
            library.remember(request, admitted.grant)
            return redirect(listing.path)
    messages.error(
        request, "This receipt code does not open an article here. Copy the whole code. You have not been charged."
    )
    return redirect("library")


def _held_grants(request: HttpRequest) -> QuerySet[Grant]:
    return library.grants(request).select_related("payment__authorization")


def _found(grants: QuerySet[Grant], words: str) -> QuerySet[Grant]:
    """The grants whose article has every word in its title or publication name."""
    ids = [resource.removeprefix("article:") for resource in grants.order_by().values_list("resource", flat=True)]
    articles = Article.objects.filter(pk__in=ids)
    for word in words.split():
        articles = articles.filter(Q(current_version__title__icontains=word) | Q(publication__name__icontains=word))
    return grants.filter(resource__in=[f"article:{pk}" for pk in articles.values_list("pk", flat=True)])


def _articles(resources: Iterable[str]) -> dict[str, Article]:
    ids = [resource.removeprefix("article:") for resource in resources]
    found = Article.objects.filter(pk__in=ids).select_related("publication", "current_version")
    return {
        article.resource: article for article in found.defer("current_version__body_html", "current_version__markdown")
    }
