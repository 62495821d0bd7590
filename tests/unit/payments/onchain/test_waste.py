"""Gas that we lose: an authorization that fails in a transaction of ours costs it once, and says so."""

from datetime import timedelta

import pytest
from django.utils import timezone

from payments import gate
from payments.models import Attempt, Authorization, Payment, PaymentState, Submission
from payments.onchain import payers
from payments.onchain import rpc as node
from tests.unit.payments.counter import Counter, offer

from .test_record import state

pytestmark = pytest.mark.django_db(transaction=True)


def waste(counter: Counter, payment: Payment) -> None:
    """A transaction of ours is mined and does not pay: the money was away while the block was made."""
    payer = "0x" + payment.authorization.payer.hex()
    held = counter.chain.balance(payer)
    counter.turn()
    counter.spend(payer, held)
    counter.mine()
    counter.chain.mint(payer, held)


def test_an_authorization_costs_us_gas_once_at_most_also_when_it_is_presented_again(counter: Counter):
    wallet = counter.wallet()
    header = counter.sign(wallet, offer())
    with pytest.raises(gate.PaymentInFlight):
        counter.present(header, offer())
    payment = Payment.objects.get()
    waste(counter, payment)
    counter.turn()
    assert state(payment) == (PaymentState.RELEASED, "settlement_failed")
    with pytest.raises(gate.PaymentRequired, match="settlement_failed"):
        counter.present(header, offer())
    # Nor where that guard was passed by: two requests at the same moment.
    Payment.objects.update(state=PaymentState.CLAIMED)
    counter.work()
    assert state(payment) == (PaymentState.RELEASED, "settlement_failed")
    assert Submission.objects.count() == 1
    counter.claim(wallet, offer())
    counter.work()
    assert Payment.objects.filter(state=PaymentState.CONFIRMED).count() == 1


def test_what_has_cost_gas_is_not_sent_again_although_nobody_can_say_why(counter: Counter, monkeypatch):
    payment = counter.claim(counter.wallet(), offer())
    waste(counter, payment)

    def unreachable(*_: object) -> None:
        raise node.ChainUnreachable("x")

    with monkeypatch.context() as patched:
        patched.setattr(payers, "read", unreachable)
        for _ in range(3):
            counter.turn()
            counter.mine()
    assert state(payment) == (PaymentState.CLAIMED, "")
    assert Submission.objects.count() == 1
    counter.turn()
    assert state(payment) == (PaymentState.RELEASED, "settlement_failed")


def test_gas_that_was_lost_because_we_were_late_is_not_the_payers(counter: Counter):
    payment = counter.claim(counter.wallet(), offer())
    counter.turn()
    counter.mine(seconds_later=400)
    counter.turn()
    assert state(payment) == (PaymentState.RELEASED, "authorization_expired")
    assert not Authorization.objects.exclude(wasted_at=None).exists()


def test_what_somebody_else_settled_is_never_called_not_charged_although_ours_failed(counter: Counter):
    """Our transaction fails because an observer's came first, in a block that the watcher has not seen."""
    wallet = counter.wallet()
    header = counter.sign(wallet, offer())
    with pytest.raises(gate.PaymentInFlight):
        counter.present(header, offer())
    payment = Payment.objects.get()
    counter.turn()
    assert state(payment) == (PaymentState.SIGNED, "")
    stored = Attempt.objects.get()
    counter.chain.rpc("anvil_dropTransaction", "0x" + stored.tx_hash.hex())
    counter.settle_as_observer(header)
    counter.chain.rpc("eth_sendRawTransaction", "0x" + stored.raw.hex())
    counter.mine()
    counter.turn()
    assert state(payment) == (PaymentState.CONFIRMED, "")
    assert counter.chain.balance(wallet.address) == 9_950_000


def test_code_that_accepts_the_simulation_alone_costs_gas_three_times_and_no_burst(counter: Counter, monkeypatch):
    """Fifty claims of one contract wallet in one batch would burn fifty times what one may."""
    wallet = counter.wallet()
    real = payers.read
    with_code = lambda *asked: [payers.Facts(one.balance, one.used, True) for one in real(*asked)]  # noqa: E731
    monkeypatch.setattr(payers, "read", with_code)
    claims = [counter.claim(wallet, offer(number)) for number in (1, 2, 3)]
    with pytest.raises(gate.CannotSay):
        counter.present(counter.sign(wallet, offer(4)), offer(4))
    counter.work()
    assert {state(payment)[0] for payment in claims} == {PaymentState.CONFIRMED}
    # Who has bought before is a customer.
    for number in (4, 5, 6, 7):
        counter.claim(wallet, offer(number))
    counter.work()
    assert Payment.objects.filter(state=PaymentState.CONFIRMED).count() == 7


def test_who_has_cost_gas_three_times_in_an_hour_is_refused(counter: Counter):
    wallet = counter.wallet()
    for number in (1, 2, 3):
        waste(counter, counter.claim(wallet, offer(number)))
        counter.turn()
    with pytest.raises(gate.PaymentRequired, match="too_many_failures"):
        counter.present(counter.sign(wallet, offer(4)), offer(4))
    an_hour_ago = timezone.now() - timedelta(hours=1)
    Authorization.objects.update(wasted_at=an_hour_ago)
    assert counter.buy(wallet, offer(4)).state in (PaymentState.CONFIRMED, PaymentState.FINAL)
