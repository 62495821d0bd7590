"""Why claims cannot be settled. A claim is released only for a reason that is certain in the turn's block.

"You were not charged" is said only where the authorization is unused in that block and no transaction of ours has it.
"""

import logging
import time

from django.conf import settings

from payments.models import Authorization

from . import logs, record, rpc, view

log = logging.getLogger(__name__)
_DECIDING_SECONDS = 1.0


def decide_all(claims: list[Authorization], head: rpc.Block) -> None:
    """Decide as many claims as one second allows. An error in one does not stop the others."""
    ends = time.monotonic() + _DECIDING_SECONDS
    for claim in claims:
        if time.monotonic() > ends:
            return
        try:
            _decide(claim, head)
        except (rpc.ChainUnreachable, rpc.CallReverted) as error:
            log.warning("cannot tell yet why payment %s would fail: %s", claim.payment_id, error)


def _decide(claim: Authorization, head: rpc.Block) -> None:
    """Find out why a claim cannot be settled now. Release it only for a certain reason; otherwise it waits."""
    if rpc.authorization_used(claim.payer, claim.nonce, head):
        return _spent(claim, head.number - settings.CHAIN_CONFIRMATIONS + 1)
    if head.time >= claim.valid_before:
        return record.release([claim.payment_id], "authorization_expired")
    if rpc.balance_of(claim.payer, head) < claim.payment.amount_micros:
        return record.release([claim.payment_id], "insufficient_funds")
    if head.time > claim.valid_after:
        record.release([claim.payment_id], "transaction_simulation_failed")
    return None


def give_up(claim: Authorization, head: rpc.Block) -> None:
    """Release a claim that has cost gas twice, unless the authorization was used: then its outcome decides."""
    if rpc.authorization_used(claim.payer, claim.nonce, head):
        return _spent(claim, head.number - settings.CHAIN_CONFIRMATIONS + 1)
    return record.release([claim.payment_id], "settlement_failed")


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
    if known:
        # `release` changes nothing if the transfer completed the payment. If not, no money or a wrong amount came.
        record.release([claim.payment_id], "authorization_used")
