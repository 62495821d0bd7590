"""The audit: every invariant of docs/audit.md, against the database and against the chain. Writes nothing.

The database is read first, in one snapshot; the chain is asked afterwards, about one block.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, F, Q, Sum

from . import chain, ledger, settlement
from .models import OPEN, OWNED, Account, Authorization, Chain, Grant, Payment, Posting, State, Transaction, Transfer
from .rails import exact

_LOG_BLOCKS = 50_000
_SETTLING_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not hold: the invariant's word, a sentence, and the ids concerned (at most twenty)."""

    word: str
    sentence: str
    ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.word}: {self.sentence}" + (f" [{', '.join(self.ids)}]" if self.ids else "")


def findings() -> Iterator[Finding]:
    """Everything that does not hold; nothing when the books are right."""
    with transaction.atomic():
        if connection.vendor == "postgresql" and not transaction.get_connection().savepoint_ids:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        inside = [finding for check in _CHECKS for finding in check()]
        facts = _Facts.read() if exact.enabled() else None
    yield from inside
    if facts:
        try:
            yield from _against_chain(facts)
        except (chain.ChainUnreachable, chain.RpcRefused) as error:
            yield Finding("chain_unreachable", f"The books could not be compared with the chain: {error}")


def _finding(word: str, sentence: str, ids: Iterable) -> Iterator[Finding]:
    """A finding if there is at least one id."""
    first = tuple(str(one) for one in itertools.islice(ids, 20))
    if first:
        yield Finding(word, sentence, first)


# --- The database alone -------------------------------------------------------------------------------


def _entries_are_whole() -> Iterator[Finding]:
    """INV1, INV14: every entry still has the postings it was made with, to the micro."""
    lines = Posting.objects.order_by("transaction_id").values_list(
        "transaction_id", "source__code", "target__code", "amount_micros", "source__asset"
    )
    found: dict = {}
    for transaction_id, group in itertools.groupby(lines.iterator(), key=lambda line: line[0]):
        moves = list(group)
        found[transaction_id] = (moves[0][4], [(m[1], m[2], m[3]) for m in moves])
    broken = []
    for pk, kind, digest, closing in Transaction.objects.values_list(
        "id", "kind", "digest", "last_posting__transaction_id"
    ).iterator():
        asset, moves = found.pop(pk, ("", []))
        if not moves or closing != pk or ledger.digest(kind, asset, moves) != digest:
            broken.append(pk)
    yield from _finding("entry_broken", "An entry has not the postings it was made with.", broken)
    yield from _finding("posting_without_entry", "Postings belong to no entry.", found)


def _sales_match_payments() -> Iterator[Finding]:
    """INV5, INV13: a paid payment has its own sale, for its amount, to its payee and the platform."""
    owned = Payment.objects.filter(state__in=OWNED)
    wrong = []
    totals = owned.annotate(posted=Sum("sale__postings__amount_micros")).values_list("id", "amount_micros", "posted")
    wrong += [pk for pk, amount, posted in totals.iterator() if amount != posted]
    strangers = Posting.objects.filter(transaction__payment__isnull=False).exclude(target__code="platform:fees")
    for pk, payee, code in strangers.values_list("transaction__payment", "transaction__payment__payee", "target__code"):
        if code != f"{payee}:earned":
            wrong.append(pk)
    yield from _finding("sale_differs", "A sale is not what its payment says.", wrong)
    orphans = Transaction.objects.filter(kind="sale", payment=None, reversed_by=None).values_list("id", flat=True)
    yield from _finding("sale_without_payment", "A sale belongs to no payment.", orphans)
    odd = Payment.objects.filter(Q(state__in=OWNED) & ~Q(sale__kind="sale")).values_list("id", flat=True)
    yield from _finding("payment_without_sale", "A paid payment has no sale.", odd)


def _grants_match_payments() -> Iterator[Finding]:
    """INV4, INV5: no access without a posted payment, and no payment without access."""
    live = Q(grants__revoked_at=None, grants__isnull=False)
    missing = Payment.objects.filter(state__in=OWNED).annotate(held=Count("grants", filter=live)).exclude(held=1)
    yield from _finding(
        "payment_without_grant", "A paid payment has not exactly one grant.", missing.values_list("id", flat=True)
    )
    granted = Grant.objects.filter(revoked_at=None)
    free = granted.exclude(payment__state__in=OWNED).values_list("id", flat=True)
    yield from _finding("grant_without_payment", "A grant has no paid payment.", free)
    other = granted.exclude(buyer=F("payment__buyer"), resource=F("payment__resource")).values_list("id", flat=True)
    yield from _finding("grant_differs", "A grant is for another buyer or thing than its payment.", other)


def _proofs_are_spent_once() -> Iterator[Finding]:
    """INV3: one claim for one authorization."""
    keys = Authorization.objects.values("chain_id", "token", "payer", "nonce").annotate(n=Count("payment_id"))
    doubled = keys.filter(n__gt=1).values_list("nonce", flat=True)
    yield from _finding("authorization_twice", "An authorization was claimed twice.", (n.hex() for n in doubled))
    bare = Payment.objects.filter(rail="exact", authorization=None).values_list("id", flat=True)
    yield from _finding("payment_without_proof", "A payment has no authorization.", bare)


