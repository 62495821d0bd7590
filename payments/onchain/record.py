"""The recorder: writes what became of a claimed payment. Its state, postings and grant are written in one commit.

The token's logs decide, never the status of our own transactions. Every function is idempotent, so the settler and
the watcher may both report the same fact. The recorder never calls the chain: its callers read the facts first, outside
any database transaction.
"""

import logging
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Value, When
from django.utils import timezone

from payments import events, notify
from payments.books import accounts, ledger
from payments.books.accounts import Kind
from payments.books.ledger import Entry, Move
from payments.models import LIVE, OPEN, OWNED, Authorization, Grant, Payment, PaymentState, Submission, Transfer

from .logs import SeenTransfer

log = logging.getLogger(__name__)
_LARGEST_BOOKED = 2**62
_TRIES = 2
# A matching transfer completes a payment in any of these states: money that arrives late still buys the article.
_MAY_BE_PAID = (*OPEN, PaymentState.RELEASED, PaymentState.FAILED)


def transfers(seen: Sequence[SeenTransfer]) -> None:
    """Record transfers to us. The transfer of a claimed authorization completes its payment; others go to suspense."""
    if not seen:
        return
    for _ in range(_TRIES):
        try:
            return _record(seen)
        except IntegrityError:
            # The other process recorded the same facts between our read and our write, so read again.
            continue
    if len(seen) == 1:
        # Skipped, so that it does not block the others. The audit reports it as missing.
        log.critical("transfer 0x%s#%s cannot be recorded", seen[0].tx_hash.hex(), seen[0].log_index)
        return None
    for one in seen:
        transfers([one])
    return None


def _record(seen: Sequence[SeenTransfer]) -> None:
    with transaction.atomic(durable=True):
        rows = _rows(seen)
        unpaired = _complete([row for row in rows if row.payment_id is None])
        _into_suspense([row for row in unpaired if row.received_id is None])
        notify.send()


def claim_received(payer: bytes, nonce: bytes) -> bool:
    """Complete a payment whose transfer arrived before the claim and is in suspense. True if one was completed."""
    try:
        return _claim_received(payer, nonce)
    except IntegrityError:
        # Another payment of the buyer was made between our read and our write, so read again.
        return _claim_received(payer, nonce)


def _claim_received(payer: bytes, nonce: bytes) -> bool:
    with transaction.atomic(durable=True):
        waiting = Transfer.objects.filter(sender=payer, nonce=nonce, payment=None, orphaned_at=None)
        rows = list(waiting.select_for_update().order_by("id"))
        left = _complete(rows)
        notify.send()
    return len(left) < len(rows)


def release(payment_ids: Iterable[uuid.UUID], reason: str) -> None:
    """Release claims that the token would refuse now. No transaction of ours is pending: no charge so far.

    The buyer may retry with the same proof.
    """
    with transaction.atomic(durable=True):
        now = timezone.now()
        some = Payment.objects.filter(id__in=list(payment_ids))
        if some.filter(state=PaymentState.CLAIMED).update(state=PaymentState.RELEASED, reason=reason, decided_at=now):
            for payment in some.filter(state=PaymentState.RELEASED, decided_at=now):
                _note(payment, "released", reason)
        notify.send()


def expired(chain_id: int, moment: int) -> QuerySet[Payment]:
    """Payments without money whose validBefore has passed at a moment, in Unix seconds."""
    unpaid = Payment.objects.filter(state__in=(*OPEN, PaymentState.RELEASED))
    return unpaid.filter(authorization__chain_id=chain_id, authorization__valid_before__lte=moment)


def fail_expired(chain_id: int, final_time: int) -> int:
    """Fail the payments that can never be paid: a final block is past validBefore and no transfer came.

    `final_time` is that block's time in Unix seconds. Returns the number of failed payments.
    """
    dead = list(expired(chain_id, final_time).values_list("id", flat=True))
    with transaction.atomic(durable=True):
        notify.send()
        now = timezone.now()
        failed = Payment.objects.filter(id__in=dead, state__in=(*OPEN, PaymentState.RELEASED)).update(
            state=PaymentState.FAILED,
            reason=Case(When(reason="", then=Value("authorization_expired")), default=F("reason")),
            decided_at=now,
        )
        for payment in Payment.objects.filter(id__in=dead, state=PaymentState.FAILED, decided_at=now):
            _note(payment, "failed", payment.reason)
        return failed


def prune(before: datetime, most: int) -> int:
    """Delete up to `most` claims that failed for good before a moment, and reached no transaction and no transfer.

    Their authorizations have expired in a final block, so neither a presentation nor the chain can bring them back. The
    database refuses to delete any other claim.
    """
    arrived = Transfer.objects.filter(sender=OuterRef("payer"), nonce=OuterRef("nonce"))
    idle = Authorization.objects.filter(~Exists(arrived), submission=None, wasted_at=None)
    failed = idle.filter(payment__state=PaymentState.FAILED, payment__decided_at__lt=before)
    ids = list(failed.order_by("payment__decided_at").values_list("payment_id", flat=True)[:most])
    with transaction.atomic(durable=True):
        Authorization.objects.filter(payment_id__in=ids).delete()
        Payment.objects.filter(id__in=ids).delete()
    return len(ids)


