"""The settler: the one process that signs. It settles claims in batches and follows each transaction until mined.

In one turn the settler follows the transactions it has sent (mined, lost or stuck), then puts all waiting claims into
one new transaction: simulate, sign and store in one commit, send. Under load the batch grows, not the queue. After a
crash at any point, the next turn of this or another process continues from the stored rows.

The state that a turn decides by is asked at one block, the newest, and never at an older one than before (view.py). A
turn without work makes no call.
"""

import logging
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections, connection, transaction
from django.db.models import Count, F, QuerySet, Sum, Window
from django.db.models.functions import Coalesce, RowNumber
from django.utils import timezone
from eth_account import Account
from eth_account.signers.local import LocalAccount

from payments import events, notify
from payments.models import Attempt, Authorization, Payment, PaymentState, Submission
from payments.outages import DATABASE, SETTLING

from . import logs, record, refusals, rpc, view
from .lease import LeaseHolder, LeaseLost
from .pace import Pace

log = logging.getLogger(__name__)

GAS_EACH = 150_000
_GAS_BASE = 60_000
_GAS_PER_ITEM = GAS_EACH + GAS_EACH // 32 + 12_000
_IN_FLIGHT_MAX = 4
# A chain that mines at once has mined by then. Of others the next block is awaited.
_FIRST_LOOK_SECONDS = 0.1
_IDLE_SECONDS = 1.0
# Seconds between counts of the key's transactions: usually, and while one waits for longer than usual.
_COUNT_SECONDS, _COUNT_SECONDS_WAITING = 10.0, 1.0
_USUAL_SECONDS = 3.0
_RESEND_SECONDS = 2.0
_REST_SECONDS = 0.5
_GAP_MAX = 16
_FEES_SECONDS = 10.0
# A nonce is used and no node knows a receipt: so many blocks later its transaction was not one of ours.
_LOST_BLOCKS = 3
_TRANSFER_GAS = 21_000
_BUMP_PERCENT = 125
_GWEI = 10**9


class _Fees(NamedTuple):
    """The priority fee that the node suggests, in wei per gas."""

    asked_at: float
    tip: int


