"""What must hold when everything has come to rest: the processor's facts and ours, side by side.

Each is a function that says what does not hold, in sentences; tests/faults/cards/test_chaos.py shows that each can.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.db.models import Q, Sum

from payments import audit
from payments.books import accounts, ledger
from payments.cards import reconciliation
from payments.models import (
    OWNED,
    CardRefund,
    Charge,
    Debit,
    Dispute,
    Grant,
    Payment,
    PaymentState,
    Posting,
    Purse,
    Setup,
    Transaction,
)
from tests.bank import CENT

Facts = dict[str, Any]


def audit_is_silent(facts: Facts) -> Iterator[str]:
    """The product's own audit."""
    yield from (str(finding) for finding in audit.findings())


def paid_there_is_booked_here(facts: Facts) -> Iterator[str]:
    """Every payment at the bank is a charge of ours and an entry of its amount; and there is nothing else."""
    paid = {one["id"]: one["amount"] * CENT for one in _paid(facts) if one["metadata"].get("charge")}
    here = dict(Charge.objects.filter(state="succeeded").values_list("stripe_charge_id", "amount_micros"))
    entries = Transaction.objects.filter(kind="card_paid").values_list("key").annotate(Sum("postings__amount_micros"))
    booked = {key.removeprefix("card_paid:"): amount for key, amount in entries}
    if paid != here:
        yield f"paid at the bank {paid}, charges here {here}"
    if paid != booked:
        yield f"paid at the bank {paid}, entries {booked}"


def nobody_paid_twice(facts: Facts) -> Iterator[str]:
    """At most one payment for one charge."""
    times = Counter(one["metadata"]["charge"] for one in _paid(facts) if one["metadata"].get("charge"))
    yield from (f"charge {name} was paid {count} times" for name, count in times.items() if count > 1)


def one_refund_per_request(facts: Facts) -> Iterator[str]:
    """At most one refund at the bank for one that was asked for here; and what is done here is done there."""
    asked = [one["metadata"]["refund"] for one in _rows(facts, "refund") if one["metadata"].get("refund")]
    yield from (f"{name} was refunded {count} times" for name, count in Counter(asked).items() if count > 1)
    gone = {one["id"] for one in _rows(facts, "refund") if one["status"] in ("succeeded", "pending")}
    done = set(CardRefund.objects.filter(state="done").values_list("stripe_refund_id", flat=True))
    ours = {one["payment_intent"] for one in _paid(facts) if one["metadata"].get("charge")}
    gone = {one for one in gone if facts["refund"][one]["payment_intent"] in ours}
    if gone != done:
        yield f"refunded at the bank {gone}, here {done}"


def charges_know_what_was_taken_back(facts: Facts) -> Iterator[str]:
    """Of each payment: what was refunded, and what stands withdrawn by disputes, is the same there and here."""
    withdrawn: Counter[str] = Counter()
    for dispute in _rows(facts, "dispute"):
        withdrawn[dispute["charge"]] -= sum(one["amount"] for one in dispute["balance_transactions"])
    for one in _paid(facts):
        charge = Charge.objects.filter(stripe_charge_id=one["id"]).first()
        there = (one["amount_refunded"] * CENT, withdrawn[one["id"]] * CENT)
        if charge and (charge.refunded_micros, charge.disputed_micros) != there:
            here = (charge.refunded_micros, charge.disputed_micros)
            yield f"{charge} ({one['id']}): refunded and disputed {there} there, {here} here"


def disputes_have_their_end(facts: Facts) -> Iterator[str]:
    """A dispute that moved money stands here as it does there, and a lost one is settled once."""
    for one in _rows(facts, "dispute"):
        if not one["balance_transactions"] or not Charge.objects.filter(stripe_charge_id=one["charge"]).exists():
            continue
        here = Dispute.objects.filter(id=one["id"]).values_list("status", "lost_at").first()
        if here is None or here[0] != one["status"] or (here[0] == "lost") != (here[1] is not None):
            yield f"dispute {one['id']} is {one['status']} there and {here} here"


