"""Each guard of the gate over a payment on the chain alone: a request that acts on what it read before."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from payments import gate
from payments.gate import Admission
from payments.models import OWNED, Authorization, Grant, Payment, PaymentState
from payments.offers import Presented
from payments.onchain import record
from payments.rails.exact import EXACT
from tests.unit.payments.counter import offer
from tests.wallet import Wallet, decoded, encoded

from .silent import SilentNode, becomes, claim, state, transfer_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch) -> SilentNode:
    made = SilentNode()
    made.install(monkeypatch)
    return made


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> Admission:
    """A request that has read a payment as released, and has not acted on that yet."""
    monkeypatch.setattr(gate.waiters, "until_decided", lambda payment_id, seconds, source: None)
    payment = claim()
    record.release([payment.id], "insufficient_funds")
    return Admission(offer(1), payment=Payment.objects.get(), proven=True)


@pytest.mark.parametrize("where", [PaymentState.SIGNED, PaymentState.CLAIMED])
def test_a_payment_that_tries_again_already_is_not_put_back(released: Admission, where: str):
    payment, before = released.payment, timezone.now() - timedelta(minutes=1)
    assert payment
    becomes(payment, where, claimed_at=before, reason="")()
    assert payment.state == PaymentState.RELEASED
    with pytest.raises(gate.PaymentInFlight):
        released.settle()
    assert (state(payment), payment.claimed_at) == (where, before)


def test_a_payment_that_failed_for_good_does_not_try_again(released: Admission):
    payment = released.payment
    assert payment
    becomes(payment, PaymentState.FAILED)()
    with pytest.raises(gate.PaymentRequired, match="insufficient_funds"):
        released.settle()
    assert state(payment) == PaymentState.FAILED


def test_a_payment_that_was_paid_meanwhile_is_served_and_not_claimed_again(released: Admission):
    payment = released.payment
    assert payment
    record.transfers([transfer_of(payment)])
    assert released.settle().grant == Grant.objects.get()
    assert state(payment) in OWNED


@pytest.mark.planted
def test_who_is_paid_and_may_not_read_is_told_later_and_not_no(released: Admission):
    """A reorganisation took the grant between two statements."""
    payment = released.payment
    assert payment
    record.transfers([transfer_of(payment)])
    Grant.objects.update(revoked_at=timezone.now())
    with pytest.raises(gate.PaymentInFlight):
        released.settle()


class Claimants:
    """Requests of one wallet up to the moment in which they would claim; nobody is waited for."""

    def __init__(self) -> None:
        self.wallet = Wallet()

    def signs(self, number: int = 1) -> str:
        wanted = offer(number)
        return self.wallet.pay({"accepts": [EXACT.quote(wanted).accepts], "resource": {"url": wanted.url}})

    def asks(self, header: str, number: int = 1) -> Admission:
        """With a quote for this thing, whatever it was signed for: nothing in the signature names it."""
        shown = encoded({**decoded(header), "accepted": EXACT.quote(offer(number)).accepts}) if number != 1 else header
        return gate.verify(Presented(headers={"PAYMENT-SIGNATURE": shown}), offer(number))


@pytest.fixture
def claimants(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Claimants:
    settings.CHAIN_RPC_URL, settings.PAY_TO = "http://127.0.0.1:9", "0x" + "22" * 20
    monkeypatch.setattr(gate.waiters, "until_decided", lambda payment_id, seconds, source: None)
    return Claimants()


def test_of_two_requests_that_saw_nobody_before_them_one_claims(claimants: Claimants):
    """Both have verified the same proof; and a third one another proof of the same wallet for the same thing."""
    same, other = claimants.signs(), claimants.signs()
    requests = [claimants.asks(header) for header in (same, same, other)]
    assert all(request.verified for request in requests)
    for request in requests:
        with pytest.raises(gate.PaymentInFlight):
            request.settle()
    assert Payment.objects.count() == Authorization.objects.count() == 1
    for header in (same, other):
        again = claimants.asks(header)
        assert (again.sells, again.payment) == (False, Payment.objects.get())


def test_one_proof_for_two_things_at_once_pays_for_the_first(claimants: Claimants):
    header = claimants.signs()
    first, second = claimants.asks(header), claimants.asks(header, 2)
    with pytest.raises(gate.PaymentInFlight):
        first.settle()
    with pytest.raises(gate.PaymentRequired, match="authorization_spent_elsewhere") as foreign:
        second.settle()
    assert foreign.value.charged is None
    assert [payment.resource for payment in Payment.objects.all()] == ["article:1"]


def test_whose_quote_is_another_is_not_the_buyer_though_both_came_at_once(claimants: Claimants):
    """An observer has the signature from somewhere, and a quote of its own."""
    header = claimants.signs()
    observed = encoded({**decoded(header), "accepted": EXACT.quote(offer(1)).accepts})
    buyer, observer = claimants.asks(header), claimants.asks(observed)
    for request in (buyer, observer):
        with pytest.raises(gate.PaymentInFlight):
            request.settle()
    assert (buyer.proven, observer.proven) == (True, False)
