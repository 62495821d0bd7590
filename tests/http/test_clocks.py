"""The chain's clock is not ours: two minutes fast or slow, nobody is charged twice or told a false "not charged"."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dev import chain as dev_chain
from dev.children import Children
from payments import audit, waiters
from payments.models import Payment, PaymentState
from payments.onchain import watcher
from tests.chain import LocalChain
from tests.shop import ANVIL

from .till import Till

pytestmark = pytest.mark.django_db
SHIFT = 120


@pytest.fixture
def till_on(settings, monkeypatch, tmp_path: Path):
    """A till on a chain of its own whose clock is off by so many seconds."""

    @contextmanager
    def opened(shift: int) -> Iterator[Till]:
        children, port = Children(), dev_chain.free_port()
        try:
            child = dev_chain.program(ANVIL, port, tmp_path)
            child.command += ["--timestamp", str(int(time.time()) + shift)]
            accounts = dev_chain.prepare(children.start(child), dev_chain.url(port))
            settings.CHAIN_RPC_URL = dev_chain.url(port)
            settings.PAY_TO = accounts.pay_to.address
            settings.SETTLER_KEY = accounts.settler.key
            till = Till(LocalChain(dev_chain.url(port), accounts), settings)
            monkeypatch.setattr(waiters, "until_decided", lambda payment_id, seconds, source: till.work())
            till.open()
            yield till
            watcher.watch()
            assert [str(finding) for finding in audit.findings()] == []
        finally:
            children.stop()
            settings.CHAIN_RPC_URL = ""

    return opened


@pytest.mark.parametrize("shift", [SHIFT, -SHIFT])
def test_an_ordinary_payment_does_not_mind(till_on, owls, shift):
    with till_on(shift) as till:
        wallet = till.wallet(1_000_000)
        till.buy(wallet, owls)
        assert till.chain.balance(wallet.address) == 950_000


def test_where_it_is_later_an_authorization_that_is_over_there_is_not_charged(till_on, owls):
    with till_on(SHIFT) as till:
        wallet = till.wallet(1_000_000)
        answer = till.get(owls, payment_signature=till.sign(wallet, owls, validBefore=int(time.time()) + 60))
        assert (answer.status_code, answer.json()["error"]) == (402, "authorization_expired")
        assert answer.json()["charged"] is False
        assert till.chain.balance(wallet.address) == 1_000_000


def test_where_it_is_earlier_an_authorization_that_is_not_valid_yet_waits_and_then_pays(till_on, owls):
    with till_on(-SHIFT) as till:
        wallet = till.wallet(1_000_000)
        header = till.sign(wallet, owls, validAfter=int(time.time()) - 30)
        till.patience = 0.5
        answer = till.get(owls, payment_signature=header)
        assert (answer.status_code, answer.json()["error"]) == (503, "settlement_pending")
        assert Payment.objects.get().state == PaymentState.CLAIMED
        till.chain.rpc("evm_increaseTime", SHIFT)
        till.chain.rpc("evm_mine")
        till.patience = 10
        assert till.get(owls, payment_signature=header).status_code == 200
        assert till.chain.balance(wallet.address) == 950_000
