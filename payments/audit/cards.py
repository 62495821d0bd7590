"""The audit of purses and cards: balances equal their postings, and charges and refunds match the books.

The audit reads only the database, in the caller's snapshot. Reconciliation compares it with the processor.
"""

import uuid
from collections.abc import Iterator

from django.db.models import CharField, Count, Exists, F, OuterRef, Q, Sum, Value
from django.db.models.functions import Cast, Coalesce, Concat, Least, Replace, Substr

from payments.books import ledger
from payments.models import OWNED, ApiKey, CardRefund, Charge, Debit, Dispute, Payment, PaymentState, Purse, Transaction

from .findings import Finding, finding


def balances_are_entries() -> Iterator[Finding]:
    """Every purse's balance is the sum of its postings, and `owing_since` is set exactly when it is negative."""
    found = {code: amount for (code, asset), amount in ledger.balances(Q(code__startswith="buyer:")).items()}
    purses = list(Purse.objects.values_list("id", "balance_micros", "tab_limit_micros", "flag", "owing_since"))
    known = {f"buyer:{pk}:balance" for pk, *_ in purses}
    wrong = (pk for pk, balance, *_ in purses if found.get(f"buyer:{pk}:balance", 0) != balance)
    yield from finding("balance_differs", "A buyer's balance is not the sum of its postings.", wrong)
    owning = (pk for pk, balance, _, _, since in purses if (balance < 0) != (since is not None))
    yield from finding("owing_since_differs", "A balance's debt date is wrong.", owning)
    nobody = (code for code, amount in found.items() if amount and code.endswith(":balance") and code not in known)
    yield from finding("balance_of_nobody", "The books hold money for a balance that does not exist.", nobody)


def purchases_have_debits() -> Iterator[Finding]:
    """Every purchase from a purse has a debit, is paid by its buyer, and is final exactly when its hold is over."""
    bought = Payment.objects.filter(rail="purse")
    bare = bought.filter(debit=None).values_list("id", flat=True)
    yield from finding("payment_without_debit", "A payment from a balance has no debit.", bare)
    paid = bought.filter(state__in=OWNED)
    owner = Concat(Value("buyer:"), Substr("buyer", len("purse:") + 1), Value(":balance"))
    taken = Q(sale__postings__source__code=owner)
    lines = paid.annotate(lines=Count("sale__postings"), own=Count("sale__postings", filter=taken))
    foreign = lines.exclude(lines=F("own")).values_list("id", flat=True)
    yield from finding("sale_from_another", "A purchase was paid from a balance that is not its buyer's.", foreign)
    decided = (PaymentState.CONFIRMED, PaymentState.FINAL, PaymentState.REFUNDED)
    odd = bought.exclude(state__in=decided).values_list("id", flat=True)
    yield from finding("purse_payment_open", "A payment from a balance is neither paid nor refunded.", odd)
    cleared = Transaction.objects.filter(kind="cleared", key=Concat(Value("cleared:"), _text(OuterRef("id"))))
    final = bought.filter(state=PaymentState.FINAL).filter(~Exists(cleared)).values_list("id", flat=True)
    yield from finding("final_not_cleared", "A payment is final, but its hold never ended.", final)
    early = bought.exclude(state=PaymentState.FINAL).filter(Exists(cleared)).values_list("id", flat=True)
    yield from finding("cleared_not_final", "The hold of a payment ended, but the payment is not final.", early)


def _text(number: OuterRef) -> Replace:
    """A UUID as 32 hex digits, on every database."""
    return Replace(Cast(number, CharField()), Value("-"), Value(""))


def debits_name_who_paid() -> Iterator[Finding]:
    """Every debit names the purse that paid, or the purse it was joined to, and only an API key of that purse."""
    stray = Debit.objects.exclude(payment__rail="purse").values_list("payment_id", flat=True)
    yield from finding("debit_without_purse", "A payment that is not from a balance has a debit.", stray)
    debits = Debit.objects.filter(payment__rail="purse")
    joined = dict(Purse.objects.exclude(joined_to=None).values_list("id", "joined_to_id"))
    rows = debits.values_list("payment_id", "purse_id", "payment__buyer").iterator()
    payers = ((pk, purse, _purse_id(buyer)) for pk, purse, buyer in rows)
    wrong = (pk for pk, purse, payer in payers if purse != joined.get(payer, payer))
    yield from finding("debit_of_another", "A debit names another balance than the buyer's.", wrong)
    keys = debits.exclude(key=None).exclude(key__purse=F("purse")).values_list("payment_id", flat=True)
    yield from finding("key_of_another", "A key has spent from another balance than its own.", keys)