def awaits_finality(chain_id: int) -> bool:
    """Whether a transfer or a payment is there that a later final block could make final."""
    arrived = Transfer.objects.filter(chain_id=chain_id, final=False, orphaned_at=None)
    paid = Payment.objects.filter(state=PaymentState.CONFIRMED, authorization__chain_id=chain_id)
    return arrived.exists() or paid.exists()


def finalise(chain_id: int, final_block: int) -> None:
    """Mark transfers at or below a final block, and the payments they confirm, as final."""
    with transaction.atomic(durable=True):
        due = Transfer.objects.filter(chain_id=chain_id, final=False, orphaned_at=None, block_number__lte=final_block)
        due.update(final=True)
        # This includes payments whose transfer was already final when they were claimed.
        settled = Payment.objects.filter(state=PaymentState.CONFIRMED)
        done = settled.filter(transfers__final=True, transfers__orphaned_at=None).values_list("id", flat=True)
        settled.filter(id__in=list(done)).update(state=PaymentState.FINAL)


def take_back(transfer: Transfer) -> None:
    """Undo a transfer that a reorganisation removed: reverse its postings, revoke its grant, reopen its payment."""
    with transaction.atomic(durable=True):
        gone = Transfer.objects.filter(id=transfer.id, orphaned_at=None)
        if not gone.update(orphaned_at=timezone.now(), orphanings=F("orphanings") + 1, final=False):
            return
        # Read again now that the row is locked: the settler may have matched the transfer to a payment meanwhile.
        transfer = Transfer.objects.select_related("received", "payment__sale", "payment__authorization").get(
            id=transfer.id
        )
        log.warning("reorganisation: transfer %s left the chain", transfer)
        entries = [transfer.received] if transfer.received else []
        if (payment := transfer.payment) and payment.sale:
            entries += [payment.sale] if payment.sale_id != transfer.received_id else []
            Grant.objects.filter(payment=payment, revoked_at=None).update(revoked_at=timezone.now())
            Payment.objects.filter(id=payment.id, state__in=OWNED).update(
                state=PaymentState.SIGNED if payment.authorization.submission_id else PaymentState.CLAIMED,
                sale=None,
                decided_at=None,
                reversals=F("reversals") + 1,
            )
            _note(payment, "reversed", "reorganisation")
            # Our own transaction may be in another block, after the foreign one that paid: follow it again too.
            ours = Q(block_hash=transfer.block_hash) | Q(id=payment.authorization.submission_id)
            Submission.objects.filter(ours).update(
                state=Submission.State.SENT, block_number=None, block_hash=None, gas_used=None
            )
        ledger.post_all([ledger.reversal(Kind.REORGANISATION, entry) for entry in entries])
        gone = Transfer.objects.filter(id=transfer.id)
        gone.update(received=None, payment=None)
        notify.send()


def _note(payment: Payment, outcome: str, reason: str = "") -> None:
    told = {"payment": payment.id, "amount_micros": payment.amount_micros, "rail": payment.rail}
    events.note("sale", outcome, **told, reason=reason)


# --- Writing ------------------------------------------------------------------------------------------


def _rows(seen: Sequence[SeenTransfer]) -> list[Transfer]:
    """The rows of these transfers. Inserts new ones and revives those that are back after a reorganisation."""
    chain_id = settings.CHAIN_ID
    known = {
        (row.block_hash, row.tx_hash, row.log_index): row
        for row in Transfer.objects.filter(chain_id=chain_id, block_hash__in={s.block_hash for s in seen})
        .select_for_update()
        .order_by("id")
    }
    back = [row.id for row in known.values() if row.orphaned_at]
    if back:
        Transfer.objects.filter(id__in=back).update(orphaned_at=None)
    fresh = [
        Transfer(
            chain_id=chain_id,
            block_number=s.block_number,
            block_hash=s.block_hash,
            tx_hash=s.tx_hash,
            log_index=s.log_index,
            token=s.token,
            sender=s.sender,
            recipient=s.recipient,
            value=s.value,
            nonce=s.nonce,
        )
        for s in seen
        if (s.block_hash, s.tx_hash, s.log_index) not in known
    ]
    Transfer.objects.bulk_create(fresh)
    return [*fresh, *known.values()]


