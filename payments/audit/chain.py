"""The audit against the chain, as of the last scanned block: custody, and the token's logs."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings

from payments.books import accounts, ledger
from payments.models import OPEN, Account, Authorization, Chain, PaymentState, Transfer
from payments.onchain import logs, rpc, view

from .findings import Finding, finding

_LOG_BLOCKS = 50_000
_SETTLING_SECONDS = 120
# Seconds between the tries, when the chain cannot be reached or differs.
_PAUSES = (1, 1, 3)


@dataclass
class Facts:
    """The database's view of the chain, as of the last scanned block."""

    known: Chain | None
    rows: list[tuple]
    arrived: int
    booked: int
    in_books: int
    undecided: list[tuple]

    @classmethod
    def read(cls) -> "Facts":
        """From the database only. The chain is asked after the snapshot is closed."""
        chain_id = settings.CHAIN_ID
        known = Chain.objects.filter(chain_id=chain_id).first()
        scanned = known.scanned_to if known else 0
        on_chain = Transfer.objects.filter(chain_id=chain_id, orphaned_at=None)
        values = on_chain.values_list("value", "block_number", "received_id")
        totals = [(value, number <= scanned, bool(received)) for value, number, received in values.iterator()]
        window = on_chain.filter(block_number__range=(scanned - _LOG_BLOCKS, scanned))
        open_ones = Authorization.objects.filter(chain_id=chain_id, payment__state__in=(*OPEN, PaymentState.RELEASED))
        return cls(
            known=known,
            rows=list(window.values_list("block_hash", "tx_hash", "log_index", "sender", "value", "nonce")),
            arrived=sum(value for value, below, _ in totals if below),
            booked=sum(value for value, _, received in totals if received),
            in_books=-ledger.balance(accounts.world(chain_id)),
            undecided=list(open_ones.values_list("payment_id", "valid_before")),
        )


def findings(facts: Facts) -> Iterator[Finding]:
    """What differs between the database and the chain. An unreachable chain is a finding too.

    A difference counts when it is still there seconds later: the node that answered first may have been a block behind.
    """
    found = list(_compared_or_not(facts))
    for pause in _PAUSES:
        if not found:
            return
        time.sleep(pause)
        found = list(_compared_or_not(facts))
    yield from found


def _compared_or_not(facts: Facts) -> Iterator[Finding]:
    try:
        yield from _compared(facts)
    except (rpc.ChainUnreachable, rpc.CallReverted) as error:
        yield Finding("chain_unreachable", f"The books could not be compared with the chain: {error}")


def _compared(facts: Facts) -> Iterator[Finding]:
    known = facts.known
    if known is None:
        if Account.objects.filter(code=accounts.world(settings.CHAIN_ID)).exists():
            yield Finding("chain_unknown", "The books have transactions of a chain that the database does not know.")
        return
    if rpc.genesis_hash() != known.genesis_hash:
        yield Finding("another_chain", "The node is on another chain than the books.")
        return
    head = view.head(known.scanned_to)
    if not view.has(known.scanned_to, known.scanned_hash, head):
        yield Finding(
            "reorganised", "The chain was reorganised since it was last read; run the watcher, then audit again."
        )
        return
    yield from _money_is_there(facts, known)
    yield from _logs_agree(facts, known)
    final = view.final(head).time
    late = (pk for pk, valid_before in facts.undecided if valid_before + _SETTLING_SECONDS < final)
    yield from finding("undecided_too_long", "A payment that can no longer happen is still open.", late)


def _money_is_there(facts: Facts, known: Chain) -> Iterator[Finding]:
    """Custody: the transfers seen add up to what our address has gained on the chain, as of the last scanned block."""
    holds = rpc.balance_of(rpc.pay_to(), rpc.block(known.scanned_to)) - known.opening_balance
    if holds != facts.arrived:
        yield Finding(
            "custody_differs", f"Our address gained {holds} micros on the chain, {facts.arrived} by the transfers seen."
        )
    if facts.in_books != facts.booked:
        yield Finding(
            "books_differ", f"The books have {facts.in_books} micros from the chain, the transfers {facts.booked}."
        )


def _logs_agree(facts: Facts, known: Chain) -> Iterator[Finding]:
    """The token's logs and our recorded transfers are the same set, in the last _LOG_BLOCKS scanned blocks."""
    first = max(known.scanned_to - _LOG_BLOCKS, known.started_at + 1)
    ours, theirs = set(facts.rows), set()
    while first <= known.scanned_to:
        last = min(first + logs.comfortable_blocks() - 1, known.scanned_to)
        for s in _patiently(first, last):
            theirs.add((s.block_hash, s.tx_hash, s.log_index, s.sender, s.value, s.nonce))
        first = last + 1
    yield from finding(
        "transfer_unseen", "The chain has transfers that we never recorded.", (t[1].hex() for t in theirs - ours)
    )
    yield from finding(
        "transfer_invented", "We recorded transfers that the chain does not have.", (t[1].hex() for t in ours - theirs)
    )


def _patiently(first: int, last: int) -> list[logs.SeenTransfer]:
    """The transfers in these blocks. There are many calls: a node that is too busy for one is asked again."""
    for pause in _PAUSES:
        try:
            return logs.transfers_between(first, last)
        except rpc.ChainUnreachable:
            time.sleep(pause)
    return logs.transfers_between(first, last)
