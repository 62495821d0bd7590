"""A node that says what a test has told it to, for what needs no chain: batches, fees, fates."""

import os
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.conf import settings

from payments.models import Authorization, Payment
from payments.onchain import logs, payers, rpc
from payments.onchain.logs import Receipt, SeenTransfer
from payments.onchain.payers import Facts
from payments.onchain.rpc import Block
from payments.onchain.settler import Settler

GWEI = 10**9
KEY = "0x" + "4c" * 32
PAY_TO = "0x" + "22" * 20


@dataclass
class SilentNode:
    """`settles` is what the token says of every authorization; nothing that is sent is ever mined unless told."""

    number: int = 100
    time: int = 1_000_000
    base_fee: int = GWEI
    tip: int = 1
    count: int = 0
    settles: bool = True
    used: bool = False
    holds: int = 10**12
    mined: Receipt | None = None
    fate: tuple[bool, SeenTransfer | None] = (False, None)
    simulated: list[int] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    _asked: int = 0

    def install(self, patch: pytest.MonkeyPatch) -> None:
        answers = {
            "block": self._block,
            "genesis_hash": lambda: b"\x0a" * 32,
            "pay_to": lambda: rpc.address(PAY_TO),
            "request": lambda method: {"eth_chainId": hex(settings.CHAIN_ID)}[method],
            "suggested_priority_fee": lambda: self.tip,
            "transaction_count": lambda key, at=None: self.count,
            "settle_call": self._call,
            "simulate": self._simulate,
            "send": self.sent.append,
            "authorization_used": lambda payer, nonce, at: self.used,
            "finalized": lambda: None,
            "balance_of": lambda holder, at=None: self.holds,
        }
        for name, answer in answers.items():
            patch.setattr(rpc, name, answer)
        patch.setattr(payers, "read", lambda asked, at=None: [Facts(self.holds, self.used, False) for _ in asked])
        patch.setattr(logs, "receipt", lambda tx_hash: self.mined)
        patch.setattr(logs, "fate_of", lambda payer, nonce, first, last: self.fate)

    def _block(self, which: int | str = "latest") -> Block:
        number = which if isinstance(which, int) else self.number
        return Block(number, b"\x0b" * 32, self.time, self.base_fee)

    def _call(self, items: list[tuple], gas_each: int) -> bytes:
        self._asked = len(items)
        return b"call"

    def _simulate(self, data: bytes, sender: bytes, gas: int, at: Block) -> list[bool]:
        self.simulated.append(self._asked)
        return [self.settles] * self._asked


def claim(number: int = 1, *, valid_after: int = 0, valid_before: int = 2**40, micros: int = 50_000) -> Payment:
    """A payment that was claimed and waits for the settler."""
    payer = os.urandom(20)
    payment = Payment.objects.create(
        rail="exact", buyer=f"eip155:{settings.CHAIN_ID}:0x{payer.hex()}", resource=f"article:{number}", version=1,
        payee="publisher:7", audience="agents", price_id=1, amount_micros=micros,
    )  # fmt: skip
    Authorization.objects.create(
        payment=payment, chain_id=settings.CHAIN_ID, token=rpc.token(), payer=payer, nonce=os.urandom(32),
        recipient=rpc.address(PAY_TO), valid_after=valid_after, valid_before=valid_before, signature=os.urandom(65),
    )  # fmt: skip
    return payment


def transfer_of(payment: Payment, *, block: int = 1, block_hash: bytes = b"\x0b" * 32) -> SeenTransfer:
    """The log of a payment's own transfer, as a block holds it."""
    proof = payment.authorization
    where = (block, block_hash, payment.id.bytes * 2, 0, proof.token, proof.payer, proof.recipient)
    return SeenTransfer(*where, payment.amount_micros, proof.nonce)


def turn(settler: Settler) -> None:
    """One turn, so long after the last that everything is looked at again."""
    assert settler.lease.hold()
    settler._caught_up_at = float("-inf")
    settler._fees = None
    settler._counted = (b"", 0)
    settler._looked_in = b""
    settler.turn()


def state(payment: Payment) -> str:
    payment.refresh_from_db()
    return payment.state


def becomes(payment: Payment, where: str, **more: Any) -> Any:
    """Somebody else has brought the payment there."""
    return lambda: Payment.objects.filter(id=payment.id).update(state=where, **more)
