"""What the owner of the site sees of the money: read-only, for staff."""

import csv
import datetime

from django.conf import settings
from django.contrib.admin.views.decorators import staff_member_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache

from payments.books import accounts, ledger, reports
from payments.books.reports import Day
from payments.money import format_usd
from publishers.models import Publication

_DAYS_SHOWN = 28
_DAYS_MAX = 366


@staff_member_required(login_url="account_login")
@never_cache
def earnings(request: HttpRequest) -> HttpResponse:
    """Earnings by publication and UTC day, as a page or with ?format=csv as a file."""
    last = _day(request.GET.get("to", "")) or timezone.now().date()
    first = _day(request.GET.get("from", "")) or last - datetime.timedelta(days=_DAYS_SHOWN - 1)
    first = max(min(first, last), last - datetime.timedelta(days=_DAYS_MAX))
    since = datetime.datetime.combine(first, datetime.time.min, datetime.UTC)
    until = datetime.datetime.combine(last, datetime.time.max, datetime.UTC)
    days = reports.earnings_by_day(since, until)
    names = {f"publisher:{p.pk}": p.name for p in Publication.objects.all()}
    if request.GET.get("format") == "csv":
        return _csv(days, names, first, last)
    context = {
        "rows": [(day, names.get(day.payee, day.payee)) for day in days],
        "first": first,
        "last": last,
        "sales": sum(day.sales for day in days),
        "gross_micros": sum(day.gross_micros for day in days),
        "earned_micros": sum(day.earned_micros for day in days),
        "fees_micros": sum(day.fees_micros for day in days),
        "fees_ever_micros": sum(ledger.balances(Q(code=accounts.PLATFORM_FEES)).values()),
        "cards": reports.cards() if settings.STRIPE_SECRET_KEY else None,
        "unclaimed_micros": ledger.balance(accounts.suspense(settings.CHAIN_ID)),
    }
    return render(request, "staff/earnings.html", context)


def _day(text: str) -> datetime.date | None:
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError:
        return None
    return day if 2000 <= day.year < 2200 else None


def _csv(days: list[Day], names: dict[str, str], first: datetime.date, last: datetime.date) -> HttpResponse:
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="earnings-{first}-{last}.csv"'
    writer = csv.writer(response)
    writer.writerow(["day_utc", "publication", "payee", "sales", "gross_usd", "earned_usd", "fees_usd",
                     "gross_micros", "earned_micros", "fees_micros"])  # fmt: skip
    for day in days:
        name = names.get(day.payee, day.payee)
        micros = (day.gross_micros, day.earned_micros, day.fees_micros)
        writer.writerow([day.day, _plain(name), day.payee, day.sales, *map(format_usd, micros), *micros])
    return response


def _plain(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
