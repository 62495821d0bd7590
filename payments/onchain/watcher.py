"""The watcher: reads every transfer to us from the chain, detects reorganisations, and marks what is final.

The watcher needs no key and sends nothing. It finds the same facts as the settler, independently. It is a process
of its own (`manage.py watch`), so that no slow card processor and no stopped settler can stop it.
"""

import contextlib
import logging
import threading

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection
from django.db.models.functions import Now

from payments import jobs
from payments.models import Chain, Transfer
from payments.outages import WATCHING

from . import logs, record, rpc, view

log = logging.getLogger(__name__)
_OVERLAP = 32
# One scan reads at most this many ranges of the size that the node answers for.
_SPANS = 8
JOB = "watch"
# Between two looks of the one that watches, and between two tries of another to take its place.
_PAUSE_SECONDS, _STANDBY_SECONDS = 4.0, 1.0
# The pause after a failed look doubles up to this.
_LONGEST_SECONDS = 8.0


class AnotherChain(Exception):
    """The node is on another chain than the database. Its transfers must not enter these books."""


def meet() -> Chain:
    """The database row of the node's chain, created on first contact. Raises AnotherChain."""
    genesis = _genesis_hash()
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
            opening_balance=rpc.balance_of(rpc.pay_to(), start),
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


def run(stop: threading.Event) -> None:
    """Watch until `stop` is set. Of several watchers one looks, and another takes over when its lease has expired.

    After a chain or database error it retries, and logs one line when the outage begins and one when it is over. Raises
    AnotherChain if the node was on another chain from the start.
    """
    lease, failures = jobs.JobLease(JOB), 0
    while not stop.is_set():
        try:
            close_old_connections()
            pause, failures = _look(lease), 0
            WATCHING.answered()
        except Exception as error:
            if isinstance(error, AnotherChain) and not _Looked.hash:
                raise
            if isinstance(error, DatabaseError):
                connection.close()
            elif not isinstance(error, rpc.ChainUnreachable | AnotherChain) and not WATCHING.lasts:
                log.exception("a look has failed")  # A defect, but if the watcher ended, nothing would be watched.
            WATCHING.failed(error)
            pause, failures = min(2.0**failures, _LONGEST_SECONDS), failures + 1
        stop.wait(pause)
    with contextlib.suppress(DatabaseError):
        lease.let_go()


def _look(lease: jobs.JobLease) -> float:
    """Scan once, if it is this process that watches. Returns the pause before the next look in seconds."""
    if not lease.take(_PAUSE_SECONDS + settings.LEASE_SECONDS):
        return _STANDBY_SECONDS
    watch()
    lease.ended("ok", succeeded_at=Now())
    return _PAUSE_SECONDS


def watch() -> None:
    """One scan: record new transfers, undo reorganised ones, mark finality, and fail expired authorizations.

    The last _OVERLAP blocks are read again each time: the node that answered before may have lacked some of their logs.
    """
    known = meet()
    head = view.head()
    top = head.number - settings.CHAIN_CONFIRMATIONS + 1
    if head.number < known.scanned_to:
        return  # Only nodes that are behind have answered. That is no reorganisation.
    start = known.scanned_to
    if not _same_chain(known, head):
        start = _take_back_replaced(known, head, top)
    elif top <= start and head.hash == _Looked.hash:
        return  # Nothing can have changed.
    first = max(start - _OVERLAP + 1, known.started_at + 1, 0)
    last = min(top, start + min(_SPANS * logs.comfortable_blocks(), settings.CHAIN_LOG_RANGE))
    if last < first:
        return
    scanned = head if last == head.number else rpc.block(last)
    record_new(first, last, scanned)
    _finalise(known, scanned, head)
    _Looked.hash = head.hash


class _Looked:
    """What this process has seen: the newest block of its last complete scan, and the genesis block of its node."""

    hash = b""
    genesis: tuple[str, bytes] = ("", b"")


