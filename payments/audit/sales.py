"""The audit of purchases: payments, sales, grants, authorizations and transfers name each other, once each."""

from typing import Any

from django.db.models import Case, CharField, Count, Exists, F, OuterRef, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Cast, Coalesce, Concat

from payments.models import OWNED, Authorization, Grant, Payment, Transfer

from .findings import rule


def _owned(**which: Any) -> QuerySet:
    return Payment.objects.filter(state__in=OWNED, **which)


@rule("payment_without_sale", "A paid payment has no sale.")
def _unsold() -> QuerySet:
    return _owned().exclude(sale__kind="sale")


@rule("sale_differs", "A sale differs from its payment.")
def _sold_otherwise() -> QuerySet:
    """Every paid payment has its own sale, of its amount, to its payee and the platform."""
    line = "sale__postings"
    share = Case(When(rail="purse", then=Value(":pending")), default=Value(":earned"))
    publishers = Q(**{f"{line}__target__code": Concat("payee", share)})
    booked = _owned().annotate(
        posted=Coalesce(Sum(f"{line}__amount_micros"), 0),
        lines=Count(line),
        earned=Count(line, filter=publishers),
        fees=Count(line, filter=Q(**{f"{line}__target__code": "platform:fees"})),
    )
    return booked.exclude(Q(posted=F("amount_micros"), earned=1, fees__lte=1, lines=F("earned") + F("fees")))


@rule("payment_without_grant", "A paid payment has no live grant or several.")
def _not_granted_once() -> QuerySet:
    live = Q(grants__revoked_at=None, grants__isnull=False)
    return _owned().annotate(held=Count("grants", filter=live)).exclude(held=1)


@rule("grant_without_payment", "A grant has no paid payment.")
def _granted_for_nothing() -> QuerySet:
    return Grant.objects.filter(~Exists(_owned(id=OuterRef("payment_id"))), revoked_at=None)


@rule("grant_differs", "A grant names another buyer or resource than its payment.")
def _granted_otherwise() -> QuerySet:
    granted = Grant.objects.filter(revoked_at=None)
    return granted.exclude(buyer=F("payment__buyer"), resource=F("payment__resource"))


@rule("authorization_twice", "An authorization was claimed twice.")
def _spent_twice() -> QuerySet:
    keys = Authorization.objects.values("chain_id", "token", "payer", "nonce").annotate(n=Count("payment_id"))
    return keys.filter(n__gt=1).values_list("nonce")


@rule("payment_without_proof", "A payment has no authorization.")
def _unproven() -> QuerySet:
    return Payment.objects.filter(rail="exact", authorization=None)


def _seen() -> QuerySet:
    return Transfer.objects.filter(orphaned_at=None)


@rule("transfer_unbooked", "A transfer is in no transaction.")
def _unbooked() -> QuerySet:
    return _seen().filter(received=None).exclude(value=0)


@rule("transfer_differs", "A transfer's transaction has another amount.")
def _booked_otherwise() -> QuerySet:
    booked = _seen().exclude(received=None)
    totals = booked.annotate(posted=_digits(Coalesce(Sum("received__postings__amount_micros"), 0)))
    return totals.exclude(value=F("posted"))


@rule("payment_without_transfer", "A paid payment has no transfer or several.")
def _not_moved_once() -> QuerySet:
    moved = Count("transfers", filter=Q(transfers__orphaned_at=None))
    return _owned(rail="exact").annotate(moved=moved).exclude(moved=1)


@rule("transfer_of_another", "A transfer is not the one its payment authorized.")
def _anothers_transfer() -> QuerySet:
    """On arrival a transfer is posted as its payment's sale, or to suspense if it was still unclaimed."""
    proof = "payment__authorization__"
    same = {name: F(proof + name) for name in ("chain_id", "token", "nonce", "recipient")}
    right = Q(sender=F(f"{proof}payer"), value=_digits(F("payment__amount_micros")), **same)
    posted = Q(received=F("payment__sale")) | Q(received__kind="unclaimed")
    return _seen().exclude(payment=None).exclude(right & posted)


def _digits(number: Any) -> Cast:
    """A number as decimal digits, the form in which transfers store theirs (a uint256 fits no integer column)."""
    return Cast(number, CharField(max_length=78))


RULES = (
    *(_unsold, _sold_otherwise, _not_granted_once, _granted_for_nothing, _granted_otherwise),
    *(_spent_twice, _unproven, _unbooked, _booked_otherwise, _not_moved_once, _anothers_transfer),
)
