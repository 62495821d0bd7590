"""Sequences found by a review on paper: each opened an article, broke the books or stopped the settler once."""

import base64
import json
import os

import pytest
from django.conf import settings
from django.test import Client

from payments import gate
from payments.books import accounts, ledger
from payments.models import Grant, Payment, State, Transfer
from payments.onchain import record, watcher
from payments.onchain import rpc as blockchain
from payments.onchain.rpc import SeenTransfer
from payments.onchain.settler import Settler
from payments.rails import exact
from tests.payments.counter import Counter, offer
from tests.publishers import cast
from tests.wallet import decoded, encoded

pytestmark = pytest.mark.django_db(transaction=True)


def with_another_quote(header: str) -> str:
    """What an observer can make of a payment: its signature, with a quote of the observer's own."""
    return encoded({**decoded(header), "accepted": exact.quote(offer())})


def test_a_proof_that_was_released_does_not_open_what_another_proof_has_bought(counter: Counter):
    wallet = counter.wallet(micros=0)
    first = counter.sign(wallet, offer())
    with pytest.raises(gate.PaymentInFlight):
        counter.present(first, offer())
    counter.work()
    assert Payment.objects.get().state == State.RELEASED
    counter.chain.mint(wallet.address, 1_000_000)
    counter.buy(wallet, offer())
    with pytest.raises(gate.AlreadyPaid):
        counter.present(with_another_quote(first), offer())
    assert counter.present(first, offer()).proven
    assert counter.chain.balance(wallet.address) == 950_000


@pytest.mark.planted
def test_a_transfer_that_was_sold_while_it_left_the_chain_leaves_no_grant_behind(counter: Counter):
    wallet = counter.wallet()
    header = counter.sign(wallet, offer())
    counter.settle_as_observer(header)
    watcher.watch()
    stale = Transfer.objects.get()
    with pytest.raises(gate.PaymentInFlight):
        counter.present(header, offer())
    counter.work()
    assert Grant.objects.filter(revoked_at=None).count() == 1
    record.take_back(stale)
    assert not Grant.objects.filter(revoked_at=None).exists()
    assert Payment.objects.get().state == State.CLAIMED
    assert set(ledger.balances(ledger.Q()).values()) == {0}


def test_trouble_with_one_claim_does_not_keep_the_others_waiting(counter: Counter, monkeypatch: pytest.MonkeyPatch):
    poor, rich = counter.wallet(micros=0), counter.wallet()
    counter.claim(poor, offer(1))
    payment = counter.claim(rich, offer(2))

    def refuses(*_: object) -> None:
        raise blockchain.RpcRefused(-32000, "no")

    with monkeypatch.context() as patched:
        patched.setattr(Settler, "_decide", refuses)
        counter.turn()
        counter.mine()
        counter.turn()
    payment.refresh_from_db()
    assert payment.state == State.CONFIRMED
    counter.work()


def test_nothing_becomes_final_whose_block_is_not_there(counter: Counter):
    head = blockchain.block("latest")
    counter.mine(3)
    phantom = SeenTransfer(
        head.number, os.urandom(32), os.urandom(32), 0, blockchain.token(), b"\x01" * 20, blockchain.pay_to(), 7, None
    )
    watcher.watch()
    record.transfers([phantom])
    assert ledger.balance(accounts.suspense(settings.CHAIN_ID)) == 7
    watcher.watch()
    counter.mine()
    watcher.watch()
    assert Transfer.objects.get().orphaned_at
    assert ledger.balance(accounts.suspense(settings.CHAIN_ID)) == 0


def test_who_settled_by_themselves_is_not_late(counter: Counter):
    wallet = counter.wallet()
    header = counter.sign(wallet, offer())
    counter.settle_as_observer(header)
    watcher.watch()
    counter.settings.PAYMENT_MARGIN_SECONDS = 3600
    with pytest.raises(gate.PaymentInFlight):
        counter.present(header, offer())
    counter.work()
    assert counter.present(header, offer()).proven


@pytest.mark.parametrize("broken", [{"nonce": "\ud800" * 8}, {"issuedAt": "\ud800"}])
def test_a_wallet_proof_of_broken_text_opens_nothing(broken: dict[str, str]):
    owls = cast.article(cast.publication(cast.person("alice")))
    fields = {"domain": "localhost", "address": "0x" + "11" * 20, "uri": owls.url, "version": "1", "type": "eip191"}
    fields |= {"chainId": "eip155:84532", "nonce": "a" * 32, "issuedAt": "2026-11-21T00:00:00Z"}
    proof = base64.b64encode(json.dumps(fields | {"signature": "0x" + "11" * 65} | broken).encode()).decode()
    assert Client().get(f"/articles/{owls.slug}.md", headers={"SIGN-IN-WITH-X": proof}).status_code == 402


def test_a_session_cookie_that_no_database_takes_is_no_session():
    browser = Client()
    browser.cookies["sessionid"] = '"aaaaaaaaaa\\000"'
    assert browser.get("/library").status_code == 200
