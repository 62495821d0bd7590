"""One buyer, one article, one payment header: sent as often as it takes, then compared with chain and books."""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
from eth_abi import encode

from tests.shop import PATIENCE, Shop
from tests.wallet import Wallet, decoded

_TRANSFER_WITH_AUTHORIZATION = "0xcf092995"
TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"


class Purchase:
    """A signed payment for an article. Nothing is sent by making one."""

    def __init__(self, shop: Shop, wallet: Wallet, article: dict[str, Any], **changes: Any) -> None:
        self.shop = shop
        self.wallet = wallet
        self.article = article
        self.url: str = article["json_url"]
        self.header = wallet.pay(shop.terms(self.url), **changes)
        self.payload: dict[str, Any] = decoded(self.header)["payload"]
        self.amount = int(self.authorization["value"])
        self.held = shop.balance(self.payer)

    @property
    def authorization(self) -> dict[str, str]:
        return self.payload["authorization"]

    @property
    def payer(self) -> str:
        return self.authorization["from"].lower()

    def settle_call(self) -> str:
        """The call data by which anybody who has seen this payment can settle it."""
        said = self.authorization
        types = ["address", "address", "uint256", "uint256", "uint256", "bytes32", "bytes"]
        numbers = [int(said[name]) for name in ("value", "validAfter", "validBefore")]
        proof = [bytes.fromhex(text[2:]) for text in (said["nonce"], self.payload["signature"])]
        return _TRANSFER_WITH_AUTHORIZATION + encode(types, [said["from"], said["to"], *numbers, *proof]).hex()

    def carriers(self, sent: list[str]) -> set[str]:
        """Which of these raw transactions carry this payment."""
        return {raw for raw in sent if self.authorization["nonce"][2:] in raw}

    # --- Sending --------------------------------------------------------------------------------------

    def send(self) -> httpx.Response:
        """The header, once, over a connection of its own."""
        headers = {"PAYMENT-SIGNATURE": self.header, "Accept": "application/json", "Connection": "close"}
        return self.shop.http.get(self.url, headers=headers)

    def send_until_cut(self) -> None:
        """The same header until the web worker dies over it: it may be told "later" before it comes so far."""
        began = time.monotonic()
        with contextlib.suppress(httpx.TransportError):
            while self.send().status_code == 503:
                assert time.monotonic() - began < PATIENCE, "nobody died"
            raise AssertionError("nobody died")

    @contextmanager
    def under_way(self) -> Iterator["Future[httpx.Response]"]:
        """The header has been sent from another thread; what its answer is may be asked, or left."""
        with ThreadPoolExecutor(1) as pool:
            yield pool.submit(self.send)

    def finish(self, web_dies: bool = False) -> float:
        """Send the same header until it is a 200; every other answer must say "later". Returns how long it took."""
        began = time.monotonic()
        while True:
            try:
                answer = self.send()
            except httpx.TransportError:
                assert web_dies, "the web server was not to die"
            else:
                if answer.status_code == 200:
                    assert len(answer.json()["markdown"]) > 1_000
                    return time.monotonic() - began
                assert (answer.status_code, "Retry-After" in answer.headers) == (503, True), answer.text[:300]
            assert time.monotonic() - began < PATIENCE, f"not bought within {PATIENCE} s"
            time.sleep(0.1)

    # --- What is true afterwards ----------------------------------------------------------------------

    def transfers(self) -> list[dict[str, Any]]:
        """The chain's own logs of money that went from this payer to the shop."""
        topics = [TRANSFER, *(f"0x{who[2:].lower():0>64}" for who in (self.payer, self.shop.line["pay_to"]))]
        where = {"address": self.shop.line["asset"], "fromBlock": "0x0", "toBlock": "latest"}
        return self.shop.rpc("eth_getLogs", {**where, "topics": topics})

    def payments(self) -> list[tuple[str, str]]:
        """(resource, state) of this payer's payments in the books."""
        rows = self.shop.sql(f"SELECT resource, state FROM audit_payment WHERE payer = '{self.payer}' ORDER BY id")
        return [(str(resource), str(state)) for resource, state in rows]

    def grants(self) -> list[str]:
        """What this payer may read now."""
        buyer = f"{self.shop.line['network']}:{self.payer}"
        rows = self.shop.sql(f"SELECT resource FROM audit_grant WHERE buyer = '{buyer}' AND revoked_at IS NULL")
        return [str(resource) for (resource,) in rows]

    def owned(self) -> list[str]:
        """What this payer's payments have bought, as the books stand now."""
        return [resource for resource, state in self.payments() if state in ("confirmed", "final")]

    def sales(self) -> int:
        """Journals of sales to this payer that were not reversed."""
        return len(
            self.shop.sql(
                f"SELECT j.id FROM audit_payment p JOIN audit_journal j ON j.id = p.journal_id "
                f"WHERE p.payer = '{self.payer}' AND j.kind = 'sale'"
            )
        )

    def was_bought_once(self) -> None:
        """One transfer, one payment, one sale, one grant; the wallet is short of one price."""
        resource = f"article:{self.article['id']}"
        assert [int(log["data"], 16) for log in self.transfers()] == [self.amount]
        assert self.shop.balance(self.payer) == self.held - self.amount
        assert self.owned() == [resource], self.payments()
        assert self.grants() == [resource]
        assert self.sales() == 1

    def was_bought_anew(self) -> None:
        """The same, as soon as what a reorganisation has taken back is recorded again.

        Whoever owned it is served until somebody has noticed that its block is gone.
        """
        self.shop.wait(lambda: self._recorded_blocks() == self._blocks() and self.owned(), "the second sale")
        self.was_bought_once()

    def _blocks(self) -> list[bytes]:
        return [bytes.fromhex(log["blockHash"][2:]) for log in self.transfers()]

    def _recorded_blocks(self) -> list[bytes]:
        """In which blocks the books have transfers of this payer that were not taken back."""
        rows = self.shop.sql("SELECT sender, block_hash FROM payments_transfer WHERE orphaned_at IS NULL ORDER BY id")
        return [bytes(block) for sender, block in rows if bytes(sender).hex() == self.payer[2:]]

    def was_not_bought(self) -> None:
        """No transfer, no sale, no grant."""
        assert self.transfers() == []
        assert self.grants() == []
        assert self.sales() == 0
