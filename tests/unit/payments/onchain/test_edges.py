"""The chain's and the settler's numbers, each at the value it is shipped with: one less and one more."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from payments import audit, gate
from payments.books.accounts import shares
from payments.models import Attempt, Chain, Lease, Payment, PaymentState, Submission, Transfer
from payments.onchain import lease, signatures, watcher
from payments.onchain.lease import LeaseHolder
from payments.onchain.payers import Facts
from payments.onchain.settler import Settler
from publishers import pricing
from tests.unit.payments.counter import Counter, offer
from tests.unit.payments.onchain.test_record import state

from .silent import GWEI, KEY, SilentNode, claim, turn

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> SilentNode:
    made = SilentNode()
    made.install(monkeypatch)
    return made


# --- Batches --------------------------------------------------------------------------------------------


@pytest.mark.both_sides("BATCH_MAX")
@pytest.mark.parametrize(("waiting", "carried"), [(64, [64]), (65, [64, 1])])
def test_a_batch_carries_sixty_four(node: SilentNode, waiting: int, carried: list[int]):
    for number in range(waiting):
        claim(number)
    settler = Settler(KEY)
    for _ in carried:
        turn(settler)
    sent = Submission.objects.order_by("key_nonce")
    assert [submission.authorizations.count() for submission in sent] == carried
    assert not Payment.objects.filter(state=PaymentState.CLAIMED).exists()


@pytest.mark.both_sides("BATCH_MAX")
@pytest.mark.parametrize(("waiting", "asked"), [(63, [63, 63]), (64, [64])])
def test_only_what_fills_a_batch_steps_back_for_what_comes_after_it(node: SilentNode, waiting: int, asked: list[int]):
    """They are not valid yet on the chain: neither settled nor released."""
    node.settles = False
    for number in range(waiting):
        claim(number, valid_after=node.time)
    settler = Settler(KEY)
    turn(settler)
    turn(settler)
    assert node.simulated == asked
    assert Payment.objects.filter(state=PaymentState.CLAIMED).count() == waiting


# --- Fees -----------------------------------------------------------------------------------------------


@pytest.mark.both_sides("MAX_FEE_GWEI")
@pytest.mark.parametrize(
    ("tip", "offered"),
    [(2 * GWEI - 1, 500 * GWEI - 1), (2 * GWEI, 500 * GWEI), (2 * GWEI + 1, 500 * GWEI), (3 * GWEI, 500 * GWEI)],
)
def test_no_more_than_five_hundred_gwei_is_offered_at_first(node: SilentNode, tip: int, offered: int):
    node.base_fee, node.tip = 249 * GWEI, tip
    claim()
    turn(Settler(KEY))
    assert Attempt.objects.get().max_fee == offered


@pytest.mark.both_sides("MAX_FEE_GWEI")
@pytest.mark.parametrize(("was", "attempts"), [(400 * GWEI - 1, 2), (400 * GWEI, 1)])
def test_a_quarter_more_is_offered_while_it_is_within_five_hundred_gwei(node: SilentNode, was: int, attempts: int):
    claim()
    settler = Settler(KEY)
    turn(settler)
    turn(settler)
    Attempt.objects.update(max_fee=was, made_at=timezone.now() - timedelta(minutes=1))
    node.number += 1
    turn(settler)
    assert Attempt.objects.count() == attempts
    assert Attempt.objects.latest("id").max_fee <= 500 * GWEI


@pytest.mark.both_sides("FEE_BUMP_SECONDS")
@pytest.mark.parametrize(("seconds", "attempts"), [(15, 1), (16, 2)])
def test_a_transaction_is_left_alone_for_fifteen_seconds(
    node: SilentNode, monkeypatch: pytest.MonkeyPatch, seconds: int, attempts: int
):
    claim()
    settler = Settler(KEY)
    turn(settler)
    turn(settler)
    made, now = Attempt.objects.get().made_at, timedelta(seconds=seconds)
    node.number += 1
    monkeypatch.setattr(timezone, "now", lambda: made + now)
    turn(settler)
    assert Attempt.objects.count() == attempts


@pytest.mark.both_sides("PLATFORM_FEE_BASIS_POINTS")
@pytest.mark.parametrize(
    ("paid", "shared"),
    [(19, (19, 0)), (20, (19, 1)), (39, (38, 1)), (40, (38, 2)), (333_333, (316_667, 16_666))],
)
def test_the_platform_keeps_a_twentieth_and_no_fraction(paid: int, shared: tuple[int, int]):
    assert shares(paid) == shared
    assert pricing.fee_percent() == "5"


# --- The lease ------------------------------------------------------------------------------------------


def is_held_for_five_seconds() -> bool:
    """By the database's own clock, less the moment that this test needs."""
    least, most = timedelta(seconds=4), timedelta(seconds=5)
    return Lease.objects.filter(expires_at__gt=Now() + least, expires_at__lte=Now() + most).exists()


