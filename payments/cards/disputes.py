"""Disputes and fraud warnings: they freeze the purse, and every movement of money is a transaction in the books.

A lost dispute takes the buyer's balance first, then sales still on hold, newest first: their publishers' pending
shares and the platform's fees are reversed, and the buyer loses access. The rest is the platform's loss. Money that a
publisher has earned is never touched.
"""

import logging
import uuid

from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum, Value
from django.db.models.functions import Least
from django.utils import timezone

from payments import notify, purses
from payments.books import accounts, ledger
from payments.books.accounts import Kind
from payments.books.ledger import Move
from payments.models import Charge, Dispute, Payment, PaymentState, Posting, Purse, Transaction

from . import charges, mail, refunds, stripe_api
from .facts import DisputeFacts, Money, StripeRefused

log = logging.getLogger(__name__)
Flag = Purse.Flag
_CLOSED = ("won", "lost", "warning_closed", "prevented")


def apply(facts: DisputeFacts) -> Dispute | None:
    """Record a dispute as it is now. Idempotent, in any order of events. None when it is about no charge of ours."""
    charge = Charge.objects.filter(intent=facts.intent, state=Charge.State.SUCCEEDED).first()
    if charge is None:
        return None
    with transaction.atomic(durable=True):
        purse = charges.owner(charge.id)
        dispute, new = Dispute.objects.get_or_create(
            id=facts.id,
            defaults={
                "charge": charge,
                "status": facts.status,
                "reason": facts.reason[:64],
                "amount_micros": facts.amount_cents * charges.CENT,
            },
        )
        Dispute.objects.filter(id=dispute.id).update(status=facts.status)
        # Withdrawals are booked before what came back, in whatever order the processor lists them.
        for money in sorted(facts.moved, key=lambda one: one.amount_cents):
            _book(dispute, purse, money)
        lost_now = facts.status == "lost" and _lost(dispute, purse)
        if facts.status != "lost":
            _recovered(dispute, purse)
        _flag(purse, lost_now)
        notify.send()
    dispute.refresh_from_db()
    if new:
        mail.disputed(dispute)
    return dispute


def look_at_open() -> list[str]:
    """Look up every dispute that is open here; returns the ids of those whose status changed. Raises NoAnswer.

    Losing a dispute moves no money, so the list of balance transactions does not show the loss.
    """
    moved = []
    for dispute_id, status in Dispute.objects.exclude(status__in=_CLOSED).values_list("id", "status"):
        try:
            found = stripe_api.dispute(dispute_id)
        except StripeRefused as error:
            log.warning("dispute %s leads nowhere: %s", dispute_id, error)
            continue
        if found.status != status:
            apply(found)
            moved.append(dispute_id)
    return moved


def _book(dispute: Dispute, purse: Purse, money: Money) -> None:
    """Book one balance transaction: the money withdrawn or returned, and the fee, each once."""
    key, fee_key = Kind.DISPUTE.key(money.id), Kind.DISPUTE_FEE.key(money.id)
    if ledger.posted(key) or ledger.posted(fee_key):
        return
    if micros := abs(money.amount_cents) * charges.CENT:
        out = money.amount_cents < 0
        balance = accounts.balance(purse.id)
        pair = (balance, accounts.STRIPE) if out else (accounts.STRIPE, balance)
        ledger.post(Kind.DISPUTE, key, [Move(*pair, micros)], asset=accounts.USD)
        purses.move(purse.id, -micros if out else micros)
        taken = micros if out else -micros
        Dispute.objects.filter(id=dispute.id).update(withdrawn_micros=F("withdrawn_micros") + taken)
        _standing(dispute.charge_id)
    if cents := money.fee_cents:
        pair = (accounts.DISPUTE_FEES, accounts.STRIPE) if cents > 0 else (accounts.STRIPE, accounts.DISPUTE_FEES)
        ledger.post(Kind.DISPUTE_FEE, fee_key, [Move(*pair, abs(cents) * charges.CENT)], asset=accounts.USD)


def _standing(charge_id: uuid.UUID) -> None:
    """Update the disputed part of a charge, at most its amount: a second dispute may withdraw the same money again."""
    taken = Dispute.objects.filter(charge_id=charge_id).aggregate(sum=Sum("withdrawn_micros"))["sum"] or 0
    Charge.objects.filter(id=charge_id).update(disputed_micros=Least(F("amount_micros"), Value(max(taken, 0))))


