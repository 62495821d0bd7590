"""Reports of sales and earnings, for the pages of publishers and of the shop's owner. Nothing here writes the books."""

import datetime
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Count, F, Q, QuerySet, Sum, Value
from django.db.models.functions import Concat, TruncDate

from payments.books import accounts
from payments.ids import lowest_at
from payments.models import OWNED, Payment, PaymentState, Posting, Purse, SalesCount, Transaction

from . import ledger


def sales(payee: str) -> QuerySet[Payment]:
    """The paid payments of one publication ("publisher:7"), newest first."""
    return Payment.objects.filter(payee=payee, state__in=OWNED).order_by("-decided_at", "-id")


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the books hold for one publication, in micros.

    Only `on_chain_micros` and `from_cards_micros` may be paid out. The others can still be lost: sales that are not
    final on the chain yet, and sales from purses whose hold has not ended.
    """

    on_chain_micros: int
    not_final_micros: int
    from_cards_micros: int
    pending_micros: int

    @property
    def all_micros(self) -> int:
        """The total, in micros."""
        return self.on_chain_micros + self.from_cards_micros + self.held_back_micros

    @property
    def held_back_micros(self) -> int:
        """What may not be paid out yet, in micros."""
        return self.not_final_micros + self.pending_micros


def holdings(payees: Sequence[str]) -> dict[str, Holdings]:
    """The holdings of each of these publications, read in four queries."""
    codes = [name(payee) for payee in payees for name in (accounts.earned, accounts.pending)]
    held = ledger.balances(Q(code__in=codes))
    young = _not_final(payees)
    return {
        payee: Holdings(
            held.get((accounts.earned(payee), accounts.USDC), 0) - young.get(payee, 0),
            young.get(payee, 0),
            held.get((accounts.earned(payee), accounts.USD), 0),
            held.get((accounts.pending(payee), accounts.USD), 0),
        )
        for payee in payees
    }


def _not_final(payees: Sequence[str]) -> dict[str, int]:
    """The shares, in micros, of sales on the chain that a reorganisation could still reverse."""
    young = Payment.objects.filter(payee__in=payees, rail="exact", state=PaymentState.CONFIRMED)
    share = Q(sale__postings__target__code=Concat("payee", Value(":earned")))
    return dict(young.filter(share).values_list("payee").annotate(Sum("sale__postings__amount_micros")))


@dataclass(frozen=True, slots=True)
class Cards:
    """The card business in micros: at the processor, prepaid, owed on tabs, fees, losses, and unexplained movements."""

    at_processor_micros: int
    prepaid_micros: int
    owed_micros: int
    costs_micros: int
    losses_micros: int
    unknown_micros: int


def cards() -> Cards:
    """The current totals of cards and purses, read in four queries."""
    held = {code: amount for (code, _), amount in ledger.balances(_OF_CARDS).items()}
    purses = Purse.objects.aggregate(
        prepaid=Sum("balance_micros", filter=Q(balance_micros__gt=0)),
        owed=Sum("balance_micros", filter=Q(balance_micros__lt=0)),
    )
    return Cards(
        at_processor_micros=-held.get(accounts.STRIPE, 0),
        prepaid_micros=purses["prepaid"] or 0,
        owed_micros=-(purses["owed"] or 0),
        costs_micros=-held.get(accounts.PROCESSOR_FEES, 0),
        losses_micros=-sum(held.get(code, 0) for code in _LOSSES),
        unknown_micros=held.get(accounts.STRIPE_SUSPENSE, 0),
    )


_LOSSES = (accounts.CHARGEBACK_LOSSES, accounts.DISPUTE_FEES, accounts.FORGIVEN_DEBTS)
_OF_CARDS = Q(code__in=(accounts.STRIPE, accounts.STRIPE_SUSPENSE, accounts.PROCESSOR_FEES, *_LOSSES))


@dataclass(frozen=True, slots=True)
class Day:
    """One publication's day: the number of sales, what buyers paid, and each party's share, in micros."""

    day: datetime.date
    payee: str
    sales: int
    gross_micros: int
    earned_micros: int
    fees_micros: int


def earnings_by_day(since: datetime.datetime, until: datetime.datetime) -> list[Day]:
    """Earnings by publication and UTC day, newest first, read from the postings in two queries."""
    lines = Posting.objects.filter(transaction__payment__decided_at__range=(since, until))
    by_day = lines.annotate(day=TruncDate("transaction__payment__decided_at", tzinfo=datetime.UTC))
    keys = ("day", "transaction__payment__payee")
    totals = by_day.values(*keys).annotate(sales=Count("transaction", distinct=True), gross=Sum("amount_micros"))
    fees = by_day.filter(target__code=accounts.PLATFORM_FEES).values(*keys).annotate(fees=Sum("amount_micros"))
    fee_of = {tuple(row[key] for key in keys): row["fees"] for row in fees}
    days = []
    for row in totals.order_by("-day", "transaction__payment__payee"):
        key = tuple(row[name] for name in keys)
        fee = fee_of.get(key, 0)
        days.append(Day(key[0], key[1], row["sales"], row["gross"], row["gross"] - fee, fee))
    return days


# An identifier has the time at which it was made: by a clock that may be wrong by this, some seconds before its commit.
_COUNTED_AFTER = datetime.timedelta(minutes=2)


def count_sales(now: datetime.datetime) -> None:
    """Add to the count of each rail the sales that have been made since, up to two minutes ago, and still stand."""
    until = lowest_at(now - _COUNTED_AFTER)
    with transaction.atomic():
        counts = list(SalesCount.objects.select_for_update())
        since = max((one.counted_to for one in counts), default=uuid.UUID(int=0))
        new = Transaction.objects.filter(kind=accounts.Kind.SALE, id__gte=since, id__lt=until, payment__isnull=False)
        for rail, number in new.values_list("payment__rail").annotate(Count("id")).order_by():
            SalesCount.objects.get_or_create(rail=rail, defaults={"counted_to": since})
            SalesCount.objects.filter(rail=rail).update(number=F("number") + number)
        SalesCount.objects.filter(counted_to__lt=until).update(counted_to=until)
