"""Sales and the balance. Every total links to the rows it sums."""

import uuid
import zoneinfo
from typing import Any

from django.conf import settings
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from payments.models import Posting
from publishers import csv_files, sales
from publishers.forms import SalesFilter
from publishers.models import Article, Publication

from .access import member

PAGE = 50


@require_GET
@member
def sale_list(request: HttpRequest, publication: Publication) -> HttpResponse:
    """The filtered sales, newest first. A filter that cannot be read gets 400 and shows no sale."""
    return _listed(request, publication, *_filtered(request, publication))


def _listed(request: HttpRequest, publication: Publication, form: SalesFilter, found: Any) -> HttpResponse:
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    conditions = request.GET.copy()
    conditions.pop("page", None)
    context = {
        "publication": publication,
        "form": form,
        "page": page,
        "lines": sales.lines(publication, page.object_list),
        "narrowed": any(conditions.values()),
        "conditions": conditions.urlencode(),
        "article": _filter_article(form, publication),
    }
    with timezone.override(zoneinfo.ZoneInfo(publication.time_zone)):
        return render(request, "studio/sales.html", context, status=400 if form.errors else 200)


@require_GET
@member
def sales_csv(request: HttpRequest, publication: Publication) -> HttpResponse:
    """The filtered sales as a CSV file; for a filter that cannot be read, the page that says so."""
    form, found = _filtered(request, publication)
    if form.errors:
        return _listed(request, publication, form, found)
    rows = sales.csv_rows(publication, found)
    return csv_files.download(f"{publication.slug}-sales.csv", sales.CSV_COLUMNS, rows)


@require_GET
@member
def sale(request: HttpRequest, publication: Publication, payment_id: uuid.UUID) -> HttpResponse:
    """One sale: the offer, the payment, and its breakdown."""
    payment = sales.of(publication, pk=payment_id).first()
    if payment is None:
        raise Http404("No such sale.")
    postings = Posting.objects.filter(transaction=payment.sale_id).select_related("source", "target")
    context = {
        "publication": publication,
        "line": sales.lines(publication, [payment])[0],
        "payment": payment,
        "postings": postings,
    }
    with timezone.override(zoneinfo.ZoneInfo(publication.time_zone)):
        return render(request, "studio/sale.html", context)


@require_GET
@member
def balance(request: HttpRequest, publication: Publication) -> HttpResponse:
    """How the balance is calculated: the totals, and every posting that changed it."""
    ours = publication.accounts
    moved = (
        Posting.objects.filter(Q(target__code__in=ours) | Q(source__code__in=ours))
        # The end of a hold changes no total: it only turns pending money into earned money.
        .exclude(transaction__kind="cleared")
        .select_related("transaction", "target", "transaction__payment")
        .order_by("-transaction__made_at", "-id")
    )
    page = Paginator(moved, PAGE).get_page(request.GET.get("page"))
    entries = _entries(publication, list(page.object_list))
    context = {
        "publication": publication,
        "totals": sales.totals(publication),
        "hold_days": settings.CLEARING_HOLD_SECONDS // 86_400,
        "page": page,
        "entries": entries,
    }
    with timezone.override(zoneinfo.ZoneInfo(publication.time_zone)):
        return render(request, "studio/balance.html", context)


_IN_WORDS = {
    "sale": "Your share of a reversed sale",
    "refund": "Refunded to the buyer",
    "charged_back": "Reversed (lost card dispute)",
    "reorganisation": "Reversed (chain reorganization)",
}


def _entries(publication: Publication, postings: list[Posting]) -> list[dict[str, Any]]:
    payments = {p.transaction_id: getattr(p.transaction, "payment", None) for p in postings}
    articles = sales.articles(publication, {payment.resource for payment in payments.values() if payment})
    rows = []
    for posting in postings:
        payment = payments[posting.transaction_id]
        incoming = posting.target.code in publication.accounts
        rows.append(
            {
                "made_at": posting.transaction.made_at,
                "kind": _IN_WORDS.get(posting.transaction.kind, posting.transaction.kind),
                "key": posting.transaction.key,
                "amount_micros": posting.amount_micros if incoming else -posting.amount_micros,
                "payment": payment,
                "rail": "purse" if posting.target.asset == "USD" else "exact",
                "article": articles.get(payment.resource) if payment else None,
            }
        )
    return rows


def _filtered(request: HttpRequest, publication: Publication) -> tuple[SalesFilter, Any]:
    form = SalesFilter(request.GET)
    if not form.is_valid():
        return form, sales.of(publication).none()
    return form, sales.of(publication, **form.narrow(zoneinfo.ZoneInfo(publication.time_zone)))


def _filter_article(form: SalesFilter, publication: Publication) -> Article | None:
    wanted = form.cleaned_data.get("article")
    return Article.objects.filter(publication=publication, pk=wanted).first() if wanted else None
