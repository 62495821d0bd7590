"""Who cannot pay leaves nothing behind."""

import pytest

from payments import gate
from payments.models import Authorization, Payment, PaymentState
from payments.onchain import rpc
from payments.rails import funds
from tests.unit.payments.counter import Counter, offer
from tests.wallet import Wallet

pytestmark = pytest.mark.django_db(transaction=True)


def test_nothing_is_kept_of_who_has_no_money(counter: Counter, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("payments.onchain.payers._PAUSE_SECONDS", 0.0)
    for _ in range(5):
        with pytest.raises(gate.PaymentRequired, match="insufficient_funds") as refused:
            counter.present(counter.sign(Wallet(), offer()), offer())
        assert refused.value.charged is False
    assert not Payment.objects.exists()
    assert not Authorization.objects.exists()


def test_what_is_spent_already_is_no_question_of_money(counter: Counter):
    """Somebody else has settled it, and the wallet is empty: its money is here, and buys."""
    wallet = counter.wallet(50_000)
    header = counter.sign(wallet, offer())
    counter.settle_as_observer(header)
    with pytest.raises(gate.PaymentInFlight):
        counter.present(header, offer())
    counter.work()
    assert counter.present(header, offer()).payment.state in (PaymentState.CONFIRMED, PaymentState.FINAL)


def test_a_payer_and_all_payers_together_may_have_so_many_undecided_claims(counter: Counter, monkeypatch):
    wallet = counter.wallet()
    monkeypatch.setattr(funds, "_EACH", 2)
    for number in (1, 2):
        counter.claim(wallet, offer(number))
    with pytest.raises(gate.CannotSay):
        counter.present(counter.sign(wallet, offer(3)), offer(3))
    counter.claim(counter.wallet(), offer(3))
    monkeypatch.setattr(funds, "_ALL", 3)
    funds._undecided.until = 0
    other = counter.wallet()
    with pytest.raises(gate.CannotSay):
        counter.present(counter.sign(other, offer(4)), offer(4))
    counter.work()
    funds._undecided.until = 0
    assert counter.buy(other, offer(4)).state in (PaymentState.CONFIRMED, PaymentState.FINAL)
    assert counter.buy(wallet, offer(3)).state in (PaymentState.CONFIRMED, PaymentState.FINAL)


def test_a_chain_that_does_not_answer_refuses_nobody_and_claims_nothing(counter: Counter, monkeypatch):
    header = counter.sign(counter.wallet(), offer())

    def unreachable(*_: object) -> None:
        raise rpc.ChainUnreachable("x")

    with monkeypatch.context() as patched:
        patched.setattr(rpc, "request", unreachable)
        with pytest.raises(gate.CannotSay):
            counter.present(header, offer())
    assert not Payment.objects.exists()