def nothing_is_stuck(facts: Facts) -> Iterator[str]:
    """What is open is open for a reason that somebody outside knows: a live page, a bank that asks, a day to retry."""
    pages = facts.get("checkout.session", {})
    for charge in Charge.objects.filter(state__in=Charge.LIVE):
        page = charge.state == "created" and pages.get(charge.session, {}).get("status") == "open"
        asked = charge.state == "action" and facts["payment_intent"][charge.intent]["status"] != "succeeded"
        if not (page or asked or (charge.state == "declined" and charge.retry_at)):
            yield f"{charge} ({charge.reason}) is stuck"
    waiting = Charge.objects.filter(state="succeeded").filter(Q(fulfilled_at=None) | Q(available_at=None))
    yield from (f"{charge} is not finished" for charge in waiting)
    yield from (f"{refund} is stuck" for refund in CardRefund.objects.filter(state="asked"))
    for setup in Setup.objects.filter(state="open"):
        if pages[setup.session]["status"] != "open":
            yield f"{setup} does not know that its page is {pages[setup.session]['status']}"


def balances_explain_themselves(facts: Facts) -> Iterator[str]:
    """What a buyer has is what came in, less what went back, was taken, is on its way, or was spent."""
    for purse in Purse.objects.filter(joined_to=None):
        charges = Charge.objects.filter(purse=purse, state="succeeded")
        expected = sum(row.amount_micros - row.refunded_micros - row.disputed_micros for row in charges)
        expected -= _sum(CardRefund.objects.filter(charge__purse=purse, state="asked", ours=True))
        expected -= _sum(Payment.objects.filter(debit__purse=purse, state__in=OWNED))
        balances = [accounts.balance(one.id) for one in (purse, *purse.joined.all())]
        for other in ("loss:chargeback", "loss:forgiven", "expense:processor"):
            expected += _sum(Posting.objects.filter(source__code=other, target__code__in=balances))
            expected -= _sum(Posting.objects.filter(target__code=other, source__code__in=balances))
        if not expected == purse.balance_micros == ledger.balance(accounts.balance(purse.id), "USD"):
            yield f"{purse} has {purse.balance_micros}, and {expected} is explained"


def nobody_reads_for_nothing(facts: Facts) -> Iterator[str]:
    """A live grant is a payment that stands, was debited to a purse, and whose sale was not reversed."""
    for grant in Grant.objects.filter(revoked_at=None).select_related("payment__sale"):
        payment = grant.payment
        reversed_ = Transaction.objects.filter(reverses=payment.sale_id).exists() if payment.sale_id else True
        if payment.state not in (PaymentState.CONFIRMED, PaymentState.FINAL) or reversed_:
            yield f"{grant.buyer} reads {grant.resource} for nothing"
        if not Debit.objects.filter(payment=payment).exists():
            yield f"{grant.resource} was bought from no purse"


def books_agree(facts: Facts) -> Iterator[str]:
    """To the cent, what the processor holds for us is what our books say it does."""
    parts = [*facts["balance"]["available"], *facts["balance"]["pending"]]
    there, here = sum(part["amount"] for part in parts) * CENT, -ledger.balance("world:stripe", "USD")
    if there != here:
        yield f"the processor holds {there}, our books say {here}"


def _paid(facts: Facts) -> list[Facts]:
    return [one for one in _rows(facts, "charge") if one["paid"]]


def _rows(facts: Facts, kind: str) -> list[Facts]:
    return list(facts.get(kind, {}).values())


def _sum(rows: Any) -> int:
    return int(rows.aggregate(sum=Sum("amount_micros"))["sum"] or 0)


ALL = (
    audit_is_silent,
    paid_there_is_booked_here,
    nobody_paid_twice,
    one_refund_per_request,
    charges_know_what_was_taken_back,
    disputes_have_their_end,
    nothing_is_stuck,
    balances_explain_themselves,
    nobody_reads_for_nothing,
    books_agree,
)


def broken(facts: Facts, report: reconciliation.Report) -> list[str]:
    """Everything that does not hold, by the names of the invariants."""
    found = [f"{check.__name__}: {said}" for check in ALL for said in check(facts)]
    if report.healed:
        found.append(f"second_reconciliation_heals: {report.healed}")
    if not report.clean:
        found.append(f"reconciliation_differs: {report}")
    return found
