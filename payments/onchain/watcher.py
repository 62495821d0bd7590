"""The watcher: reads every transfer to us from the chain, detects reorganisations, and marks what is final.

The watcher needs no key and sends nothing. It finds the same facts as the settler, independently.
"""

import logging

from django.conf import settings

from payments.models import OPEN, Chain, Payment, PaymentState, Transfer

from . import record, rpc

log = logging.getLogger(__name__)
# How many blocks below finality a reorganisation is still searched for. None is expected that deep.
_DEEPER = 64


class AnotherChain(Exception):
    """The node is on another chain than the database. Its transfers must not enter these books."""


def meet() -> Chain:
    """The database row of the node's chain, created on first contact. Raises AnotherChain."""
    genesis = rpc.genesis_hash()
    known = Chain.objects.filter(chain_id=settings.CHAIN_ID).first()
    if known is None:
        claimed = int(rpc.request("eth_chainId"), 16)
        if claimed != settings.CHAIN_ID:
            raise AnotherChain(f"CHAIN_ID is {settings.CHAIN_ID}, but the node at CHAIN_RPC_URL says {claimed}.")
        first = settings.CHAIN_START_BLOCK
        start = rpc.block(max(first - 1, 0) if first >= 0 else "latest")
        fresh = Chain(
            chain_id=claimed,
            genesis_hash=genesis,
            started_at=start.number,
            opening_balance=rpc.balance_of(rpc.pay_to(), hex(start.number)),
            scanned_to=start.number,
            scanned_hash=start.hash,
        )
        Chain.objects.bulk_create([fresh], ignore_conflicts=True)
        known = Chain.objects.get(chain_id=claimed)
    if known.genesis_hash != genesis:
        raise AnotherChain(
            "This database belongs to another chain: its genesis block is "
            f"0x{known.genesis_hash.hex()[:16]}…, the node's is 0x{genesis.hex()[:16]}…. Use a new database."
        )
    return known


def watch() -> None:
    """One scan: record new transfers, undo reorganised ones, mark finality, and fail expired authorizations."""
    known = meet()
    head = rpc.block("latest")
    top = head.number - settings.CHAIN_CONFIRMATIONS + 1
    reorganised = rpc.block(min(known.scanned_to, head.number)).hash != known.scanned_hash
    first = known.scanned_to + 1
    if reorganised:
        first = max(0, min(known.scanned_to, top) - settings.CHAIN_FINALITY_DEPTH - _DEEPER)
    if top < first:
        return
    last = min(top, first + settings.CHAIN_LOG_RANGE - 1)
    scanned = rpc.block(last)
    seen = _seen_between(first, last)
    if rpc.block(last).hash != scanned.hash:
        return  # A reorganisation happened during the read, so the logs may mix two chains. The next scan reads again.
    _take_back_missing(first, last, {(s.block_hash, s.tx_hash, s.log_index) for s in seen})
    record.transfers(seen)
    _finalise(known, scanned, head)


def _take_back_missing(first: int, last: int, seen: set[tuple[bytes, bytes, int]]) -> None:
    """Take back recorded transfers that are missing from these blocks, if their block has been replaced."""
    rows = Transfer.objects.filter(chain_id=settings.CHAIN_ID, block_number__range=(first, last), orphaned_at=None)
    for row in rows:
        if (row.block_hash, row.tx_hash, row.log_index) in seen:
            continue
        # A log missing from the node's answer proves nothing. The block itself must have been replaced.
        if rpc.block(row.block_number).hash != row.block_hash:
            record.take_back(row)


def _seen_between(first: int, last: int) -> list[rpc.SeenTransfer]:
    """The transfers in these blocks. If the node refuses the range, ask for each half."""
    try:
        return rpc.transfers_between(first, last)
    except rpc.RpcRefused:
        if first == last:
            raise
    middle = (first + last) // 2
    return _seen_between(first, middle) + _seen_between(middle + 1, last)


def _finalise(known: Chain, scanned: rpc.Block, head: rpc.Block) -> None:
    final = min(head.number - settings.CHAIN_FINALITY_DEPTH, scanned.number)
    Chain.objects.filter(chain_id=known.chain_id).update(scanned_to=scanned.number, scanned_hash=scanned.hash)
    if final <= 0:
        return
    _take_back_late(known, final)
    record.finalise(known.chain_id, final)
    undecided = Payment.objects.filter(state__in=(*OPEN, PaymentState.RELEASED))
    if undecided.filter(authorization__valid_before__lte=head.time).exists():
        record.fail_expired(known.chain_id, rpc.block(final).time)


def _take_back_late(known: Chain, final: int) -> None:
    """Take back transfers that were recorded after the scan passed their block, if that block is gone.

    Without this check a transfer of a replaced block could become final.
    """
    due = Transfer.objects.filter(chain_id=known.chain_id, final=False, orphaned_at=None, block_number__lte=final)
    for number, block_hash in sorted(set(due.values_list("block_number", "block_hash"))):
        if rpc.block(number).hash != block_hash:
            for row in due.filter(block_number=number, block_hash=block_hash):
                record.take_back(row)
