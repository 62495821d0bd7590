"""Why claims cannot be settled. A claim is released only for a reason that is certain in the turn's block.

"You were not charged" is said only where the authorization is unused in that block and no transaction of ours has it.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Sequence

from django.conf import settings

from payments.models import Authorization, Transfer

from . import logs, payers, record, rpc, view

log = logging.getLogger(__name__)
_DECIDING_SECONDS = 1.0
_AT_ONCE = 100


def decide_all(claims: Sequence[Authorization], head: rpc.Block) -> None:
    """Decide why these claims cannot be settled now; they are the settler's, so no transaction of ours has them.

    Their payers' facts cost one call for a hundred. Of the spent ones as many are decided as one second allows.
    """
    ends = time.monotonic() + _DECIDING_SECONDS
    for start in range(0, len(claims), _AT_ONCE):
        some = claims[start : start + _AT_ONCE]
        released = defaultdict(list)
        try:
            found = payers.read([(claim.payer, claim.nonce) for claim in some], head)
        except rpc.ChainUnreachable as error:
            log.warning("cannot tell yet why %s payments would fail: %s", len(some), error)
            return
        for claim, facts in zip(some, found, strict=True):
            if facts.used:
                _try_spent(claim, head, ends)
            elif reason := _reason(claim, facts, head):
                released[reason].append(claim.payment_id)
        for reason, ids in released.items():
            record.release(ids, reason)


def _reason(claim: Authorization, facts: payers.Facts, head: rpc.Block) -> str:
    """The certain reason for which an unspent authorization cannot be settled; empty when there is none yet."""
    if claim.wasted_at:
        return "settlement_failed"  # It cost gas once, and is not sent again.
    if head.time >= claim.valid_before:
        return "authorization_expired"
    if facts.balance < claim.payment.amount_micros:
        return "insufficient_funds"
    return "transaction_simulation_failed" if head.time > claim.valid_after else ""


def _try_spent(claim: Authorization, head: rpc.Block, ends: float) -> None:
    """Decide a spent authorization while there is time. An error in one does not stop the others."""
    if time.monotonic() > ends:
        return
    try:
        _spent(claim, head.number - settings.CHAIN_CONFIRMATIONS + 1)
    except (rpc.ChainUnreachable, rpc.CallReverted) as error:
        log.warning("cannot tell yet what the authorization of payment %s paid: %s", claim.payment_id, error)


def _spent(claim: Authorization, confirmed: int) -> None:
    """Decide a claim whose authorization another sender has used, or the payer cancelled.

    A transfer that came to us completes this payment, which claimed the authorization first. Searches only up to
    the block `confirmed`. The claim waits until the log is there.
    """
    if record.claim_received(claim.payer, claim.nonce):
        return
    known, seen = logs.fate_of(claim.payer, claim.nonce, confirmed - settings.CHAIN_LOG_RANGE + 1, confirmed)
    if seen and not view.has(seen.block_number, seen.block_hash):
        return
    if seen:
        record.transfers([seen])
    if known and (seen is None or Transfer.objects.filter(sender=claim.payer, nonce=claim.nonce).exists()):
        # `release` changes nothing if the transfer completed the payment. If not, no money or a wrong amount came.
        record.release([claim.payment_id], "authorization_used")
