"""A shop without pages: offers by value, the gate's own functions, and a settler that is stepped by hand."""

import contextlib
from dataclasses import dataclass, field
from typing import Any

from eth_abi import encode
from eth_utils import keccak

from payments import gate
from payments.models import OPEN, Payment
from payments.offers import Offer, Presented, Price
from payments.onchain import watcher
from payments.onchain.settler import Settler
from payments.rails.exact import EXACT
from tests.chain import LocalChain, nobody_looks_for_money
from tests.wallet import Wallet, decoded

_ITEM = ["address", "address", "uint256", "uint256", "uint256", "bytes32", "bytes"]
_PAY = "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"
_CANCEL = "cancelAuthorization(address,bytes32,bytes)"
_TURNS = 12


def offer(number: int = 1, micros: int = 50_000, payee: str = "publisher:7") -> Offer:
    """One article for agents."""
    price = Price(number, "agents", micros)
    address = f"https://shop.example/articles/{number}"
    return Offer(f"article:{number}", 1, payee, price, address, f"Article {number}", "application/json", (price,))


@dataclass
class Counter:
    """`settler` holds its lease from the first use on; `close` lets it go."""

    chain: LocalChain
    settings: Any
    _settlers: list[Settler] = field(default_factory=list)

    def __post_init__(self) -> None:
        watcher.meet()

    @property
    def settler(self) -> Settler:
        if not self._settlers:
            self.another_settler()
        return self._settlers[0]

    def another_settler(self) -> Settler:
        """One more, that has yet to get the lease."""
        self._settlers.append(Settler(self.settings.SETTLER_KEY))
        return self._settlers[-1]

    def close(self) -> None:
        for settler in self._settlers:
            settler.lease.let_go()

    def wallet(self, micros: int = 10_000_000) -> Wallet:
        wallet = Wallet()
        if micros:
            self.chain.mint(wallet.address, micros)
        return wallet

    def sign(self, wallet: Wallet, wanted: Offer, **changes: Any) -> str:
        """A version 2 payment header for an offer, with a fresh quote."""
        requirement = EXACT.quote(wanted).accepts
        assert requirement
        return wallet.pay({"accepts": [requirement], "resource": {"url": wanted.url}}, **changes)

    def verify(self, header: str, wanted: Offer) -> gate.Admission:
        return gate.verify(Presented(headers={"PAYMENT-SIGNATURE": header}), wanted)

    def present(self, header: str, wanted: Offer) -> gate.Admitted:
        """What a request with this payment gets; raises the gate's errors."""
        return self.verify(header, wanted).settle()

    def claim(self, wallet: Wallet, wanted: Offer, **changes: Any) -> Payment:
        """A payment that was presented once and waits for the settler."""
        header = self.sign(wallet, wanted, **changes)
        with contextlib.suppress(gate.PaymentInFlight):
            self.present(header, wanted)
        return Payment.objects.select_related("authorization").latest("claimed_at", "id")

    def claim_without_money(self, wanted: Offer, header: str = "") -> Payment:
        """A claim of somebody whose money was there when it was looked for, and is gone before the settler looks."""
        header = header or self.sign(Wallet(), wanted)
        with nobody_looks_for_money(), contextlib.suppress(gate.PaymentInFlight):
            self.present(header, wanted)
        return Payment.objects.select_related("authorization").latest("claimed_at", "id")

    def work(self, settler: Settler | None = None) -> None:
        """The settler's turns, with a block after each, until nothing is open."""
        worker = settler or self.settler
        for _ in range(_TURNS):
            self.turn(worker)
            self.mine()
            if not Payment.objects.filter(state__in=OPEN).exists():
                break

    def turn(self, settler: Settler | None = None) -> float:
        """One turn so long after the last that the settler looks at everything, and sends again what is not mined."""
        worker = settler or self.settler
        assert worker.lease.hold()
        worker._caught_up_at = float("-inf")
        worker._sent_at.clear()
        worker._resting.clear()
        worker._fees = None
        worker._looked_in = b""
        worker._counted = (b"", 0)
        return worker.turn()

    def buy(self, wallet: Wallet, wanted: Offer) -> Payment:
        """A purchase from signature to confirmation, seen by the watcher as well."""
        payment = self.claim(wallet, wanted)
        self.work()
        watcher.watch()
        payment.refresh_from_db()
        return payment

    # --- What others do on the chain --------------------------------------------------------------------

    def mine(self, blocks: int = 1, seconds_later: int = 0) -> None:
        if seconds_later:
            self.chain.rpc("evm_increaseTime", seconds_later)
        for _ in range(blocks):
            self.chain.rpc("evm_mine")

    def settle_as_observer(self, header: str) -> str:
        """Somebody else brings the authorization of a payment header to the token."""
        payload = decoded(header)["payload"]
        said = payload["authorization"]
        numbers = (int(said[name]) for name in ("value", "validAfter", "validBefore"))
        parts = (bytes.fromhex(said["nonce"][2:]), bytes.fromhex(payload["signature"][2:]))
        return self.send(_PAY, _ITEM, said["from"], said["to"], *numbers, *parts)

    def spend(self, payer: str, micros: int) -> None:
        """The payer's money goes elsewhere in the next block, before anything that we have in it."""
        self.chain.rpc("anvil_setBalance", payer, hex(10**18))
        self.chain.rpc("anvil_impersonateAccount", payer)
        data = f"0xa9059cbb{'11' * 20:0>64}{micros:064x}"
        call = {"from": payer, "to": self.settings.CHAIN_ASSET, "data": data, "gas": hex(100_000)}
        fees = {"maxFeePerGas": hex(10**12), "maxPriorityFeePerGas": hex(10**11)}
        self.chain.rpc("eth_sendTransaction", {**call, **fees})

    def cancel(self, wallet: Wallet, header: str) -> str:
        """The payer cancels the authorization of a payment header."""
        nonce = decoded(header)["payload"]["authorization"]["nonce"]
        fields = [{"name": "authorizer", "type": "address"}, {"name": "nonce", "type": "bytes32"}]
        domain = {"name": self.settings.CHAIN_ASSET_NAME, "version": self.settings.CHAIN_ASSET_VERSION}
        domain |= {"chainId": self.settings.CHAIN_ID, "verifyingContract": self.settings.CHAIN_ASSET}
        said = {"authorizer": wallet.address, "nonce": nonce}
        signed = wallet.account.sign_typed_data(domain, {"CancelAuthorization": fields}, said)
        parts = (wallet.address, bytes.fromhex(nonce[2:]), bytes(signed.signature))
        return self.send(_CANCEL, ["address", "bytes32", "bytes"], *parts)

    def send(self, function: str, types: list[str], *arguments: Any, sender: str = "") -> str:
        """A transaction to the token, by a stranger unless said otherwise, mined with all that waits; its hash."""
        data = keccak(text=function)[:4] + encode(types, arguments)
        call = {"from": sender or self.chain.accounts.minter.address, "to": self.settings.CHAIN_ASSET}
        tx = self.chain.rpc("eth_sendTransaction", {**call, "data": "0x" + data.hex()})
        self.mine()
        return tx
