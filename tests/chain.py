"""The local chains of tests in this process: one that mines at once, one that moves only when a test says so."""

import time
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from dev import chain as dev_chain
from payments.onchain import backoff, logs, payers, view, watcher
from payments.onchain import rpc as product_chain
from payments.rails import funds
from tests.shop import Shop


class LocalChain:
    """The session's anvil."""

    def __init__(self, url: str, accounts: dev_chain.Accounts) -> None:
        self.url = url
        self.accounts = accounts

    def rpc(self, method: str, *params: Any) -> Any:
        return dev_chain.rpc(self.url, method, *params)

    def balance(self, holder: str) -> int:
        return dev_chain.balance_micros(self.url, holder)

    def ours(self) -> int:
        """What has arrived at the shop's own address."""
        return self.balance(self.accounts.pay_to.address)

    def mint(self, holder: str, micros: int) -> None:
        call = f"0x40c10f19{holder[2:].lower():0>64}{micros:064x}"
        sender = self.accounts.minter.address
        self._mined(self.rpc("eth_sendTransaction", {"from": sender, "to": dev_chain.TEST_DOLLAR, "data": call}))

    def _mined(self, tx: str) -> None:
        """A transaction is in the pool when it was sent, and in a block a moment later."""
        Shop.wait(lambda: self.rpc("eth_getTransactionReceipt", tx), "the mint")


class QuietChain(LocalChain):
    """Mines when it is told to and never else; every test finds it as the first one did."""

    def __init__(self, url: str, accounts: dev_chain.Accounts) -> None:
        super().__init__(url, accounts)
        self.rpc("evm_setIntervalMining", 0)
        self.rpc("evm_setAutomine", False)
        deployment = "0x" + product_chain.batch_deployment().hex()
        deployer = "0x" + product_chain.DEPLOYER.hex()
        self.rpc("eth_sendTransaction", {"from": accounts.minter.address, "to": deployer, "data": deployment})
        self.rpc("evm_mine")
        assert self.rpc("eth_getCode", "0x" + product_chain.batch_contract().hex(), "latest") != "0x"
        self._first = self.rpc("evm_snapshot")

    def _mined(self, tx: str) -> None:
        self.rpc("evm_mine")

    def settings(self) -> dict[str, Any]:
        """What the product must be told to sell here."""
        return {
            "CHAIN_RPC_URL": self.url,
            "PAY_TO": self.accounts.pay_to.address,
            "SETTLER_KEY": self.accounts.settler.key,
            "SETTLE_WAIT_SECONDS": 0.0,
        }

    def start_again(self) -> None:
        forget_the_chain()
        assert self.rpc("evm_revert", self._first)
        self._first = self.rpc("evm_snapshot")
        # The clock went back as well.
        self.rpc("anvil_setTime", int(time.time()))
        self.rpc("evm_mine")


def forget_the_chain() -> None:
    """Forget what this process has seen of a chain: a test's chain goes back, and the next test may have another."""
    view._highest = 0
    view._Behind.until, view._Behind.answer = 0.0, None
    view._Final.block, view._Final.asked_at = None, -1
    watcher._Looked.hash, watcher._Looked.genesis = b"", ("", b"")
    logs._range = logs._Range()
    backoff._state = backoff._Backoff()
    payers._desk = payers._Desk()


def nobody_looks_for_money() -> AbstractContextManager:
    """Claims meanwhile are of payers whose money was there when it was looked for. It may be gone at the next look."""
    return patch.object(funds, "check", return_value=False)
