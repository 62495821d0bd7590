"""The audit compares the books with the chain: what it holds, what it logged, and which chain it is."""

from typing import Any

import pytest
from django.conf import settings as configured

from payments.books import ledger
from payments.models import Transfer
from payments.onchain import watcher
from tests.unit.payments.counter import Counter, offer
from tests.unit.payments.planting import Books, again, found, past_the_guards

pytestmark = pytest.mark.django_db(transaction=True)


def test_money_that_just_arrives_is_no_corruption_before_and_after_it_is_seen(counter: Counter):
    counter.chain.mint(configured.PAY_TO, 5)
    assert found() == (0, {})
    watcher.watch()
    assert found() == (0, {})
    assert ledger.balance(f"suspense:eip155:{configured.CHAIN_ID}") == 5


def test_what_our_address_held_before_we_began_is_none_of_our_business(chain, transactional_db):
    chain.mint(configured.PAY_TO, 77)
    Counter(chain, configured)
    chain.mint(configured.PAY_TO, 5)
    watcher.watch()
    assert found() == (0, {})
    assert ledger.balance(f"suspense:eip155:{configured.CHAIN_ID}") == 5


@pytest.mark.planted
def test_a_transfer_that_the_chain_does_not_have_is_found(books: Books):
    fields = {f.attname: getattr(books.arrival, f.attname) for f in Transfer._meta.concrete_fields if f.name != "id"}
    tx = b"\7" * 32
    row = Transfer.objects.create(**fields | {"tx_hash": tx, "received_id": None})
    moves = again(books.arrival.received)
    Transfer.objects.filter(id=row.id).update(received=ledger.post("unclaimed", "planted", moves))
    code, said = found()
    assert (code, set(said)) == (1, {"custody_differs", "transfer_invented"})
    assert tx.hex() in said["transfer_invented"]


@pytest.mark.planted
def test_a_transfer_that_was_forgotten_with_all_its_traces_is_found(books: Books):
    names = books.names()
    past_the_guards(
        "DELETE FROM payments_posting WHERE transaction_id = '{unclaimed}'".format_map(names),
        "DELETE FROM payments_transaction WHERE id = '{unclaimed}'".format_map(names),
        "DELETE FROM payments_transfer WHERE id = {arrival}".format_map(names),
    )
    code, said = found()
    assert (code, set(said)) == (1, {"custody_differs", "transfer_unseen"})
    assert books.arrival.tx_hash.hex() in said["transfer_unseen"]


@pytest.mark.planted
def test_money_that_left_our_address_is_found(books: Books):
    counter = books.counter
    minter = counter.chain.accounts.minter.address
    counter.send("transfer(address,uint256)", ["address", "uint256"], minter, 1, sender=configured.PAY_TO)
    watcher.watch()
    code, said = found()
    assert (code, set(said)) == (1, {"custody_differs"})
    assert "1334566" in said["custody_differs"]
    assert "1334567" in said["custody_differs"]


@pytest.mark.planted
@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("UPDATE payments_chain SET genesis_hash = scanned_hash", "another_chain"),
        ("UPDATE payments_chain SET scanned_hash = genesis_hash", "reorganised"),
        ("DELETE FROM payments_chain", "chain_unknown"),
    ],
)
def test_a_chain_that_is_not_the_one_we_know_is_found(books: Books, statement: str, word: str):
    past_the_guards(statement)
    code, said = found()
    assert (code, list(said)) == (1, [word])


@pytest.mark.planted
def test_a_chain_that_cannot_be_reached_is_a_finding(books: Books, settings: Any):
    settings.CHAIN_RPC_URL = "http://127.0.0.1:1"
    code, said = found()
    assert (code, list(said)) == (1, ["chain_unreachable"])


@pytest.mark.planted
def test_a_payment_that_can_no_longer_happen_and_is_still_open_is_found(counter: Counter):
    payment = counter.claim(counter.wallet(0), offer())
    counter.mine(2, seconds_later=300)
    assert found() == (0, {})
    counter.mine(2, seconds_later=150)
    code, said = found()
    assert (code, list(said)) == (1, ["undecided_too_long"])
    assert str(payment.id) in said["undecided_too_long"]
