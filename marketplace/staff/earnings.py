"""The earnings page: read-only, for staff."""

import datetime
from collections.abc import Iterator

from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache

from payments import cards
from payments.books import accounts, ledger, reports
from payments.books.reports import Day
from payments.money import format_usd
from publishers import csv_files
from publishers.models import Publication

from .access import staff_only

_DAYS_SHOWN = 28
_DAYS_MAX = 366


@staff_only
@never_cache
def earnings(request: HttpRequest) -> HttpResponse:
    """Earnings by publication and UTC day, as a page or, with ?format=csv, as a file."""
    try:
        first, last = _period(request.GET.get("from", ""), request.GET.get("to", ""))
    except ValueError as error:
        return render(request, "staff/earnings.html", {"error": str(error)}, status=400)
    names = {publication.payee: publication.name for publication in Publication.objects.all()}
    if request.GET.get("format") == "csv":
        return csv_files.download(f"earnings-{first}-{last}.csv", _CSV_COLUMNS, _csv_rows(first, last, names))
    days = _days(first, last)
    context = {
        "rows": [(day, names.get(day.payee, day.payee)) for day in days],
        "first": first,
        "last": last,
        "sales": sum(day.sales for day in days),
        "gross_micros": sum(day.gross_micros for day in days),
        "earned_micros": sum(day.earned_micros for day in days),
        "fees_micros": sum(day.fees_micros for day in days),
        "fees_ever_micros": sum(ledger.balances(Q(code=accounts.PLATFORM_FEES)).values()),
        "cards": reports.cards() if cards.enabled() else None,
        "unclaimed_micros": ledger.balance(accounts.suspense(settings.CHAIN_ID)),
    }
    return render(request, "staff/earnings.html", context)


def _period(first: str, last: str) -> tuple[datetime.date, datetime.date]:
    """The days of a filter; empty ones are the last four weeks. Raises ValueError, with a sentence for the page."""
    to = _day(last) or timezone.now().date()
    since = _day(first) or to - datetime.timedelta(days=_DAYS_SHOWN - 1)
    if since > to:
        raise ValueError("The first day is after the last.")
    if (to - since).days > _DAYS_MAX:
        raise ValueError(f"Choose at most {_DAYS_MAX} days.")
    return since, to


def _day(text: str) -> datetime.date | None:
    if not text:
        return None
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError:
        day = datetime.date.min
    if not 2000 <= day.year < 2200:
        raise ValueError("This is not a date. Dates look like 2026-11-28.")
    return day


_CSV_COLUMNS = (
    *("day_utc", "publication", "payee", "sales", "currency", "gross_usd", "earned_usd", "fees_usd"),
    *("gross_micros", "earned_micros", "fees_micros"),
)


def _csv_rows(first: datetime.date, last: datetime.date, names: dict[str, str]) -> Iterator[tuple[object, ...]]:
    """The rows of the page, read day by day."""
    for ago in range((last - first).days + 1):
        on = last - datetime.timedelta(days=ago)
        for day in _days(on, on):
            micros = (day.gross_micros, day.earned_micros, day.fees_micros)
            name = names.get(day.payee, day.payee)
            yield (day.day, name, day.payee, day.sales, "USD", *map(format_usd, micros), *micros)


def _days(first: datetime.date, last: datetime.date) -> list[Day]:
    since = datetime.datetime.combine(first, datetime.time.min, datetime.UTC)
    return reports.earnings_by_day(since, datetime.datetime.combine(last, datetime.time.max, datetime.UTC))
