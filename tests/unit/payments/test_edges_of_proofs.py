"""How long a price, an authorization and a bare payment header are good: a second less and a second more."""

import dataclasses
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from payments import gate, quotes, waiters
from payments.models import Payment, PaymentState
from payments.offers import Presented
from payments.onchain import record, rpc
from payments.onchain.logs import SeenTransfer
from payments.onchain.payers import Facts
from payments.places import Places
from payments.rails import arrived, funds
from payments.rails.exact import EXACT
from publishers import pricing
from publishers.articles import catalogue
from publishers.models import AGENTS, PriceVersion
from tests import buyers, cast
from tests.unit.payments.counter import offer
from tests.wallet import Wallet

until_decided = waiters.until_decided

pytestmark = pytest.mark.django_db


class Clock:
    """Our own clock, standing still until it is moved."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        # What a test patches beside the clock goes with it, in the same order: two patchers would leave one patched.
        self.patch = patch
        self.now = int(time.time())
        patch.setattr("time.time", lambda: float(self.now))
        patch.setattr(timezone, "now", lambda: datetime.fromtimestamp(self.now, UTC))


@pytest.fixture
def clock(settings: Any) -> Iterator[Clock]:
    settings.CHAIN_RPC_URL, settings.PAY_TO = "http://127.0.0.1:9", "0x" + "22" * 20
    settings.STRIPE_SECRET_KEY = "sk_test_of_the_tests"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waiters, "until_decided", lambda payment_id, seconds, source: None)
        # Nobody asks a chain here what a wallet holds.
        patch.setattr(funds, "check", lambda credential, buyer, reasons, failures: False)
        patch.setattr(arrived.payers, "ask", lambda *one, late: Facts(0, False, False))
        yield Clock(patch)


def signed(wallet: Wallet, valid_before: int, requirement: dict | None = None) -> str:
    """A payment header for the one article, with a fresh quote unless one is given."""
    terms = {"accepts": [requirement or EXACT.quote(offer()).accepts], "resource": {"url": offer().url}}
    return wallet.pay(terms, validBefore=valid_before)


def verify(header: str) -> gate.Admission:
    return gate.verify(Presented(headers={"PAYMENT-SIGNATURE": header}), offer())


def word(header: str) -> str:
    """Why a payment is refused; empty when it is good."""
    try:
        assert verify(header).sells
    except gate.PaymentRequired as refused:
        return refused.word.removeprefix("invalid_exact_evm_payload_")
    return ""


# --- An authorization's own time ----------------------------------------------------------------------


@pytest.mark.both_sides("PAYMENT_MARGIN_SECONDS")
def test_an_authorization_needs_six_seconds_more(clock: Clock):
    wallet = Wallet()
    assert word(signed(wallet, clock.now + 5)) == "authorization_valid_before"
    assert word(signed(wallet, clock.now + 6)) == ""


@pytest.mark.both_sides("PAYMENT_TIMEOUT_SECONDS", "PAYMENT_SKEW_SECONDS")
def test_an_authorization_may_be_good_for_five_minutes_and_one_more(clock: Clock):
    wallet = Wallet()
    assert word(signed(wallet, clock.now + 360)) == ""
    assert word(signed(wallet, clock.now + 361)) == "authorization_valid_before"


@pytest.mark.both_sides("PAYMENT_TIMEOUT_SECONDS")
def test_the_terms_ask_for_five_minutes_and_no_other_terms_are_accepted(clock: Clock):
    asked = EXACT.quote(offer()).accepts
    assert asked
    assert asked["maxTimeoutSeconds"] == 300
    for seconds, said in ((299, "no_matching_requirements"), (300, ""), (301, "no_matching_requirements")):
        assert word(signed(Wallet(), clock.now + 60, {**asked, "maxTimeoutSeconds": seconds})) == said


# --- A price ----------------------------------------------------------------------------------------


@pytest.mark.both_sides("QUOTE_SECONDS")
def test_a_wallet_pays_a_price_for_a_quarter_of_an_hour(clock: Clock):
    asked = EXACT.quote(offer()).accepts
    clock.now += 899
    assert word(signed(Wallet(), clock.now + 60, asked)) == ""
    clock.now += 1
    assert word(signed(Wallet(), clock.now + 60, asked)) == "quote_expired"


@pytest.mark.both_sides("QUOTE_SECONDS")
def test_a_purse_pays_a_price_for_a_quarter_of_an_hour(clock: Clock):
    purse, shown = buyers.purse(1_000_000), quotes.issue(offer()).token
    pressed = Presented(purse=str(purse.pk), spend=True, quote=shown)
    clock.now += 899
    assert gate.verify(pressed, offer(micros=90_000)).settle().payment.amount_micros == 50_000
    clock.now += 1
    with pytest.raises(gate.PaymentRequired, match="quote_expired"):
        gate.verify(Presented(purse=str(buyers.purse(1_000_000).pk), spend=True, quote=shown), offer())


@pytest.mark.both_sides("QUOTE_SECONDS")
def test_a_client_that_echoes_no_quote_may_pay_the_price_of_a_quarter_of_an_hour_ago(clock: Clock):
    owls = cast.article(cast.publication(cast.person("alice")), agents=50_000)
    was = pricing.open_prices(owls)[AGENTS]
    pricing.change_price(owls, AGENTS, 70_000, by=None, was=was.pk)
    ended = PriceVersion.objects.filter(pk=was.pk)
    for seconds, amounts in ((899, {250_000, 50_000, 70_000}), (901, {250_000, 70_000})):
        moment = timezone.now() - timedelta(seconds=seconds)
        ended.update(starts_at=moment - timedelta(days=1), ends_at=moment)
        assert {price.amount_micros for price in catalogue.quotable(owls.pk)} == amounts


# --- A bare payment header ------------------------------------------------------------------------------


def paid(wallet: Wallet, header: str) -> Payment:
    """Claimed, and its transfer brought as the watcher would."""
    with pytest.raises(gate.PaymentInFlight):
        verify(header).settle()
    return arrives(Payment.objects.latest("claimed_at"))


def arrives(payment: Payment) -> Payment:
    """Its transfer is brought."""
    proof = payment.authorization
    where = (1, b"\x01" * 32, payment.id.bytes * 2, 0, rpc.token(), proof.payer, rpc.pay_to())
    record.transfers([SeenTransfer(*where, payment.amount_micros, proof.nonce)])
    payment.refresh_from_db()
    assert payment.state == PaymentState.CONFIRMED
    return payment


@pytest.mark.both_sides("REPLAY_SECONDS")
def test_a_bare_header_is_served_again_for_a_minute_to_its_client_and_its_buyers_for_ever(clock: Clock):
    """Version 1 echoes no quote."""
    wallet = Wallet()
    asked = EXACT.quote(offer())
    bare = wallet.pay_v1({"accepts": [asked.accepts_v1]}, settings.CHAIN_ID, validBefore=clock.now + 300)
    shown = Presented(headers={"X-PAYMENT": bare}, address="192.0.2.1")
    with pytest.raises(gate.PaymentInFlight):
        gate.verify(shown, offer()).settle()
    payment = arrives(Payment.objects.get())
    clock.now = int(payment.decided_at.timestamp()) + 59
    admitted = gate.verify(shown, offer()).settle()
    assert (admitted.payment, admitted.proven) == (payment, False)
    with pytest.raises(gate.AlreadyPaid):
        gate.verify(dataclasses.replace(shown, address="192.0.2.2"), offer())
    clock.now += 2
    with pytest.raises(gate.AlreadyPaid):
        gate.verify(shown, offer())
    header = signed(Wallet(), clock.now + 300)
    paid(wallet, header)
    clock.now += 10**6
    assert verify(header).settle().proven


# --- Who waits ----------------------------------------------------------------------------------------


@pytest.mark.both_sides("SETTLE_WAITERS_MAX", "SETTLE_WAIT_SECONDS")
@pytest.mark.parametrize(("others", "waits"), [(47, True), (48, False)])
def test_forty_eight_requests_wait_four_seconds_and_the_next_is_told_later(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, others: int, waits: bool
):
    waited: list[float] = []
    places = Places()
    places._held.update(f"192.0.2.{number}" for number in range(others))
    clock.patch.setattr(waiters, "until_decided", until_decided)
    monkeypatch.setattr(waiters, "_places", places)
    monkeypatch.setattr(waiters._hub, "wait", lambda payment_id, seconds: waited.append(seconds))
    with pytest.raises(gate.PaymentInFlight):
        verify(signed(Wallet(), clock.now + 60)).settle()
    assert len(waited) == waits
    assert all(3.5 < seconds <= 4 for seconds in waited)
    assert Payment.objects.get().state == PaymentState.CLAIMED
