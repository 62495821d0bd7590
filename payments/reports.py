"""What was sold and earned, read-only: for publishers' pages and the owner's."""

import datetime
from dataclasses import dataclass

from django.db.models import Count, QuerySet, Sum
from django.db.models.functions import TruncDate

from . import ledger
from .models import OWNED, Payment, Posting


def sales(payee: str) -> QuerySet[Payment]:
    """The paid payments of one publication ("publisher:7"), the newest first."""
    return Payment.objects.filter(payee=payee, state__in=OWNED).order_by("-decided_at", "-id")


def earned_micros(payee: str) -> int:
    """What a publication has earned and not been paid out, in micros."""
    return ledger.balance(f"{payee}:earned")


@dataclass(frozen=True, slots=True)
class Day:
    """One publication's day: how many sales, what buyers paid, and whose share was how much, in micros."""

    day: datetime.date
    payee: str
    sales: int
    gross_micros: int
    earned_micros: int
    fees_micros: int


def earnings_by_day(since: datetime.datetime, until: datetime.datetime) -> list[Day]:
    """Earnings by publication and UTC day, the newest first, from the books' own postings; two statements."""
    lines = Posting.objects.filter(transaction__payment__decided_at__range=(since, until))
    by_day = lines.annotate(day=TruncDate("transaction__payment__decided_at", tzinfo=datetime.UTC))
    keys = ("day", "transaction__payment__payee")
    totals = by_day.values(*keys).annotate(sales=Count("transaction", distinct=True), gross=Sum("amount_micros"))
    fees = by_day.filter(target__code="platform:fees").values(*keys).annotate(fees=Sum("amount_micros"))
    fee_of = {tuple(row[key] for key in keys): row["fees"] for row in fees}
    days = []
    for row in totals.order_by("-day", "transaction__payment__payee"):
        key = tuple(row[name] for name in keys)
        fee = fee_of.get(key, 0)
        days.append(Day(key[0], key[1], row["sales"], row["gross"], row["gross"] - fee, fee))
    return days