def _lost(dispute: Dispute, purse: Purse) -> bool:
    """Book the loss of a dispute, once; True when this call did it.

    Sales still on hold are reversed while they fit into the debt, and the rest is the platform's loss. A loss stays
    open until its withdrawal is booked.
    """
    open_one = Dispute.objects.filter(id=dispute.id, lost_at=None, withdrawn_micros__gt=0)
    if not open_one.update(lost_at=timezone.now()):
        return False
    dispute.refresh_from_db()
    debt = min(-_balance(purse), dispute.withdrawn_micros)
    bought = Payment.objects.filter(debit__purse=purse, rail=purses.RAIL, state=PaymentState.CONFIRMED)
    for payment in bought.select_related("sale").order_by("-decided_at", "-id"):
        if payment.amount_micros <= debt and purses.take_back(payment, Kind.CHARGED_BACK, "chargeback"):
            debt -= payment.amount_micros
    if debt > 0:
        log.error("dispute %s cost the platform %s micros", dispute.id, debt)
        move = Move(accounts.CHARGEBACK_LOSSES, accounts.balance(purse.id), debt)
        ledger.post(Kind.DISPUTE_LOST, _lost_key(dispute), [move], asset=accounts.USD)
        purses.move(purse.id, debt)
    return True


def _times_recovered(dispute: Dispute) -> int:
    return Transaction.objects.filter(key__startswith=Kind.DISPUTE_RECOVERED.key(dispute.id, "")).count()


def _lost_key(dispute: Dispute) -> str:
    """A dispute can be lost, recovered by an appeal, and lost again: each loss is a transaction of its own."""
    times = _times_recovered(dispute)
    return Kind.DISPUTE_LOST.key(dispute.id, times) if times else Kind.DISPUTE_LOST.key(dispute.id)


def _recovered(dispute: Dispute, purse: Purse) -> None:
    """An appeal brought the lost money back, so the platform gets back what it paid for that loss."""
    lost = Dispute.objects.filter(id=dispute.id, withdrawn_micros=0).exclude(lost_at=None)
    key = _lost_key(dispute)
    if not lost.update(lost_at=None) or not ledger.posted(key):
        return
    micros = Posting.objects.get(transaction__key=key).amount_micros
    move = Move(accounts.balance(purse.id), accounts.CHARGEBACK_LOSSES, micros)
    again = Kind.DISPUTE_RECOVERED.key(dispute.id, _times_recovered(dispute))
    ledger.post(Kind.DISPUTE_RECOVERED, again, [move], asset=accounts.USD)
    purses.move(purse.id, -micros)


def _balance(purse: Purse) -> int:
    return Purse.objects.values_list("balance_micros", flat=True).get(id=purse.id)


def _flag(purse: Purse, lost_now: bool) -> None:
    """An open dispute freezes the purse until it is won, and a lost one until staff unfreezes the purse.

    An inquiry (warning_…) freezes nothing. A fraud warning stays, and so does the flag of an unpaid tab.
    """
    if lost_now:
        flag = Flag.CHARGEBACK
    elif _open(purse).exists():
        flag = Flag.DISPUTE
    elif purse.flag == Flag.DISPUTE:
        flag = Flag.PAST_DUE if _could_not_be_charged(purse) else Flag.NONE
    else:
        return
    weaker = [Flag.NONE, Flag.PAST_DUE, Flag.DISPUTE, *([Flag.FRAUD] if flag == Flag.CHARGEBACK else [])]
    Purse.objects.filter(id=purse.id, flag__in=weaker).update(flag=flag)


def _open(purse: Purse) -> QuerySet[Dispute]:
    unsettled = Q(status="lost", lost_at=None) | ~Q(status__in=_CLOSED) & ~Q(status__startswith="warning_")
    return Dispute.objects.filter(unsettled, charge__purse=purse)


def unfreeze(purse: Purse) -> bool:
    """Staff lifts the freeze after a lost dispute or a fraud warning.

    False when the purse is not frozen for one of these, or a dispute is open.
    """
    with transaction.atomic(durable=True):
        locked = Purse.objects.select_for_update().get(id=purse.id)
        if _open(locked).exists():
            return False
        flag = Flag.PAST_DUE if _could_not_be_charged(locked) else Flag.NONE
        frozen = Purse.objects.filter(id=purse.id, flag__in=(Flag.FRAUD, Flag.CHARGEBACK))
        return frozen.update(flag=flag) == 1


def _could_not_be_charged(purse: Purse) -> bool:
    last = Charge.objects.filter(purse=purse, purpose=Charge.Purpose.TAB).order_by("-made_at", "-id").first()
    unpaid = (Charge.State.DECLINED, Charge.State.ACTION, Charge.State.FAILED, Charge.State.CANCELED)
    return last is not None and last.state in unpaid and _balance(purse) <= -purses.CARD_FLOOR_MICROS


def warned(intent: str) -> None:
    """The card's bank warns of fraud: refund the unspent part of that charge and freeze the purse. Raises NoAnswer."""
    charge = Charge.objects.filter(intent=intent, state=Charge.State.SUCCEEDED).select_related("purse").first()
    if charge is None:
        return
    try:
        refunds.of_warned(charge)
    except purses.PurseRefused as refusal:  # The money was spent meanwhile, or is already disputed.
        log.warning("nothing of %s was sent back: %s", charge, refusal)
    if Purse.objects.filter(id=charge.purse_id, flag__in=(Flag.NONE, Flag.PAST_DUE)).update(flag=Flag.FRAUD):
        mail.warned(charge)
