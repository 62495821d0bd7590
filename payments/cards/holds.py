"""Holds: when a publisher's pending share of a sale from a purse becomes earned.

Three conditions end a hold: its time has passed, the purse is in order, and card money that the processor has released
covers the sale. A purse's sales are covered in the order in which they were made, first in, first out.
"""

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum
from django.utils import timezone

from payments import notify, purses
from payments.books import accounts, ledger
from payments.books.accounts import Kind
from payments.books.ledger import Entry, Move
from payments.models import CardRefund, Charge, Payment, PaymentState, Posting, Purse

_AT_ONCE = 500
# An unpaid tab does not affect sales that earlier card money covers. Once a dispute is lost, the amount withdrawn and
# the platform's part of the loss are known. Under an open dispute or a fraud warning they are not: every sale waits.
_IN_ORDER = (Purse.Flag.NONE, Purse.Flag.PAST_DUE, Purse.Flag.CHARGEBACK)


def clear(now: datetime | None = None) -> int:
    """End the hold on every sale that is due; returns the number of sales."""
    now = now or timezone.now()
    ready = now - timedelta(seconds=settings.CLEARING_HOLD_SECONDS)
    pending = Payment.objects.filter(rail=purses.RAIL, state=PaymentState.CONFIRMED, decided_at__lte=ready)
    # No limit on purses: those whose tabs are never paid would fill the batch and block the others.
    paid = Exists(Charge.objects.filter(state=Charge.State.SUCCEEDED, purse=OuterRef("debit__purse")))
    settled = Q(debit__purse__balance_micros__gte=0)  # Also a debt that was written off, without any charge.
    due = pending.filter(paid | settled, debit__purse__flag__in=_IN_ORDER)
    purse_ids = due.values_list("debit__purse_id", flat=True).distinct()
    return sum(_clear_purse(purse_id, ready, now) for purse_id in list(purse_ids))


def _clear_purse(purse_id: uuid.UUID, ready: datetime, now: datetime) -> int:
    with transaction.atomic(durable=True):
        # The lock keeps a dispute out, which would reverse the sales whose hold ends here.
        purse = Purse.objects.select_for_update().get(id=purse_id)
        if purse.flag not in _IN_ORDER:
            return 0
        mine = Payment.objects.filter(debit__purse=purse, rail=purses.RAIL)
        covered = _covered_micros(purse, now) - _sum(mine.filter(state=PaymentState.FINAL))
        cleared: list[Payment] = []
        for payment in mine.filter(state=PaymentState.CONFIRMED).order_by("decided_at", "id")[:_AT_ONCE]:
            covered -= payment.amount_micros
            if covered < 0 or payment.decided_at is None or payment.decided_at > ready:
                break
            cleared.append(payment)
        _post(cleared)
        if cleared:
            notify.send()
        return len(cleared)


def _covered_micros(purse: Purse, now: datetime) -> int:
    """Available card money of this purse, less refunds and disputes, and what came and went beside the cards."""
    ours = Charge.objects.filter(purse=purse, state=Charge.State.SUCCEEDED, available_at__lte=now)
    left = F("amount_micros") - F("refunded_micros") - F("disputed_micros")
    on_its_way = CardRefund.objects.filter(charge__purse=purse, state=CardRefund.State.ASKED)
    leaving = on_its_way.aggregate(sum=Sum("amount_micros"))["sum"] or 0
    return int(ours.aggregate(sum=Sum(left))["sum"] or 0) - int(leaving) + _beside_cards(purse)


def _beside_cards(purse: Purse) -> int:
    """What the platform paid into this purse, less what the purse paid of the processor's fees.

    The platform pays for lost disputes and for debts that it writes off: this money covers sales too.
    """
    balances = [accounts.balance(pk) for pk in (purse.pk, *purse.joined.values_list("id", flat=True))]
    others = (accounts.CHARGEBACK_LOSSES, accounts.FORGIVEN_DEBTS, accounts.PROCESSOR_FEES)
    paid = Posting.objects.filter(source__code__in=others, target__code__in=balances)
    back = Posting.objects.filter(target__code__in=others, source__code__in=balances)
    paid_micros, back_micros = (rows.aggregate(sum=Sum("amount_micros"))["sum"] or 0 for rows in (paid, back))
    return int(paid_micros - back_micros)


def _sum(payments: QuerySet[Payment]) -> int:
    return int(payments.aggregate(sum=Sum("amount_micros"))["sum"] or 0)


def _post(payments: list[Payment]) -> None:
    """Move each sale's share from pending to earned, by the amount that the sale itself posted to the publisher."""
    lines = Posting.objects.filter(
        transaction__in=[p.sale_id for p in payments], target__code__endswith=accounts.pending("")
    )
    shares: dict[uuid.UUID | None, int] = dict(lines.values_list("transaction_id", "amount_micros"))
    entries = []
    for payment in payments:
        move = Move(accounts.pending(payment.payee), accounts.earned(payment.payee), shares[payment.sale_id])
        entries.append(Entry(Kind.CLEARED, Kind.CLEARED.key(payment.id.hex), (move,), asset=accounts.USD))
    ledger.post_all(entries)
    still_held = Payment.objects.filter(id__in=[p.id for p in payments], state=PaymentState.CONFIRMED)
    still_held.update(state=PaymentState.FINAL)
