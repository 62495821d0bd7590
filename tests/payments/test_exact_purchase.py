"""One purchase through the gate and the settler, in this process, on a real chain."""

import pytest
from django.test import Client

from payments.settler import Settler
from tests.publishers import cast
from tests.wallet import Wallet, decoded

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_program_buys_an_article(chain, settings):
    settings.SETTLE_WAIT_SECONDS = 0.0
    owls = cast.article(cast.publication(cast.person("alice")))
    wallet = Wallet(); chain.mint(wallet.address, 1_000_000)
    from django.core.management import call_command
    call_command("deploy_settler")
    browser = Client()
    answer = browser.get(f"/articles/{owls.slug}.json")
    assert answer.status_code == 402
    header = wallet.pay(decoded(answer["PAYMENT-REQUIRED"]))
    answer = browser.get(f"/articles/{owls.slug}.json", headers={"PAYMENT-SIGNATURE": header})
    assert answer.status_code == 503, answer.content
    settler = Settler(settings.SETTLER_KEY)
    assert settler.lease.hold()
    settler.turn(); settler.turn()
    answer = browser.get(f"/articles/{owls.slug}.json", headers={"PAYMENT-SIGNATURE": header})
    assert answer.status_code == 200, answer.content
    assert chain.balance(wallet.address) == 950_000
    settler.lease.let_go()
