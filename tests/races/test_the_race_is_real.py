"""The guards against double payment, each taken out once: without it one proof is claimed again and again, or money
moves more than once. With it, in the same race, neither happens."""

import secrets
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection
from django.test import Client

from payments import gate
from payments.models import LIVE, Authorization, Payment, PaymentState
from payments.onchain.settler import Settler
from payments.rails.exact import EXACT
from tests import cast
from tests.chain import LocalChain
from tests.wallet import Wallet, decoded

pytestmark = pytest.mark.django_db(transaction=True)
MANY = 8
PRICE = 50_000


@pytest.fixture
def address(chain: LocalChain, settings: Any) -> str:
    settings.SETTLE_WAIT_SECONDS = 0.0
    call_command("deploy_settler")
    return f"/articles/{cast.article(cast.publication(cast.person('alice'))).slug}.json"


@pytest.fixture
def wallet(chain: LocalChain) -> Wallet:
    rich = Wallet()
    chain.mint(rich.address, 1_000_000)
    return rich


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, list[str]], list[int]]:
    """Send these headers so that all are verified before any of them is claimed."""

    def run(address: str, headers: list[str]) -> list[int]:
        start, answers = threading.Barrier(len(headers)), []
        claim = gate.Admission._claim

        def claim_together(admission: gate.Admission) -> Payment:
            start.wait(20)
            return claim(admission)

        def send(header: str) -> None:
            try:
                answers.append(Client().get(address, headers={"PAYMENT-SIGNATURE": header}).status_code)
            finally:
                connection.close()

        monkeypatch.setattr(gate.Admission, "_claim", claim_together)
        threads = [threading.Thread(target=send, args=(header,)) for header in headers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    return run


@pytest.fixture
def without_one_live_payment(transactional_db: None) -> Any:
    """The index that allows one live payment per buyer and article is not there."""
    (guard,) = [c for c in Payment._meta.constraints if c.name == "payment_one_live_per_buyer"]
    with connection.schema_editor() as editor:
        editor.remove_constraint(Payment, guard)
    yield
    Payment.objects.filter(state__in=LIVE).exclude(id=Payment.objects.values("id")[:1]).update(
        state=PaymentState.FAILED, sale=None
    )
    with connection.schema_editor() as editor:
        editor.add_constraint(Payment, guard)


def test_one_proof_many_times_is_one_claim(race, address, wallet):
    header = wallet.pay(_terms(address))
    assert race(address, [header] * MANY) == [503] * MANY
    assert Authorization.objects.count() == 1


def test_without_the_unique_proof_it_is_claimed_every_time(
    race, address, wallet, monkeypatch, without_one_live_payment
):
    real = EXACT.claim

    def claim_unbound(verified, payment):
        """Writes a claim that names another nonce than the proof has."""
        credential = verified.credential
        object.__setattr__(credential, "nonce", secrets.token_bytes(32))
        real(verified, payment)

    monkeypatch.setattr(EXACT, "claim", claim_unbound)
    header = wallet.pay(_terms(address))
    assert race(address, [header] * MANY) == [503] * MANY
    assert Authorization.objects.count() == MANY


def test_many_signatures_of_one_payer_move_the_money_once(race, address, wallet, chain, settings):
    headers = [wallet.pay(_terms(address)) for _ in range(MANY)]
    assert race(address, headers) == [503] * MANY
    _settle(settings)
    assert chain.balance(wallet.address) == 1_000_000 - PRICE


@pytest.mark.planted
def test_without_one_live_payment_the_money_moves_every_time(
    race, address, wallet, chain, settings, without_one_live_payment
):
    headers = [wallet.pay(_terms(address)) for _ in range(MANY)]
    assert race(address, headers) == [503] * MANY
    with pytest.raises(IntegrityError):  # The next guard: one grant per buyer and article. The money is gone by then.
        _settle(settings)
    assert chain.balance(wallet.address) == 1_000_000 - MANY * PRICE


def _terms(address: str) -> dict:
    return decoded(Client().get(address)["PAYMENT-REQUIRED"])


def _settle(settings: Any) -> None:
    settler = Settler(settings.SETTLER_KEY)
    assert settler.lease.hold()
    try:
        for _ in range(20):
            settler.turn()
            if not Payment.objects.filter(state__in=(PaymentState.CLAIMED, PaymentState.SIGNED)).exists():
                return
        raise AssertionError("not settled")
    finally:
        settler.lease.let_go()