def _complete(rows: Sequence[Transfer]) -> list[Transfer]:
    """Complete the payments that these transfers pay, in the caller's database transaction. Returns the other rows."""
    paid = _matched(rows)
    sales = {row.id: _sale(row, payment) for row, payment in paid}
    entries = dict(zip(sales, ledger.post_all(list(sales.values())), strict=True))
    sold = {payment.id: entries[row.id].id for row, payment in paid}
    if sold:
        now = timezone.now()
        changed = Payment.objects.filter(id__in=sold, state__in=_MAY_BE_PAID).update(
            state=PaymentState.CONFIRMED,
            reason="",
            decided_at=now,
            sale_id=Case(*(When(id=key, then=Value(value)) for key, value in sold.items())),
        )
        if changed != len(sold):
            raise IntegrityError("a payment was decided meanwhile")
        Grant.objects.bulk_create(
            Grant(payment=p, buyer=p.buyer, resource=p.resource, version=p.version, made_at=now) for _, p in paid
        )
        for row, payment in paid:
            row.payment = payment
            row.received = row.received or entries[row.id]
            _note(payment, "sold")
        Transfer.objects.bulk_update([row for row, _ in paid], ["payment", "received"])
    return [row for row in rows if row.id not in sales]


def _matched(rows: Sequence[Transfer]) -> list[tuple[Transfer, Payment]]:
    """Match transfers to payments: same authorization, recipient and amount, and the payment may still be paid."""
    nonces = {row.nonce for row in rows if row.nonce is not None}
    if not nonces:
        return []
    wanted = Authorization.objects.filter(nonce__in=nonces, payer__in={row.sender for row in rows})
    claims = _locked(wanted.filter(chain_id=settings.CHAIN_ID, payment__state__in=_MAY_BE_PAID))
    by_key = {(claim.token, claim.payer, claim.nonce): claim for claim in claims}
    found = []
    for row in rows:
        claim = by_key.get((row.token, row.sender, row.nonce)) if row.nonce is not None else None
        if claim and row.recipient == claim.recipient and row.value == claim.payment.amount_micros:
            found.append((row, claim.payment))
    taken: set[tuple[str, str]] = set()
    sold = []
    for row, payment in found:
        bought = (payment.buyer, payment.resource)
        # Two closed payments of one buyer for one article can be paid in the same block, and one payment can appear in
        # two blocks during a reorganisation. The first transfer is the purchase; the others go to suspense.
        if bought not in taken and (payment.state in OPEN or not _bought_otherwise(payment)):
            sold.append((row, payment))
            taken.add(bought)
    return sold


def _locked(claims: QuerySet[Authorization]) -> list[Authorization]:
    """Lock claims and payments in a fixed lock order, to prevent deadlocks. The constraints decide, not these locks."""
    return list(claims.select_related("payment").select_for_update(of=("self", "payment")).order_by("payment_id"))


def _bought_otherwise(payment: Payment) -> bool:
    """Whether the buyer meanwhile has, or is buying, the same article by another payment."""
    others = Payment.objects.filter(buyer=payment.buyer, resource=payment.resource, state__in=LIVE)
    return others.exclude(id=payment.id).exists()


def _sale(row: Transfer, payment: Payment) -> Entry:
    source = accounts.suspense(row.chain_id) if row.received_id else accounts.world(row.chain_id)
    moves = accounts.sale_moves(source, accounts.earned(payment.payee), payment.amount_micros)
    return Entry(Kind.SALE, _once_more(Kind.SALE, payment.id, again=payment.reversals), moves)


def _once_more(kind: Kind, *of: object, again: int) -> str:
    """The transaction's key. After a reorganisation the same event is posted again under a key with a counter."""
    return kind.key(*of, again) if again else kind.key(*of)


def _into_suspense(rows: Sequence[Transfer]) -> None:
    """Post unclaimed transfers to suspense. A value too large for the books stays in its row; the audit reports it."""
    booked = [row for row in rows if 0 < row.value <= _LARGEST_BOOKED]
    entries = []
    for row in booked:
        move = Move(accounts.world(row.chain_id), accounts.suspense(row.chain_id), row.value)
        key = _once_more(Kind.UNCLAIMED, row.chain_id, row.id, again=row.orphanings)
        entries.append(Entry(Kind.UNCLAIMED, key, (move,)))
    for row, entry in zip(booked, ledger.post_all(entries), strict=True):
        row.received = entry
    Transfer.objects.bulk_update(booked, ["received"])


def reopen(submission: Submission, mined_at: int | None) -> None:
    """Free the authorizations that a mined or lost transaction of ours did not settle.

    `mined_at` is the time of its block, in Unix seconds; None when it was lost. An authorization that was still good
    then has cost gas by its payer's doing: it is marked, only decided, and never sent again.
    """
    with transaction.atomic(durable=True):
        left = Authorization.objects.filter(submission=submission, payment__state=PaymentState.SIGNED)
        ids = list(left.values_list("payment_id", flat=True))
        Payment.objects.filter(id__in=ids, state=PaymentState.SIGNED).update(state=PaymentState.CLAIMED)
        # Not those that the watcher has completed since the read: their submission says who settled them.
        freed = Authorization.objects.filter(payment_id__in=ids, payment__state=PaymentState.CLAIMED)
        if mined_at is not None:
            freed.filter(valid_before__gt=mined_at).update(wasted_at=timezone.now())
        freed.update(submission=None)
        notify.send()