def _purse_id(buyer: str) -> uuid.UUID:
    """The purse id in a buyer's name, or an id that matches no purse."""
    try:
        return uuid.UUID(buyer.removeprefix("purse:"))
    except ValueError:
        return uuid.UUID(int=0)


def keys_are_in_budget() -> Iterator[Finding]:
    """Every API key's `spent_micros` is the sum of the payments made with it, without refunded ones."""
    kept = Q(debits__payment__state__in=OWNED)
    spent = ApiKey.objects.annotate(sum=Coalesce(Sum("debits__payment__amount_micros", filter=kept), 0))
    wrong = spent.exclude(spent_micros=F("sum")).values_list("id", flat=True)
    yield from finding("key_differs", "A key's recorded spending is not the sum of its purchases.", wrong)


def charges_are_booked() -> Iterator[Finding]:
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
    early = (
        Charge.objects.exclude(state=Charge.State.SUCCEEDED).exclude(stripe_charge_id="").values_list("id", flat=True)
    )
    yield from finding("charge_not_paid", "A charge names the Stripe charge that paid it, but is not paid.", early)


def refunds_are_booked() -> Iterator[Finding]:
    """Every completed refund to a card is posted, and exactly the pending refunds are set aside."""
    done = CardRefund.objects.filter(state=CardRefund.State.DONE)
    entry = Transaction.objects.filter(
        kind="card_refund", key=Concat(Value("card_refund:"), OuterRef("stripe_refund_id"))
    )
    missing = done.filter(~Exists(entry)).values_list("id", flat=True)
    yield from finding("refund_unbooked", "Money was refunded to a card, but the books do not record it.", missing)
    asked = CardRefund.objects.filter(state=CardRefund.State.ASKED, ours=True)
    aside = dict(asked.values_list("charge__purse_id").annotate(Sum("amount_micros")))
    held = ledger.balances(Q(code__startswith="buyer:", code__endswith=":refunding"))
    # What is set aside for a guest stays in the guest's account when the purse is joined to another.
    joined = {str(pk): str(owner) for pk, owner in Purse.objects.exclude(joined_to=None).values_list("id", "joined_to")}
    by_purse: dict[str, int] = {}
    for (code, _), amount in held.items():
        pk = code.split(":")[1]
        by_purse[joined.get(pk, pk)] = by_purse.get(joined.get(pk, pk), 0) + amount
    expected = {joined.get(str(pk), str(pk)): amount for pk, amount in aside.items()}
    wrong = sorted(pk for pk in by_purse.keys() | expected.keys() if by_purse.get(pk, 0) != expected.get(pk, 0))
    yield from finding("refunding_differs", "The money reserved for refunds differs from the requested refunds.", wrong)
    sums = Charge.objects.annotate(back=Coalesce(Sum("refunds__amount_micros", filter=_DONE), 0))
    differ = sums.exclude(refunded_micros=F("back")).values_list("id", flat=True)
    yield from finding("charge_refunds_differ", "A charge's recorded refunds are not the sum of its refunds.", differ)


_DONE = Q(refunds__state=CardRefund.State.DONE)


def disputes_are_booked() -> Iterator[Finding]:
    """Every charge's `disputed_micros` is what its disputes have withdrawn, and at most the charge's amount."""
    sums = Charge.objects.annotate(taken=Coalesce(Sum("disputes__withdrawn_micros"), 0))
    differ = sums.exclude(disputed_micros=Least(F("amount_micros"), F("taken"))).values_list("id", flat=True)
    yield from finding("charge_disputes_differ", "A charge's disputed amount is not the sum of its disputes.", differ)
    lost = Dispute.objects.exclude(lost_at=None).filter(withdrawn_micros=0).values_list("id", flat=True)
    yield from finding("dispute_lost_for_nothing", "A lost dispute took no money.", lost)


def cards_have_owners() -> Iterator[Finding]:
    """The card that a tab is charged to belongs to the purse and has not been removed."""
    foreign = Purse.objects.exclude(card=None).exclude(card__purse=F("id"), card__removed_at=None)
    yield from finding(
        "card_of_another", "A tab's card was removed or is another buyer's.", foreign.values_list("id", flat=True)
    )


CHECKS = (
    balances_are_entries,
    purchases_have_debits,
    debits_name_who_paid,
    keys_are_in_budget,
    charges_are_booked,
    refunds_are_booked,
    disputes_are_booked,
    cards_have_owners,
)