def _transfers_are_booked() -> Iterator[Finding]:
    """INV6: every transfer is in exactly one entry of its amount, and every entry of arrival has its transfer."""
    seen = Transfer.objects.filter(orphaned_at=None)
    unbooked = seen.filter(received=None).exclude(value=0).values_list("id", flat=True)
    yield from _finding("transfer_unbooked", "A transfer is in no entry.", unbooked)
    totals = seen.exclude(received=None).annotate(posted=Sum("received__postings__amount_micros"))
    differing = (pk for pk, value, posted in totals.values_list("id", "value", "posted").iterator() if value != posted)
    yield from _finding("transfer_differs", "A transfer's entry has another amount.", differing)
    arrivals = Transaction.objects.filter(kind="unclaimed", transfer=None, reversed_by=None)
    yield from _finding(
        "entry_without_transfer", "Money is booked that never came.", arrivals.values_list("id", flat=True)
    )
    paid = Payment.objects.filter(state__in=OWNED, rail="exact")
    paired = paid.annotate(moved=Count("transfers", filter=Q(transfers__orphaned_at=None))).exclude(moved=1)
    yield from _finding(
        "payment_without_transfer", "A paid payment has not exactly one transfer.", paired.values_list("id", flat=True)
    )
    bound = ("payment__amount_micros", "payment__authorization__payer", "payment__authorization__nonce")
    mine = seen.exclude(payment=None).values_list("id", "value", "sender", "nonce", *bound)
    wrong = (row[0] for row in mine.iterator() if row[1:4] != row[4:7])
    yield from _finding("transfer_of_another", "A transfer is not the one its payment authorized.", wrong)


def _floors_hold() -> Iterator[Finding]:
    """INV8: nobody owes us who cannot, and nothing came from nowhere."""
    for (code, _), amount in ledger.balances(Q()).items():
        if amount > 0 if code.startswith("world:") else amount < 0:
            yield Finding("account_below_floor", f"{code} stands at {amount} micros.", (code,))


_CHECKS = (
    _entries_are_whole,
    _sales_match_payments,
    _grants_match_payments,
    _proofs_are_spent_once,
    _transfers_are_booked,
    _floors_hold,
)


# --- Against the chain ----------------------------------------------------------------------------------


@dataclass
class _Facts:
    """What the database says of the chain, as of the last scanned block."""

    known: Chain | None
    rows: list[tuple]
    arrived: int
    booked: int
    in_books: int
    undecided: list[tuple]

    @classmethod
    def read(cls) -> "_Facts":
        chain_id = settings.CHAIN_ID
        known = Chain.objects.filter(chain_id=chain_id).first()
        scanned = known.scanned_to if known else 0
        on_chain = Transfer.objects.filter(chain_id=chain_id, orphaned_at=None)
        values = on_chain.values_list("value", "block_number", "received_id")
        totals = [(value, number <= scanned, bool(received)) for value, number, received in values.iterator()]
        window = on_chain.filter(block_number__range=(scanned - _LOG_BLOCKS, scanned))
        open_ones = Authorization.objects.filter(chain_id=chain_id, payment__state__in=(*OPEN, State.RELEASED))
        return cls(
            known=known,
            rows=list(window.values_list("block_hash", "tx_hash", "log_index", "sender", "value", "nonce")),
            arrived=sum(value for value, below, _ in totals if below),
            booked=sum(value for value, _, received in totals if received),
            in_books=-ledger.balance(settlement.world(chain_id)),
            undecided=list(open_ones.values_list("payment_id", "valid_before")),
        )


def _against_chain(facts: _Facts) -> Iterator[Finding]:
    known = facts.known
    if known is None:
        if Account.objects.filter(code=settlement.world(settings.CHAIN_ID)).exists():
            yield Finding("chain_unknown", "The books have entries of a chain that the database never met.")
        return
    if chain.genesis_hash() != known.genesis_hash:
        yield Finding("another_chain", "The node is on another chain than the books.")
        return
    head = chain.block("latest")
    if chain.block(min(known.scanned_to, head.number)).hash != known.scanned_hash:
        yield Finding(
            "reorganised", "The chain was reorganised since it was last read; run the watcher, then audit again."
        )
        return
    yield from _money_is_there(facts, known)
    yield from _logs_agree(facts, known)
    final = chain.block(max(head.number - settings.CHAIN_FINALITY_DEPTH, 0)).time
    late = (pk for pk, valid_before in facts.undecided if valid_before + _SETTLING_SECONDS < final)
    yield from _finding("undecided_too_long", "A payment that can no longer happen is still open.", late)


def _money_is_there(facts: _Facts, known: Chain) -> Iterator[Finding]:
    """INV7: what arrived by the books is what our address holds at the last scanned block."""
    holds = chain.balance_of(chain.pay_to(), hex(known.scanned_to)) - known.opening_balance
    if holds != facts.arrived:
        yield Finding(
            "custody_differs", f"Our address gained {holds} micros on the chain, {facts.arrived} by the transfers seen."
        )
    if facts.in_books != facts.booked:
        yield Finding(
            "books_differ", f"The books have {facts.in_books} micros from the chain, the transfers {facts.booked}."
        )


def _logs_agree(facts: _Facts, known: Chain) -> Iterator[Finding]:
    """INV6 again, from the other side: the token's logs and our rows are the same set."""
    first = max(known.scanned_to - _LOG_BLOCKS, known.started_at + 1)
    ours, theirs = set(facts.rows), set()
    while first <= known.scanned_to:
        last = min(first + settings.CHAIN_LOG_RANGE - 1, known.scanned_to)
        for s in chain.transfers_between(first, last):
            theirs.add((s.block_hash, s.tx_hash, s.log_index, s.sender, s.value, s.nonce))
        first = last + 1
    yield from _finding(
        "transfer_unseen", "The chain has transfers that we never recorded.", (t[1].hex() for t in theirs - ours)
    )
    yield from _finding(
        "transfer_invented", "We recorded transfers that the chain does not have.", (t[1].hex() for t in ours - theirs)
    )
