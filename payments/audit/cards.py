"""The audit of purses and cards: balances equal their postings, and charges and refunds match the books.

The audit reads only the database, in the caller's snapshot. Reconciliation compares it with the processor.
"""

import uuid
from collections.abc import Iterator, Mapping

from django.db.models import CharField, Count, Exists, F, OuterRef, Q, QuerySet, Sum, Value
from django.db.models.functions import Cast, Coalesce, Concat, Least, Replace, Substr

from payments.models import OWNED, ApiKey, CardRefund, Charge, Debit, Dispute, Payment, PaymentState, Purse, Transaction

from .findings import Finding, finding, rule


def findings(balances: Mapping[tuple[str, str], int]) -> Iterator[Finding]:
    """What no single query shows, given every account's balance in micros by its code and asset."""
    yield from _balances_are_entries({code: amount for (code, _), amount in balances.items()})
    yield from _debits_name_who_paid()
    yield from _charges_are_booked()
    yield from _refunds_are_reserved({code: amount for (code, _), amount in balances.items()})


def _balances_are_entries(found: Mapping[str, int]) -> Iterator[Finding]:
    """Every purse's balance is the sum of its postings, and `owing_since` is set exactly when it is negative."""
    purses = list(Purse.objects.values_list("id", "balance_micros", "owing_since"))
    known = {f"buyer:{pk}:balance" for pk, *_ in purses}
    wrong = (pk for pk, balance, _ in purses if found.get(f"buyer:{pk}:balance", 0) != balance)
    yield from finding("balance_differs", "A buyer's balance is not the sum of its postings.", wrong)
    owning = (pk for pk, balance, since in purses if (balance < 0) != (since is not None))
    yield from finding("owing_since_differs", "A balance's debt date is wrong.", owning)
    kept = ((code, amount) for code, amount in found.items() if code.startswith("buyer:") and code.endswith(":balance"))
    nobody = (code for code, amount in kept if amount and code not in known)
    yield from finding("balance_of_nobody", "The books hold money for a balance that does not exist.", nobody)


def _debits_name_who_paid() -> Iterator[Finding]:
    """Every debit names the purse that paid, or the purse it was joined to."""
    joined = dict(Purse.objects.exclude(joined_to=None).values_list("id", "joined_to_id"))
    rows = Debit.objects.filter(payment__rail="purse").values_list("payment_id", "purse_id", "payment__buyer")
    payers = ((pk, purse, _purse_id(buyer)) for pk, purse, buyer in rows.iterator())
    wrong = (pk for pk, purse, payer in payers if purse != joined.get(payer, payer))
    yield from finding("debit_of_another", "A debit names another balance than the buyer's.", wrong)


def _purse_id(buyer: str) -> uuid.UUID:
    """The purse id in a buyer's name, or an id that matches no purse."""
    try:
        return uuid.UUID(buyer.removeprefix("purse:"))
    except ValueError:
        return uuid.UUID(int=0)


def _charges_are_booked() -> Iterator[Finding]:
    """Every successful charge has one transaction of its amount, and no other charge has one."""
    entries = Transaction.objects.filter(kind="card_paid").values_list("key").annotate(Sum("postings__amount_micros"))
    booked = {key.removeprefix("card_paid:"): amount for key, amount in entries}
    succeeded = Charge.objects.filter(state=Charge.State.SUCCEEDED)
    paid = dict(succeeded.values_list("stripe_charge_id", "amount_micros"))
    unbooked, invented = paid.keys() - booked.keys(), booked.keys() - paid.keys()
    yield from finding("charge_unbooked", "A card was charged, but the books do not record it.", unbooked)
    yield from finding("entry_without_charge", "The books record card money without a charge.", invented)
    differing = (key for key in booked.keys() & paid.keys() if booked[key] != paid[key])
    yield from finding("charge_differs", "A charge's transaction has another amount.", differing)


def _refunds_are_reserved(balances: Mapping[str, int]) -> Iterator[Finding]:
    """Exactly the pending refunds are set aside."""
    asked = CardRefund.objects.filter(state=CardRefund.State.ASKED, ours=True)
    aside = dict(asked.values_list("charge__purse_id").annotate(Sum("amount_micros")))
    held = ((c, amount) for c, amount in balances.items() if c.startswith("buyer:") and c.endswith(":refunding"))
    # What is set aside for a guest stays in the guest's account when the purse is joined to another.
    joined = {str(pk): str(owner) for pk, owner in Purse.objects.exclude(joined_to=None).values_list("id", "joined_to")}
    by_purse: dict[str, int] = {}
    for code, amount in held:
        pk = code.split(":")[1]
        by_purse[joined.get(pk, pk)] = by_purse.get(joined.get(pk, pk), 0) + amount
    expected = {joined.get(str(pk), str(pk)): amount for pk, amount in aside.items()}
    wrong = sorted(pk for pk in by_purse.keys() | expected.keys() if by_purse.get(pk, 0) != expected.get(pk, 0))
    yield from finding("refunding_differs", "The money reserved for refunds differs from the requested refunds.", wrong)