@pytest.mark.both_sides("LEASE_SECONDS")
def test_a_dead_settler_keeps_the_key_for_five_seconds():
    dead, other = LeaseHolder(1, b"k" * 20), LeaseHolder(1, b"k" * 20)
    assert dead.hold()
    assert is_held_for_five_seconds()
    Lease.objects.update(expires_at=F("expires_at") - timedelta(seconds=4))
    assert not other.hold()
    Lease.objects.update(expires_at=F("expires_at") - timedelta(seconds=1))
    assert other.hold()


@pytest.mark.both_sides("LEASE_SECONDS")
def test_it_is_renewed_when_a_third_of_it_has_passed(monkeypatch: pytest.MonkeyPatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(lease, "time", SimpleNamespace(monotonic=lambda: clock.now))
    holder = LeaseHolder(1, b"k" * 20)
    assert holder.hold()
    Lease.objects.update(expires_at=Now())
    for later, renewed in ((1.66, False), (1.67, True)):
        clock.now = 1000.0 + later
        assert holder.hold()
        assert Lease.objects.filter(expires_at__gt=Now()).exists() is renewed


@pytest.mark.both_sides("LEASE_SECONDS")
def test_who_signs_has_the_key_for_five_seconds_more():
    holder = LeaseHolder(1, b"k" * 20)
    assert holder.hold()
    Lease.objects.update(expires_at=Now())
    holder.take_nonce()
    assert is_held_for_five_seconds()


# --- Contract wallets ---------------------------------------------------------------------------------------


@pytest.mark.both_sides("CONTRACT_WALLET_CHECKS_PER_MINUTE")
def test_sixty_contract_wallets_are_asked_in_a_minute(monkeypatch: pytest.MonkeyPatch):
    clock, asked = SimpleNamespace(now=1000.0), []
    monkeypatch.setattr(signatures, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(signatures.rpc, "contract_wallet_accepts", lambda *one: not asked.append(one))
    monkeypatch.setattr(signatures.payers, "ask", lambda *one, wants_code: Facts(0, False, wants_code))

    def ask(source: str = "192.0.2.1") -> bool:
        return signatures.contract_accepts(b"\x01" * 20, b"\x02" * 32, b"\x03" * 65, source)

    assert all(ask() for _ in range(60))
    assert ask("192.0.2.2")
    asked.pop()
    for later in (0, 59.9):
        clock.now = 1000.0 + later
        with pytest.raises(signatures.TooManyChecks):
            ask()
    clock.now = 1060.1
    assert ask()
    assert len(asked) == 61


# --- Depths -------------------------------------------------------------------------------------------------


@pytest.mark.both_sides("CHAIN_CONFIRMATIONS")
def test_a_transfer_counts_in_the_newest_block_and_not_before(counter: Counter):
    payment = counter.claim(counter.wallet(), offer())
    counter.turn()
    counter.turn()
    watcher.watch()
    assert state(payment) == (PaymentState.SIGNED, "")
    counter.mine()
    watcher.watch()
    assert state(payment) == (PaymentState.CONFIRMED, "")


@pytest.mark.both_sides("CHAIN_CONFIRMATIONS")
def test_our_own_transaction_counts_in_the_newest_block_and_not_before(counter: Counter):
    payment = counter.claim(counter.wallet(), offer())
    for told in (PaymentState.SIGNED, PaymentState.SIGNED):
        counter.turn()
        assert state(payment) == (told, "")
    counter.mine()
    counter.turn()
    assert state(payment) == (PaymentState.CONFIRMED, "")


@pytest.mark.both_sides("CHAIN_CONFIRMATIONS")
def test_what_somebody_else_settled_counts_in_the_newest_block(counter: Counter):
    payment = by_an_observer(counter)
    counter.turn()
    assert state(payment) == (PaymentState.CONFIRMED, "")


def by_an_observer(counter: Counter, blocks_later: int = 0) -> Payment:
    """A claim whose authorization somebody else has settled, so many blocks ago."""
    header = counter.sign(counter.wallet(), offer())
    with pytest.raises(gate.PaymentInFlight):
        counter.present(header, offer())
    counter.settle_as_observer(header)
    if blocks_later:
        counter.chain.rpc("anvil_mine", hex(blocks_later))
    return Payment.objects.get()


def test_what_somebody_else_settled_is_as_deep_as_was_asked(counter: Counter):
    """The shipped value is the least there is; at three, two blocks are one too few."""
    counter.settings.CHAIN_CONFIRMATIONS = 3
    payment = by_an_observer(counter, blocks_later=1)
    counter.turn()
    assert state(payment) == (PaymentState.CLAIMED, "")
    counter.mine()
    counter.turn()
    assert state(payment) == (PaymentState.CONFIRMED, "")


@pytest.mark.usefixtures("no_finalized_block")
@pytest.mark.both_sides("CHAIN_FINALITY_DEPTH")
def test_a_sale_is_final_under_sixty_four_blocks(counter: Counter):
    payment = counter.claim(counter.wallet(), offer())
    counter.turn()
    counter.mine()
    counter.chain.rpc("anvil_mine", hex(63))
    watcher.watch()
    assert state(payment) == (PaymentState.CONFIRMED, "")
    counter.mine()
    watcher.watch()
    assert state(payment) == (PaymentState.FINAL, "")


@pytest.mark.usefixtures("no_finalized_block")
@pytest.mark.both_sides("CHAIN_FINALITY_DEPTH")
def test_an_authorization_is_over_when_a_block_past_its_end_is_under_sixty_four(counter: Counter):
    payment = counter.claim_without_money(offer())
    counter.mine(seconds_later=301)
    counter.chain.rpc("anvil_mine", hex(63))
    watcher.watch()
    assert state(payment) == (PaymentState.CLAIMED, "")
    counter.mine()
    watcher.watch()
    assert state(payment) == (PaymentState.FAILED, "authorization_expired")


@pytest.mark.usefixtures("no_finalized_block")
@pytest.mark.both_sides("CHAIN_FINALITY_DEPTH")
def test_the_audit_asks_for_a_decision_only_of_what_is_final(counter: Counter):
    """Two minutes after an authorization's end, on the chain, a payment may not be open any more."""
    payment = counter.claim_without_money(offer())
    counter.mine(seconds_later=300 + 150)
    counter.chain.rpc("anvil_mine", hex(63))
    assert [finding.word for finding in audit.findings()] == []
    counter.mine()
    assert [finding.word for finding in audit.findings()] == ["undecided_too_long"]
    watcher.watch()
    assert state(payment) == (PaymentState.FAILED, "authorization_expired")


@pytest.mark.usefixtures("no_finalized_block")
@pytest.mark.both_sides("CHAIN_FINALITY_DEPTH")
def test_after_a_reorganisation_all_that_is_not_final_is_read_again(counter: Counter, monkeypatch: Any):
    counter.chain.rpc("anvil_mine", hex(200))
    watcher.watch()
    read: list[int] = []
    monkeypatch.setattr(watcher.logs, "transfers_between", lambda first, last, known: read.append(first) or [])
    Chain.objects.update(scanned_hash=b"\x00" * 32)
    scanned = Chain.objects.get().scanned_to
    watcher.watch()
    assert read == [scanned - 64 - 31]


# --- Ranges -------------------------------------------------------------------------------------------------


@pytest.mark.both_sides("CHAIN_LOG_RANGE")
def test_the_watcher_reads_a_thousand_blocks_at_a_look(counter: Counter):
    first = Chain.objects.get().scanned_to
    counter.chain.rpc("anvil_mine", hex(999))
    counter.chain.mint(counter.settings.PAY_TO, 7)
    counter.chain.mint(counter.settings.PAY_TO, 11)
    watcher.watch()
    assert Chain.objects.get().scanned_to == first + 1000
    assert [row.value for row in Transfer.objects.all()] == [7]
    watcher.watch()
    assert [row.value for row in Transfer.objects.order_by("id")] == [7, 11]


@pytest.mark.both_sides("CHAIN_LOG_RANGE")
@pytest.mark.parametrize(("ago", "said"), [(999, PaymentState.CONFIRMED), (1000, PaymentState.CLAIMED)])
def test_the_settler_looks_a_thousand_blocks_back_for_who_settled(counter: Counter, ago: int, said: str):
    """What is older waits for the watcher, which comes to every block."""
    payment = by_an_observer(counter, blocks_later=ago)
    counter.turn()
    assert state(payment) == (said, "")
    watcher.watch()
    watcher.watch()
    assert state(payment)[0] in (PaymentState.CONFIRMED, PaymentState.FINAL)


@pytest.mark.both_sides("CHAIN_LOG_RANGE")
def test_the_audit_asks_for_a_thousand_blocks_at_a_time(counter: Counter, monkeypatch: pytest.MonkeyPatch):
    first = Chain.objects.get().scanned_to
    for _ in range(2):
        counter.chain.rpc("anvil_mine", hex(600))
        watcher.watch()
        watcher.watch()
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr("payments.onchain.logs.transfers_between", lambda a, b, known=(): asked.append((a, b)) or [])
    assert list(audit.findings()) == []
    assert asked == [(first + 1, first + 1000), (first + 1001, first + 1200)]


@pytest.mark.both_sides("CHAIN_START_BLOCK")
@pytest.mark.parametrize(("start", "read_to"), [(None, 100), (0, 0), (1, 0), (2, 1), (100, 99)])
def test_without_a_block_to_begin_at_reading_begins_now(
    node: SilentNode, settings: Any, start: int | None, read_to: int
):
    """The newest block is the hundredth; `read_to` is taken as read at the first meeting."""
    if start is not None:
        settings.CHAIN_START_BLOCK = start
    assert watcher.meet().scanned_to == read_to
