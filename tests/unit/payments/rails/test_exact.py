"""The rail `exact` on a real chain, with the settler stepped by hand: one proof is one purchase."""

import pytest
from django.test import Client

from payments import gate
from payments.models import Payment, PaymentState
from payments.onchain import watcher
from payments.rails.exact import EXACT
from tests import cast
from tests.unit.payments.counter import Counter, offer
from tests.wallet import decoded, encoded

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_agent_buys_an_article(chain, counter):
    owls = cast.article(cast.publication(cast.person("alice")))
    wallet = counter.wallet(1_000_000)
    browser = Client()
    asked = browser.get(f"/articles/{owls.slug}.json")
    assert asked.status_code == 402
    header = wallet.pay(decoded(asked["PAYMENT-REQUIRED"]))
    waiting = browser.get(f"/articles/{owls.slug}.json", headers={"PAYMENT-SIGNATURE": header})
    assert waiting.status_code == 503
    counter.work()
    paid = browser.get(f"/articles/{owls.slug}.json", headers={"PAYMENT-SIGNATURE": header})
    assert paid.status_code == 200
    assert "canary7731" in paid.content.decode()
    assert chain.balance(wallet.address) == 950_000
    assert Payment.objects.get().state == PaymentState.CONFIRMED


def with_another_quote(header: str) -> str:
    """What an observer can make of a payment: its signature, with a quote of the observer's own."""
    return encoded({**decoded(header), "accepted": EXACT.quote(offer()).accepts})


def test_a_proof_that_was_released_does_not_open_what_another_proof_has_bought(counter: Counter):
    wallet = counter.wallet(micros=0)
    first = counter.sign(wallet, offer())
    released = counter.claim_without_money(offer(), first)
    counter.work()
    released.refresh_from_db()
    assert released.state == PaymentState.RELEASED
    counter.chain.mint(wallet.address, 1_000_000)
    counter.buy(wallet, offer())
    with pytest.raises(gate.AlreadyPaid):
        counter.present(with_another_quote(first), offer())
    assert counter.present(first, offer()).proven
    assert counter.chain.balance(wallet.address) == 950_000


def test_who_settled_by_themselves_is_not_late(counter: Counter):
    wallet = counter.wallet()
    header = counter.sign(wallet, offer())
    counter.settle_as_observer(header)
    watcher.watch()
    counter.settings.PAYMENT_MARGIN_SECONDS = 3600
    assert counter.present(header, offer()).proven