def _genesis_hash() -> bytes:
    """The hash of the node's block 0. Asked once for each URL."""
    url, known = _Looked.genesis
    if url != settings.CHAIN_RPC_URL:
        known = rpc.genesis_hash()
        _Looked.genesis = (settings.CHAIN_RPC_URL, known)
    return known


def record_new(first: int, last: int, known: rpc.Block | None = None) -> int:
    """Record the transfers in these blocks that are not recorded yet, if a second read has their block too.

    Returns how many others there are; the next scan reads them again. `known` is a block that was read before.
    """
    rows = Transfer.objects.filter(chain_id=settings.CHAIN_ID, block_number__range=(first, last), orphaned_at=None)
    recorded = set(rows.values_list("block_hash", "log_index"))
    seen = logs.transfers_between(first, last, recorded)
    sure = {block_hash for block_hash, _ in recorded}
    for number, block_hash in {(s.block_number, s.block_hash) for s in seen if s.block_hash not in sure}:
        if view.has(number, block_hash, known):
            sure.add(block_hash)
    certain = [s for s in seen if s.block_hash in sure]
    record.transfers(certain)
    return len(seen) - len(certain)


def _same_chain(known: Chain, head: rpc.Block) -> bool:
    """Whether the block that was scanned last is still in the chain, by one answer.

    `_take_back_replaced` asks again before it takes anything back.
    """
    if head.number == known.scanned_to:
        return head.hash == known.scanned_hash
    if head.number == known.scanned_to + 1 and head.parent:
        return head.parent == known.scanned_hash
    return view.has(known.scanned_to, known.scanned_hash)


def _take_back_replaced(known: Chain, head: rpc.Block, top: int) -> int:
    """Take back the transfers of replaced blocks, from the newest down to the first that is still there.

    A log missing from the node's answer proves nothing: two reads must have another block at its number. Returns the
    block after which all blocks have to be read again.
    """
    if rpc.genesis_hash() != known.genesis_hash:
        raise AnotherChain("The node at CHAIN_RPC_URL is on another chain than it was. Nothing was taken back.")
    log.warning("reorganisation: block %s was replaced", known.scanned_to)
    deepest = min(known.scanned_to, top, view.final(head).number)
    rows = Transfer.objects.filter(chain_id=known.chain_id, orphaned_at=None)
    while newest := rows.order_by("-block_number").values_list("block_number", "block_hash").first():
        number, block_hash = newest
        if _is_there(number, block_hash, top):
            break
        deepest = min(deepest, number - 1)
        for row in rows.filter(block_number=number, block_hash=block_hash):
            if row.final:
                log.critical("block %s was replaced although it was final: %s is taken back", number, row)
            record.take_back(row)
    return max(deepest, known.started_at)


def _is_there(number: int, block_hash: bytes, top: int) -> bool:
    """Whether a block is still in the chain. Two reads must agree that it is not."""
    return number <= top and (view.has(number, block_hash) or view.has(number, block_hash))


def _finalise(known: Chain, scanned: rpc.Block, head: rpc.Block) -> None:
    Chain.objects.filter(chain_id=known.chain_id).update(scanned_to=scanned.number, scanned_hash=scanned.hash)
    expired = record.expired(known.chain_id, head.time).exists()
    if not expired and not record.awaits_finality(known.chain_id):
        return
    final = view.final(head)
    number = min(final.number, scanned.number)
    _take_back_late(known, number)
    record.finalise(known.chain_id, number)
    if expired:
        record.fail_expired(known.chain_id, (final if final.number == number else scanned).time)


def _take_back_late(known: Chain, final: int) -> None:
    """Take back transfers that were recorded after the scan passed their block, if that block is gone.

    Without this check a transfer of a replaced block could become final.
    """
    due = Transfer.objects.filter(chain_id=known.chain_id, final=False, orphaned_at=None, block_number__lte=final)
    for number, block_hash in sorted(set(due.values_list("block_number", "block_hash"))):
        if not _is_there(number, block_hash, final):
            for row in due.filter(block_number=number, block_hash=block_hash):
                record.take_back(row)
