"""A shop in this process: Django's test client in front, a real chain behind, a settler that works while buyers wait.

For stories that need the product's settings, its clock or its tables. Everything a buyer sends is signed for real.
"""

import base64
import io
import json
import time
from dataclasses import dataclass, field
from typing import Any

from django.core.management import call_command
from django.http import HttpResponse
from django.test import Client
from eth_abi import encode
from eth_utils import keccak

from payments.models import OPEN, Authorization, Payment
from payments.onchain.settler import Settler
from publishers.models import Article
from tests.chain import LocalChain
from tests.shop import Shop
from tests.wallet import Wallet, decoded

_TRANSFER = (
    "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)",
    ["address", "address", "uint256", "uint256", "uint256", "bytes32", "bytes"],
)
_CANCEL = ("cancelAuthorization(address,bytes32,bytes)", ["address", "bytes32", "bytes"])


@dataclass
class Till:
    """Sells the articles of this process's database. While `asleep` nothing is settled, and buyers wait in vain.

    `patience`: for how many seconds the settler works at most while a buyer waits.
    """

    chain: LocalChain
    settings: Any
    asleep: bool = False
    patience: float = 10
    web: Client = field(default_factory=Client)

    def open(self) -> None:
        call_command("deploy_settler", stdout=io.StringIO())

    def wallet(self, micros: int = 10_000_000) -> Wallet:
        """A new wallet with so many test dollars."""
        wallet = Wallet()
        if micros:
            self.fund(wallet.address, micros)
        return wallet

    def fund(self, holder: str, micros: int) -> None:
        """More test dollars, there when this returns."""
        before = self.chain.balance(holder)
        self.chain.mint(holder, micros)
        Shop.wait(lambda: self.chain.balance(holder) == before + micros, "the mint")

    def get(self, article: Article, suffix: str = ".json", query: str = "", **headers: str) -> HttpResponse:
        """One request without a session. `payment_signature="…"` sends PAYMENT-SIGNATURE, and so on."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self.web.cookies.clear()
        return self.web.get(f"/articles/{article.slug}{suffix}{query}", headers=sent)

    def terms(self, article: Article, suffix: str = ".json") -> dict[str, Any]:
        """The version 2 terms, with a fresh quote."""
        answer = self.get(article, suffix)
        assert answer.status_code == 402, (answer.status_code, answer.content[:300])
        return decoded(answer["PAYMENT-REQUIRED"])

    def body(self, article: Article, suffix: str = ".json") -> dict[str, Any]:
        """The version 1 terms."""
        return self.get(article, suffix).json()

    def sign(self, wallet: Wallet, article: Article, suffix: str = ".json", **changes: Any) -> str:
        """A PAYMENT-SIGNATURE header for the terms of now."""
        return wallet.pay(self.terms(article, suffix), **changes)

    def sign_v1(self, wallet: Wallet, article: Article, suffix: str = ".json", **changes: Any) -> str:
        """An X-PAYMENT header for the terms of now."""
        return wallet.pay_v1(self.body(article, suffix), self.settings.CHAIN_ID, **changes)

    def buy(self, wallet: Wallet, article: Article, suffix: str = ".json") -> tuple[str, HttpResponse]:
        """Ask, sign, pay; the header and the answer."""
        header = self.sign(wallet, article, suffix)
        answer = self.get(article, suffix, payment_signature=header)
        assert answer.status_code == 200, answer.content[:500]
        return header, answer

    def buy_v1(self, wallet: Wallet, article: Article, suffix: str = ".json") -> tuple[str, HttpResponse]:
        header = self.sign_v1(wallet, article, suffix)
        answer = self.get(article, suffix, x_payment=header)
        assert answer.status_code == 200, answer.content[:500]
        return header, answer

    def work(self) -> None:
        """The settler's turns until nothing is open any more; bounded."""
        if self.asleep:
            return
        settler = Settler(self.settings.SETTLER_KEY)
        assert settler.lease.hold()
        ends = time.monotonic() + self.patience
        try:
            while Payment.objects.filter(state__in=OPEN).exists() and time.monotonic() < ends:
                settler.turn()
                time.sleep(0.005)
        finally:
            settler.lease.let_go()

    # --- What others do on the chain --------------------------------------------------------------------

    def settle_as_observer(self, header: str) -> str:
        """Somebody else sends the authorization of a payment header to the token first; the transaction's hash."""
        payload = decoded(header)["payload"]
        said = payload["authorization"]
        numbers = (int(said[name]) for name in ("value", "validAfter", "validBefore"))
        nonce, signature = (bytes.fromhex(text[2:]) for text in (said["nonce"], payload["signature"]))
        return self.send(_TRANSFER, said["from"], said["to"], *numbers, nonce, signature)

    def cancel(self, wallet: Wallet, header: str) -> str:
        """The payer cancels the authorization of a payment header."""
        nonce = decoded(header)["payload"]["authorization"]["nonce"]
        types = {
            "CancelAuthorization": [{"name": "authorizer", "type": "address"}, {"name": "nonce", "type": "bytes32"}]
        }
        signed = wallet.account.sign_typed_data(self.domain(), types, {"authorizer": wallet.address, "nonce": nonce})
        return self.send(_CANCEL, wallet.address, bytes.fromhex(nonce[2:]), bytes(signed.signature))

    def domain(self) -> dict[str, Any]:
        chosen = self.settings
        return {
            "name": chosen.CHAIN_ASSET_NAME,
            "version": chosen.CHAIN_ASSET_VERSION,
            "chainId": chosen.CHAIN_ID,
            "verifyingContract": chosen.CHAIN_ASSET,
        }

    def send(self, function: tuple[str, list[str]], *arguments: Any) -> str:
        """A transaction of a stranger to the token, mined and successful when this returns; its hash."""
        data = keccak(text=function[0])[:4] + encode(function[1], arguments)
        return self.send_to(self.settings.CHAIN_ASSET, "0x" + data.hex())

    def send_to(self, contract: str, data: str) -> str:
        """The same to any contract."""
        call = {"from": self.chain.accounts.minter.address, "to": contract, "data": data}
        tx = self.chain.rpc("eth_sendTransaction", call)
        receipt = Shop.wait(lambda: self.chain.rpc("eth_getTransactionReceipt", tx), "the stranger's transaction")
        assert int(receipt["status"], 16) == 1
        return tx


def requoted(header: str, terms: dict[str, Any]) -> str:
    """What an observer can build: the authorization that the chain has published, with a fresh quote of its own."""
    message = decoded(header)
    message["accepted"] = terms["accepts"][0]
    return repacked(message)


def repacked(message: Any) -> str:
    """A header value."""
    return base64.b64encode(json.dumps(message).encode()).decode()


def claims() -> int:
    """How many payments and authorizations the database holds."""
    return Payment.objects.count() + Authorization.objects.count()