def _bought() -> QuerySet:
    return Payment.objects.filter(rail="purse")


@rule("payment_without_debit", "A payment from a balance has no debit.")
def _not_debited() -> QuerySet:
    return _bought().filter(debit=None)


@rule("sale_from_another", "A purchase was paid from a balance that is not its buyer's.")
def _paid_by_another() -> QuerySet:
    owner = Concat(Value("buyer:"), Substr("buyer", len("purse:") + 1), Value(":balance"))
    own = Count("sale__postings", filter=Q(sale__postings__source__code=owner))
    lines = _bought().filter(state__in=OWNED).annotate(lines=Count("sale__postings"), own=own)
    return lines.exclude(lines=F("own"))


@rule("purse_payment_open", "A payment from a balance is neither paid nor refunded.")
def _undecided() -> QuerySet:
    return _bought().exclude(state__in=(PaymentState.CONFIRMED, PaymentState.FINAL, PaymentState.REFUNDED))


def _cleared() -> Exists:
    key = Concat(Value("cleared:"), Replace(Cast(OuterRef("id"), CharField()), Value("-"), Value("")))
    return Exists(Transaction.objects.filter(kind="cleared", key=key))


@rule("final_not_cleared", "A payment is final, but its hold never ended.")
def _not_cleared() -> QuerySet:
    return _bought().filter(~_cleared(), state=PaymentState.FINAL)


@rule("cleared_not_final", "The hold of a payment ended, but the payment is not final.")
def _not_final() -> QuerySet:
    return _bought().filter(_cleared()).exclude(state=PaymentState.FINAL)


@rule("debit_without_purse", "A payment that is not from a balance has a debit.")
def _stray_debits() -> QuerySet:
    return Debit.objects.exclude(payment__rail="purse").values_list("payment_id")


@rule("key_of_another", "A key has spent from another balance than its own.")
def _anothers_key() -> QuerySet:
    debits = Debit.objects.filter(payment__rail="purse").exclude(key=None)
    return debits.exclude(key__purse=F("purse")).values_list("payment_id")


@rule("key_differs", "A key's recorded spending is not the sum of its purchases.")
def _spent_otherwise() -> QuerySet:
    """Refunded payments do not count."""
    kept = Q(debits__payment__state__in=OWNED)
    spent = ApiKey.objects.annotate(sum=Coalesce(Sum("debits__payment__amount_micros", filter=kept), 0))
    return spent.exclude(spent_micros=F("sum"))


@rule("charge_not_paid", "A charge names the Stripe charge that paid it, but is not paid.")
def _unpaid() -> QuerySet:
    return Charge.objects.exclude(state=Charge.State.SUCCEEDED).exclude(stripe_charge_id="")


@rule("refund_unbooked", "Money was refunded to a card, but the books do not record it.")
def _refund_unbooked() -> QuerySet:
    key = Concat(Value("card_refund:"), OuterRef("stripe_refund_id"))
    entry = Transaction.objects.filter(kind="card_refund", key=key)
    return CardRefund.objects.filter(~Exists(entry), state=CardRefund.State.DONE)


@rule("charge_refunds_differ", "A charge's recorded refunds are not the sum of its refunds.")
def _refunded_otherwise() -> QuerySet:
    done = Q(refunds__state=CardRefund.State.DONE)
    sums = Charge.objects.annotate(back=Coalesce(Sum("refunds__amount_micros", filter=done), 0))
    return sums.exclude(refunded_micros=F("back"))


@rule("charge_disputes_differ", "A charge's disputed amount is not the sum of its disputes.")
def _disputed_otherwise() -> QuerySet:
    """It is what the disputes have withdrawn, and at most the charge's amount."""
    sums = Charge.objects.annotate(taken=Coalesce(Sum("disputes__withdrawn_micros"), 0))
    return sums.exclude(disputed_micros=Least(F("amount_micros"), F("taken")))


@rule("dispute_lost_for_nothing", "A lost dispute took no money.")
def _lost_for_nothing() -> QuerySet:
    return Dispute.objects.exclude(lost_at=None).filter(withdrawn_micros=0)


@rule("card_of_another", "A tab's card was removed or is another buyer's.")
def _anothers_card() -> QuerySet:
    return Purse.objects.exclude(card=None).exclude(card__purse=F("id"), card__removed_at=None)


RULES = (
    *(_not_debited, _paid_by_another, _undecided, _not_cleared, _not_final, _stray_debits, _anothers_key),
    *(_spent_otherwise, _unpaid, _refund_unbooked, _refunded_otherwise, _disputed_otherwise, _lost_for_nothing),
    _anothers_card,
)
