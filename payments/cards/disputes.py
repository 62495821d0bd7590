"""Disputes and fraud warnings: the purse is frozen, every movement of money is an entry, and nothing is lost quietly.

What a lost dispute takes: first the buyer's balance, then sales that are not cleared yet (their publishers' pending
shares and the platform's fees go back, newest first, and so does the access), and the rest is the platform's loss.
Money that a publisher has earned is never touched.
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

from . import charges, refunds, stripe_api
from .facts import DisputeFacts, Money, StripeRefused

log = logging.getLogger(__name__)
Flag = Purse.Flag
_CLOSED = ("won", "lost", "warning_closed", "prevented")


def apply(facts: DisputeFacts) -> Dispute | None:
    """Write down a dispute as it is now; idempotent, in whatever order events came. None: of no charge of ours."""
    charge = Charge.objects.filter(intent=facts.intent, state=Charge.State.SUCCEEDED).first()
    if charge is None:
        return None
    with transaction.atomic(durable=True):
        purse = charges.owner(charge.id)
        dispute, _ = Dispute.objects.get_or_create(
            id=facts.id,
            defaults={
                "charge": charge,
                "status": facts.status,
                "reason": facts.reason[:64],
                "amount_micros": facts.amount_cents * charges.CENT,
            },
        )
        Dispute.objects.filter(id=dispute.id).update(status=facts.status)
        # What was taken before what came back, in whatever order they are listed.
        for money in sorted(facts.moved, key=lambda one: one.amount_cents):
            _book(dispute, purse, money)
        lost_now = facts.status == "lost" and _lost(dispute, purse)
        if facts.status != "lost":
            _recovered(dispute, purse)
        _flag(purse, lost_now)
        notify.send()
    dispute.refresh_from_db()
    return dispute


def look_at_open() -> list[str]:
    """Ask about every dispute that is open here: its loss moves no money. Returns which have moved on, or NoAnswer."""
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
    """One balance transaction: what was withdrawn or came back, and the fee, each once."""
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
    """What stands disputed of a charge now, at most all of it: a second dispute may take the same money once more."""
    taken = Dispute.objects.filter(charge_id=charge_id).aggregate(sum=Sum("withdrawn_micros"))["sum"] or 0
    Charge.objects.filter(id=charge_id).update(disputed_micros=Least(F("amount_micros"), Value(max(taken, 0))))


def _lost(dispute: Dispute, purse: Purse) -> bool:
    """Once: uncleared sales are taken back while they fit into the debt, and what remains is the platform's loss.

    Says whether it was this time; a loss whose money has not been seen to go yet is still open.
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
    """A dispute can be lost, recovered by an appeal, and lost again: each loss is an entry of its own."""
    times = _times_recovered(dispute)
    return Kind.DISPUTE_LOST.key(dispute.id, times) if times else Kind.DISPUTE_LOST.key(dispute.id)


def _recovered(dispute: Dispute, purse: Purse) -> None:
    """An appeal: what was lost has come back after all, so what the platform has paid of it is the platform's."""
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
    """An inquiry (warning_…) freezes nothing; an open dispute until it is won; a lost one until staff says otherwise.

    A warning of fraud stays, and so does a tab that could not be charged.
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
    """Staff trusts a buyer again after a lost dispute or a warning of fraud. False: nothing to lift, or one is open."""
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
    """The card's bank warns of fraud: freeze the purse, and send back what is unspent of that charge. Or NoAnswer."""
    charge = Charge.objects.filter(intent=intent, state=Charge.State.SUCCEEDED).select_related("purse").first()
    if charge is None:
        return
    try:
        refunds.of_warned(charge)
    except purses.PurseRefused as refusal:  # Spent meanwhile, or disputed already.
        log.warning("nothing of %s was sent back: %s", charge, refusal)
    Purse.objects.filter(id=charge.purse_id, flag__in=(Flag.NONE, Flag.PAST_DUE)).update(flag=Flag.FRAUD)
