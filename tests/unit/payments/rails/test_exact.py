"""One purchase over HTTP in this process, with the settler stepped by hand, on a real chain."""

import pytest
from django.test import Client

from payments.models import Payment, State
from tests import cast
from tests.wallet import decoded

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
    assert Payment.objects.get().state == State.CONFIRMED
