"""Which authorization made which transfer, read from the token's logs alone; and what a node may answer."""

import itertools
from typing import Any

import pytest

from payments.onchain import logs, rpc
from payments.onchain.logs import AUTHORIZATION_USED, TRANSFER, pair
from tests.unit.payments.counter import Counter, offer
from tests.wallet import decoded

PAYER, OTHER, US = b"\xaa" * 20, b"\xbb" * 20, b"\xcc" * 20
X, Y = b"\x01" * 32, b"\x02" * 32
Logs = list[dict[str, Any]]


def word(value: bytes) -> str:
    return "0x" + value.rjust(32, b"\0").hex()


def used(payer: bytes, nonce: bytes, tx: int = 1) -> dict[str, Any]:
    return {
        "topics": [AUTHORIZATION_USED, word(payer), word(nonce)],
        "transactionHash": word(bytes([tx])),
        "data": "0x",
    }


def moved(payer: bytes, to: bytes, value: int = 5, tx: int = 1, **more: Any) -> dict[str, Any]:
    topics = [TRANSFER, word(payer), word(to)]
    return {"topics": topics, "transactionHash": word(bytes([tx])), "data": hex(value), **more}


def in_one_block(*logs: dict[str, Any]) -> Logs:
    place = {"blockNumber": "0x5", "blockHash": word(b"b"), "address": "0x" + "dd" * 20}
    return [{**place, "logIndex": hex(index), **log} for index, log in enumerate(logs)]


def read(*logs: dict[str, Any]) -> list[tuple[bytes, int, bytes | None]]:
    """Sender, value and authorization of what came to us."""
    return [(seen.sender, seen.value, seen.nonce) for seen in pair(in_one_block(*logs))]


@pytest.fixture(autouse=True)
def _our_address(request, settings) -> None:
    if request.cls:
        return
    settings.PAY_TO = "0x" + US.hex()
    settings.CHAIN_ASSET = "0x" + "dd" * 20


def test_an_authorization_is_the_cause_of_the_next_transfer_of_its_payer():
    assert read(used(PAYER, X), moved(PAYER, US)) == [(PAYER, 5, X)]


def test_a_plain_transfer_has_none():
    assert read(moved(PAYER, US)) == [(PAYER, 5, None)]


def test_an_authorization_to_somebody_else_cannot_be_dressed_up_as_a_payment_to_us():
    """In one transaction the payer carries out an authorization to another, and then sends us the same amount."""
    assert read(used(PAYER, X), moved(PAYER, OTHER), moved(PAYER, US)) == [(PAYER, 5, None)]


def test_nor_can_one_that_comes_after_the_transfer():
    assert read(moved(PAYER, US), used(PAYER, X), moved(PAYER, OTHER)) == [(PAYER, 5, None)]


def test_nor_can_one_of_nothing():
    """An authorization over 0 to us is itself what it paid: 0."""
    assert read(used(PAYER, X), moved(PAYER, US, 0), moved(PAYER, US)) == [(PAYER, 0, X), (PAYER, 5, None)]


def test_nor_can_one_of_another_transaction_or_of_another_payer():
    assert read(used(PAYER, X, tx=1), moved(PAYER, US, tx=2)) == [(PAYER, 5, None)]
    assert read(used(OTHER, X), moved(PAYER, US)) == [(PAYER, 5, None)]


def test_many_in_one_transaction_keep_their_own():
    logs = [
        used(PAYER, X),
        moved(PAYER, US, 1),
        used(PAYER, Y),
        moved(PAYER, US, 2),
        used(OTHER, X),
        moved(OTHER, US, 3),
    ]
    assert read(*logs) == [(PAYER, 1, X), (PAYER, 2, Y), (OTHER, 3, X)]


def test_the_order_in_which_a_node_tells_them_means_nothing():
    block = in_one_block(used(PAYER, X), moved(PAYER, OTHER), used(PAYER, Y), moved(PAYER, US))
    for told in itertools.permutations(block):
        assert [seen.nonce for seen in pair(told)] == [Y]


def test_logs_of_another_contract_count_for_nothing():
    assert read(used(PAYER, X), moved(PAYER, US, address="0x" + "ee" * 20)) == []


def test_logs_that_were_taken_back_count_for_nothing():
    assert read(used(PAYER, X), moved(PAYER, US, removed=True)) == []


@pytest.mark.django_db(transaction=True)
class TestOnTheChain:
    """The same by a real token."""

    def fate(self, header: str) -> tuple[bool, Any]:
        said = decoded(header)["payload"]["authorization"]
        payer, nonce = bytes.fromhex(said["from"][2:]), bytes.fromhex(said["nonce"][2:])
        return logs.fate_of(payer, nonce, 0, rpc.block("latest").number)

    def test_what_paid_us_is_told_with_its_transfer(self, counter: Counter):
        wallet = counter.wallet()
        header = counter.sign(wallet, offer())
        assert self.fate(header) == (False, None)
        tx = counter.settle_as_observer(header)
        known, seen = self.fate(header)
        assert (known, "0x" + seen.tx_hash.hex(), seen.value) == (True, tx, 50_000)

    def test_what_was_cancelled_is_known_to_have_paid_nobody(self, counter: Counter):
        wallet = counter.wallet()
        header = counter.sign(wallet, offer())
        counter.cancel(wallet, header)
        assert self.fate(header) == (True, None)

    def test_what_paid_somebody_else_is_known_not_to_have_paid_us(self, counter: Counter):
        wallet = counter.wallet()
        header = counter.sign(wallet, offer(), to=counter.chain.accounts.minter.address)
        counter.settle_as_observer(header)
        assert self.fate(header) == (True, None)

    def test_blocks_that_do_not_hold_it_say_nothing(self, counter: Counter):
        wallet = counter.wallet()
        header = counter.sign(wallet, offer())
        counter.settle_as_observer(header)
        counter.mine()
        said = decoded(header)["payload"]["authorization"]
        payer, nonce = bytes.fromhex(said["from"][2:]), bytes.fromhex(said["nonce"][2:])
        head = rpc.block("latest").number
        assert logs.fate_of(payer, nonce, head, head) == (False, None)