class Settler:
    """Settles the claims of one chain with one key."""

    def __init__(self, private_key: str) -> None:
        self.account: LocalAccount = Account.from_key(private_key)
        self.key = bytes.fromhex(self.account.address[2:])
        self.lease = LeaseHolder(settings.CHAIN_ID, self.key)
        self._fees: _Fees | None = None
        self._caught_up_at = 0.0
        self._pace = Pace()
        # The newest block in which all sent transactions were looked for. Only another block can change the answers.
        self._looked_in = b""
        self._floor: int | None = None
        self._counted: tuple[bytes, int] = (b"", 0)
        # The block in which a submission's nonce was first seen used without a receipt.
        self._missing_since: dict[int, int] = {}
        self._sent_at: dict[int, float] = {}
        # The newest block when each attempt was first seen waiting. A block number avoids comparing two clocks.
        self._waiting_at: dict[int, int] = {}
        self._resting: dict[uuid.UUID, float] = {}

    def run(self, stopping: Callable[[], bool]) -> None:
        """Settle until `stopping()` is true. After a chain or database error the settler waits and retries."""
        listener = notify.Listener()
        while not stopping():
            pause = _IDLE_SECONDS
            try:
                close_old_connections()
                if self.lease.hold():
                    pause = self.turn()
                DATABASE.answered()
                SETTLING.answered()
            except rpc.ChainUnreachable as error:
                SETTLING.failed(error)
            except rpc.CallReverted as error:
                SETTLING.failed(f"the simulation of the whole batch failed: {error}")
            except LeaseLost:
                log.warning("another settler holds the key now")
            except (OperationalError, InterfaceError) as error:
                DATABASE.failed(error)
                connection.close()
            except DatabaseError:
                log.exception("the database failed")
                connection.close()
            except Exception:
                # No such error is known, but if the settler ended, no payment would be settled.
                log.exception("a turn of settlement failed")
            if pause:
                listener.wait(pause)
        self.lease.let_go()

    def turn(self) -> float:
        """One round of work. Returns how many seconds to wait for a notification before the next."""
        if not self._has_work():
            return _IDLE_SECONDS
        if self._floor is None:
            self._floor = self._looked_at_before()
        head = view.head(self._floor)
        self._pace.saw(head)
        self._catch_up(head)
        open_ones = self._follow_all(head)
        self._decide_failed(head)
        if len(open_ones) < _IN_FLIGHT_MAX and (claims := self._claims()) and self._settle(claims, head):
            return _FIRST_LOOK_SECONDS
        return self._pace.until_next_block() if open_ones else _IDLE_SECONDS

    def _has_work(self) -> bool:
        return self._waiting().exists() or self._sent().exists()

    def _looked_at_before(self) -> int:
        """The newest block that an earlier process has looked at, as far as it is stored."""
        ours = Submission.objects.filter(chain_id=settings.CHAIN_ID, key=self.key)
        mined = ours.exclude(block_number=None).order_by("-key_nonce").values_list("block_number", flat=True).first()
        return max(mined or 0, view.scanned_to())

    def _waiting(self) -> QuerySet[Authorization]:
        claimed = Authorization.objects.filter(submission=None, payment__state=PaymentState.CLAIMED)
        return claimed.filter(chain_id=settings.CHAIN_ID)

    def _sent(self) -> QuerySet[Submission]:
        return Submission.objects.filter(chain_id=settings.CHAIN_ID, key=self.key, state=Submission.State.SENT)

    def _claims(self) -> list[Authorization]:
        now = time.monotonic()
        self._resting = {payment_id: until for payment_id, until in self._resting.items() if until > now}
        waiting = self._waiting().filter(wasted_at=None).exclude(payment_id__in=self._resting)
        # Each payer's oldest claim first, then each one's second: no crowd of one payer's claims stands before others.
        turn = Window(RowNumber(), partition_by=F("payer"), order_by=F("payment__claimed_at").asc())
        fair = waiting.select_related("payment").annotate(turn=turn).order_by("turn", "payment__claimed_at")
        return list(fair[: settings.BATCH_MAX])

    def _decide_failed(self, head: rpc.Block) -> None:
        """Decide the claims that a transaction of ours did not settle. What failed once is never sent again."""
        failed = self._waiting().exclude(wasted_at=None).select_related("payment").order_by("wasted_at")
        refusals.decide_all(list(failed[: settings.BATCH_MAX]), head)

    # --- Following what was sent ----------------------------------------------------------------------

    def _follow_all(self, head: rpc.Block) -> list[Submission]:
        """Follow all sent transactions. Returns those that are still pending."""
        sent = list(self._sent().order_by("key_nonce").prefetch_related("attempts"))
        self._forget_all_but({attempt.id for submission in sent for attempt in submission.attempts.all()})
        if not sent:
            return []
        if head.hash == self._looked_in:
            for submission in sent:
                self._keep_going(submission, head)
            return sent
        confirmed = view.confirmed(head, settings.CHAIN_CONFIRMATIONS)
        count = self._count(confirmed)
        pending = []
        for submission in sent:
            if submission.key_nonce >= count:
                self._keep_going(submission, head)
                pending.append(submission)
            elif not self._decided(submission, head, confirmed):
                pending.append(submission)
        # What was decided without a receipt is looked for again, in this block too.
        self._looked_in = b"" if any(submission.key_nonce < count for submission in pending) else head.hash
        return pending

    def _count(self, block: rpc.Block) -> int:
        """The key's transactions up to a block, which is asked once for each block."""
        if self._counted[0] != block.hash:
            self._counted = (block.hash, rpc.transaction_count(self.key, block))
        return self._counted[1]

    def _forget_all_but(self, attempts: set[int]) -> None:
        self._sent_at = {number: at for number, at in self._sent_at.items() if number in attempts}
        self._waiting_at = {number: at for number, at in self._waiting_at.items() if number in attempts}

    def _decided(self, submission: Submission, head: rpc.Block, confirmed: rpc.Block) -> bool:
        """Record what became of a submission whose nonce is used in a confirmed block. False: not known yet."""
        for attempt in reversed(submission.attempts.all()):
            found = logs.receipt(attempt.tx_hash)
            if found is None or found.block_number > confirmed.number:
                continue
            if view.has(found.block_number, found.block_hash, confirmed):
                self._missing_since.pop(submission.id, None)
                self._mined(submission, found)
                return True
        # The node that answers may not have the block yet that has our transaction.
        since = self._missing_since.setdefault(submission.id, confirmed.number)
        if confirmed.number < since + _LOST_BLOCKS:
            return False
        self._missing_since.pop(submission.id, None)
        self._lost(submission)
        return True

    def _keep_going(self, submission: Submission, head: rpc.Block) -> None:
        """Send a pending transaction again, with a higher fee if it has waited for long."""
        newest = max(submission.attempts.all(), key=lambda attempt: attempt.max_fee)
        self._waiting_at.setdefault(newest.id, head.number)
        if timezone.now().timestamp() - newest.made_at.timestamp() > settings.FEE_BUMP_SECONDS:
            newest = self._bump(submission, newest, head) or newest
        if time.monotonic() - self._sent_at.get(newest.id, 0.0) > _RESEND_SECONDS:
            self._send(newest)

    def _mined(self, submission: Submission, found: logs.Receipt) -> None:
        record.transfers(found.transfers)
        unpaid = Authorization.objects.filter(submission=submission, payment__state=PaymentState.SIGNED)
        mined_at = rpc.block(found.block_number).time if unpaid.exists() else 0
        # Reopen before marking as mined: after a crash in between, the next turn repeats both.
        record.reopen(submission, mined_at)
        self._sent().filter(id=submission.id).update(
            state=Submission.State.MINED,
            block_number=found.block_number,
            block_hash=found.block_hash,
            gas_used=found.gas_used,
        )
        _note(submission, "mined", block=found.block_number, gas=found.gas_used)

    def _lost(self, submission: Submission) -> None:
        """Free the claims of a nonce that a foreign transaction used. What it settled, the next simulation shows."""
        log.error("nonce %s of the settlement key was used by a transaction that is not ours", submission.key_nonce)
        _note(submission, "lost")
        record.reopen(submission, None)
        self._sent().filter(id=submission.id).update(state=Submission.State.LOST)

    def _catch_up(self, head: rpc.Block) -> None:
        """Skip nonces that foreign transactions used, and reopen transactions that a reorganisation dropped."""
        waits = self._sent().filter(made_at__lt=timezone.now() - timedelta(seconds=_USUAL_SECONDS)).exists()
        if time.monotonic() - self._caught_up_at < (_COUNT_SECONDS_WAITING if waits else _COUNT_SECONDS):
            return
        self._caught_up_at = time.monotonic()
        count = self._count(head)
        self.lease.catch_up(count)
        undone = Submission.objects.filter(chain_id=settings.CHAIN_ID, key=self.key, key_nonce__gte=count)
        undone.exclude(state=Submission.State.SENT).update(
            state=Submission.State.SENT, block_number=None, block_hash=None, gas_used=None
        )
        self._fill_gap(count, head)

    def _fill_gap(self, count: int, head: rpc.Block) -> None:
        """Fill nonce gaps that block a sent transaction, each with a transfer of zero wei to ourselves.

        A gap comes from a wrong count by the node, or from a foreign transaction of this key that was reorganised away.
        """
        waiting = set(self._sent().filter(key_nonce__gte=count).values_list("key_nonce", flat=True))
        missing = sorted(set(range(count, max(waiting, default=count))[:_GAP_MAX]) - waiting) if waiting else []
        for nonce in missing:
            log.warning("nonce %s of the settlement key is missing: spending it on nothing", nonce)
            max_fee, tip = self._fair_fee(head)
            with transaction.atomic(durable=True):
                filler = Submission.objects.create(
                    chain_id=settings.CHAIN_ID,
                    key=self.key,
                    key_nonce=nonce,
                    to=self.key,
                    data=b"",
                    gas_limit=_TRANSFER_GAS,
                )
                attempt = self._attempt(filler, max_fee, tip)
            self._send(attempt)

    # --- Settling -------------------------------------------------------------------------------------

    def _settle(self, claims: list[Authorization], head: rpc.Block) -> bool:
        """Send one transaction with all claims that the token would accept after `head`. True when one was sent."""
        call = rpc.settle_call([_item(claim) for claim in claims], GAS_EACH)
        would = rpc.simulate(call, self.key, _gas_limit(claims), head)
        if len(would) != len(claims):
            raise rpc.ChainUnreachable("the simulation answers for other claims than were asked")
        good = [claim for claim, settles in zip(claims, would, strict=True) if settles]
        if good:
            self._send(self._signed(good, head))
        # Decide the bad claims after sending: they must not delay the good ones.
        paying = {claim.payer for claim in good}
        bad = [claim for claim, settles in zip(claims, would, strict=True) if not settles]
        # Another payment in this batch may have used up the payer's balance, so simulate again next time.
        refusals.decide_all([claim for claim in bad if claim.payer not in paying], head)
        if len(claims) >= settings.BATCH_MAX:
            self._let_rest(bad)
        return bool(good)

    def _signed(self, claims: list[Authorization], head: rpc.Block) -> Attempt:
        """Sign and store a transaction in one commit before sending: after a crash the same bytes are sent again."""
        data = rpc.settle_call([_item(claim) for claim in claims], GAS_EACH)
        max_fee, tip = self._fair_fee(head)
        with transaction.atomic(durable=True):
            submission = Submission.objects.create(
                chain_id=settings.CHAIN_ID,
                key=self.key,
                key_nonce=self.lease.take_nonce(),
                to=rpc.batch_contract(),
                data=data,
                gas_limit=_gas_limit(claims),
            )
            ids = [claim.payment_id for claim in claims]
            moved = Payment.objects.filter(id__in=ids, state=PaymentState.CLAIMED).update(state=PaymentState.SIGNED)
            if moved != len(ids):
                raise DatabaseError("a claim was decided while it was being signed")
            Authorization.objects.filter(payment_id__in=ids).update(submission=submission)
            attempt = self._attempt(submission, max_fee, tip)
            _note(submission, "signed", transaction_hash=f"0x{attempt.tx_hash.hex()}")
            return attempt

    def _attempt(self, submission: Submission, max_fee: int, tip: int) -> Attempt:
        signed = self.account.sign_transaction(
            {
                "type": 2,
                "chainId": submission.chain_id,
                "nonce": submission.key_nonce,
                "to": submission.to,
                "value": 0,
                "data": submission.data,
                "gas": submission.gas_limit,
                "maxFeePerGas": max_fee,
                "maxPriorityFeePerGas": min(tip, max_fee),
            }
        )
        return Attempt.objects.create(
            submission=submission,
            tx_hash=bytes(signed.hash),
            raw=bytes(signed.raw_transaction),
            max_fee=max_fee,
            priority_fee=min(tip, max_fee),
        )

    def _bump(self, submission: Submission, newest: Attempt, head: rpc.Block) -> Attempt | None:
        """Replace a stuck transaction at its nonce, with a higher fee up to MAX_FEE_GWEI. None: not now."""
        if head.number <= self._waiting_at[newest.id]:
            return None  # No block has come since, so the fee is not the reason.
        highest = settings.MAX_FEE_GWEI * _GWEI
        least = newest.max_fee * _BUMP_PERCENT // 100 + 1
        if least > highest:
            log.warning("nonce %s waits: its fee has reached MAX_FEE_GWEI", submission.key_nonce)
            return None
        tip = self._tip()
        max_fee = min(max(least, 2 * head.base_fee + tip), highest)
        return self._attempt(submission, max_fee, max(newest.priority_fee * _BUMP_PERCENT // 100 + 1, tip))

    def _send(self, attempt: Attempt) -> None:
        """Send the stored bytes to the node. Errors are only logged: what the chain shows later decides."""
        self._sent_at[attempt.id] = time.monotonic()
        try:
            rpc.send(attempt.raw)
        except rpc.RpcRefused as refusal:
            log.info("the node did not take 0x%s: %s", attempt.tx_hash.hex(), refusal)
        except rpc.ChainUnreachable as error:
            log.warning("no answer to sending 0x%s: %s", attempt.tx_hash.hex(), error)

    def _tip(self) -> int:
        """The priority fee that the node suggests, in wei per gas. At most ten seconds old."""
        if self._fees is None or time.monotonic() - self._fees.asked_at > _FEES_SECONDS:
            self._fees = _Fees(time.monotonic(), rpc.suggested_priority_fee())
        return self._fees.tip

    def _fair_fee(self, head: rpc.Block) -> tuple[int, int]:
        """Maximum and priority fee of a new transaction, in wei per gas. The base fee may double, to MAX_FEE_GWEI."""
        tip = self._tip()
        return min(2 * head.base_fee + tip, settings.MAX_FEE_GWEI * _GWEI), tip

    def _let_rest(self, claims: list[Authorization]) -> None:
        """Set undecided claims aside for a moment, so that they do not fill the next batches as well."""
        until = time.monotonic() + _REST_SECONDS
        self._resting.update((claim.payment_id, until) for claim in claims)


def _note(submission: Submission, outcome: str, **fields: object) -> None:
    """Log what became of a batch: the payments that are in it now. Those it did not settle have left it when mined."""
    inside = Payment.objects.filter(authorization__submission=submission)
    told = inside.aggregate(payments=Count("id"), amount_micros=Coalesce(Sum("amount_micros"), 0))
    events.note("batch", outcome, batch=submission.id, rail="exact", nonce=submission.key_nonce, **told, **fields)


def _gas_limit(claims: list[Authorization]) -> int:
    """The gas limit of a batch: every item's full allowance and its call data."""
    return _GAS_BASE + sum(_GAS_PER_ITEM + 16 * len(claim.signature) for claim in claims)


def _item(claim: Authorization) -> tuple:
    amount = claim.payment.amount_micros
    window = (claim.valid_after, claim.valid_before)
    return (claim.payer, claim.recipient, amount, *window, claim.nonce, claim.signature)
