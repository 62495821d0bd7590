"""What a publication sold, line by line, with the share it keeps. Reads the books; writes nothing."""

import datetime
import zoneinfo
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q, QuerySet, Sum
from django.utils import timezone

from payments import rails
from payments.books import reports
from payments.books.reports import Holdings
from payments.models import Payment, PaymentState, Posting
from payments.money import format_usd

from .models import AGENTS, AUDIENCES, PEOPLE, Article, Publication

CSV_COLUMNS = (
    *("sale", "sold_at_utc", "sold_at_local", "time_zone", "article", "title", "version", "sold_to", "buyer"),
    *("currency", "price_usd", "fee_usd", "kept_usd", "price_micros", "fee_micros", "kept_micros", "state"),
)
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Line:
    """One sale as its publisher sees it. Amounts are in micros; the fee and the share come from the books."""

    id: Any
    sold_at: datetime.datetime
    rail: str
    audience: str
    buyer: str
    version: int
    state: str
    price_micros: int
    fee_micros: int
    kept_micros: int
    pending: bool
    article: Article | None
    resource: str

    @property
    def title(self) -> str:
        """The article's current title."""
        return str(self.article) if self.article else self.resource


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all sales of a publication, in micros."""

    count: int
    price_micros: int
    fee_micros: int
    kept_micros: int
    holdings: Holdings

    @property
    def balance_micros(self) -> int:
        """Everything that the books hold for the publication, pending or not."""
        return self.holdings.all_micros

    @property
    def other_micros(self) -> int:
        """What changed the balance besides sales."""
        return self.balance_micros - self.kept_micros


def of(publication: Publication, **conditions: Any) -> QuerySet[Payment]:
    """The confirmed payments to a publication, newest first."""
    return reports.sales(publication.payee).filter(**conditions)


def lines(publication: Publication, payments: Iterable[Payment]) -> list[Line]:
    """Payments with their articles and their shares, in three queries for any number of payments."""
    payments = list(payments)
    shares = _shares(publication, payments)
    known = articles(publication, {payment.resource for payment in payments})
    return [
        Line(
            id=payment.id,
            sold_at=payment.decided_at,
            rail=payment.rail,
            audience=payment.audience,
            buyer=payment.buyer,
            version=payment.version,
            state=payment.state,
            price_micros=payment.amount_micros,
            fee_micros=payment.amount_micros - shares.get(payment.sale_id, 0),
            kept_micros=shares.get(payment.sale_id, 0),
            pending=rails.named(payment.rail).from_balance and payment.state == PaymentState.CONFIRMED,
            article=known.get(payment.resource),
            resource=payment.resource,
        )
        for payment in payments
    ]


def totals(publication: Publication) -> Totals:
    """What was paid, what the platform took, what was kept, and the balance the books hold now."""
    sold = of(publication).order_by()
    paid = sold.aggregate(count=Count("pk"), price=Sum("amount_micros"))
    kept = Posting.objects.filter(
        transaction_id__in=sold.values("sale_id"), target__code__in=publication.accounts
    ).aggregate(sum=Sum("amount_micros"))["sum"]
    price, kept = paid["price"] or 0, kept or 0
    held = reports.holdings([publication.payee])[publication.payee]
    return Totals(paid["count"], price, price - kept, kept, held)


def counts(publication: Publication) -> dict[str, int]:
    """The number of sales: to people, to agents, in total, and in the last seven days."""
    week = timezone.now() - datetime.timedelta(days=7)
    sold = of(publication).order_by()
    by_audience = dict(sold.values_list("audience").annotate(Count("pk")))
    found = {audience: by_audience.get(audience, 0) for audience in AUDIENCES}
    return {**found, "all": found[PEOPLE] + found[AGENTS], "week": sold.filter(decided_at__gte=week).count()}


def best_sellers(publication: Publication, many: int = 5) -> list[dict[str, Any]]:
    """The articles that sold most often: article, count, micros paid."""
    rows = (
        of(publication)
        .order_by()
        .values("resource")
        .annotate(count=Count("pk"), paid_micros=Sum("amount_micros"))
        .order_by("-count", "resource")[:many]
    )
    found = articles(publication, {row["resource"] for row in rows})
    return [{**row, "article": found[row["resource"]]} for row in rows if row["resource"] in found]


def articles(publication: Publication, resources: set[str]) -> dict[str, Article]:
    """The publication's articles with these resource names, by resource, in one query."""
    ids = [resource.removeprefix("article:") for resource in resources]
    found = publication.articles.filter(pk__in=ids).for_lists()
    return {article.resource: article for article in found}


def per_article(publication: Publication, some: Iterable[Article]) -> dict[str, int]:
    """How often each of these articles was sold, by resource."""
    sold = of(publication, resource__in=[article.resource for article in some]).order_by()
    return dict(sold.values_list("resource").annotate(Count("pk")))


def csv_rows(publication: Publication, payments: QuerySet[Payment]) -> Iterator[list[object]]:
    """The sales as rows under CSV_COLUMNS: decimal dollars and whole micros, UTC and the publication's zone.

    Only a few hundred sales are in memory at a time.
    """
    zone = zoneinfo.ZoneInfo(publication.time_zone)
    for page in _pages(payments):
        for line in lines(publication, page):
            yield _cells(line, zone)


def _pages(payments: QuerySet[Payment]) -> Iterator[list[Payment]]:
    """These payments in lists of at most `_CHUNK`. Each begins after the last one, so no cursor stays open."""
    rest = payments
    while page := list(rest[:_CHUNK]):
        yield page
        last = page[-1]
        older = Q(decided_at__lt=last.decided_at) | Q(decided_at=last.decided_at, id__lt=last.id)
        # The first condition says nothing new, but the index answers it.
        rest = payments.filter(decided_at__lte=last.decided_at).filter(older)


def _cells(line: Line, zone: zoneinfo.ZoneInfo) -> list[object]:
    return [
        line.id,
        line.sold_at.astimezone(datetime.UTC).isoformat(timespec="seconds"),
        line.sold_at.astimezone(zone).isoformat(timespec="seconds"),
        zone.key,
        line.article.slug if line.article else line.resource,
        line.title,
        line.version,
        line.audience,
        line.buyer,
        "USD",
        *map(format_usd, (line.price_micros, line.fee_micros, line.kept_micros)),
        *(line.price_micros, line.fee_micros, line.kept_micros),
        line.state,
    ]


def _shares(publication: Publication, payments: list[Payment]) -> dict[Any, int]:
    """What the books credited to the publication, by sale transaction."""
    kept = Posting.objects.filter(
        transaction_id__in=[payment.sale_id for payment in payments], target__code__in=publication.accounts
    )
    return dict(kept.values_list("transaction_id").annotate(Sum("amount_micros")))
