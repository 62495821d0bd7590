"""The audit compares the books with the chain: what it holds, what it logged, and which chain it is."""

from typing import Any

import pytest
from django.conf import settings as configured

from payments.books import ledger
from payments.models import Transfer
from payments.onchain import watcher
from tests.unit.payments.planting import Books, again, found, past_the_guards

pytestmark = pytest.mark.django_db


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
