"""A running shop with a misbehaving node in front of its chain, and processes that can be made to die at any step."""

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eth_utils.address import to_checksum_address

from dev import chain as dev_chain
from dev.children import Child
from dev.stack import Stack
from tests.shop import PATIENCE, Shop, open_shop
from tests.wallet import Wallet

from .cluster import BEHIND_MAX, Cluster
from .purchase import Purchase
from .rpc_proxy import RpcProxy
from .traps import VARIABLE, Trap

TOKEN = dev_chain.TEST_DOLLAR
_GWEI = 10**9


class Stage:
    """The shop, the node between, and the trap."""

    def __init__(self, shop: Shop, node: RpcProxy, trap: Trap) -> None:
        self.shop = shop
        self.node = node
        self.trap = trap
        self.children: dict[str, Child] = {
            "settler": shop.stack.settler,
            "watcher": shop.stack.watcher,
            "worker": shop.stack.worker,
            "web": shop.stack.web,
        }
        self._article = 0

    @property
    def settler(self) -> Child:
        return self.children["settler"]

    @property
    def watcher(self) -> Child:
        return self.children["watcher"]

    @property
    def web(self) -> Child:
        return self.children["web"]

    # --- Buying ---------------------------------------------------------------------------------------

    def purchase(self, wallet: Wallet | None = None, **changes: Any) -> Purchase:
        """A payment for one article after another, by a new wallet unless one is given."""
        if wallet:
            self._seen_everywhere()
        return self._by(wallet or self.wallet(1_000_000), **changes)

    def _by(self, wallet: Wallet, **changes: Any) -> Purchase:
        self._article = (self._article + 1) % len(self.shop.line["articles"])
        return Purchase(self.shop, wallet, self.shop.article(self._article), **changes)

    def wallet(self, micros: int = 100_000_000) -> Wallet:
        """A new wallet whose money every node has seen."""
        return self.wallets(1, micros)[0]

    def wallets(self, number: int, micros: int = 100_000_000) -> list[Wallet]:
        """So many of them."""
        wallets = self.shop.wallets(number, micros)
        self._seen_everywhere()
        return wallets

    def _seen_everywhere(self) -> None:
        self.shop.rpc("anvil_mine", hex(BEHIND_MAX))

    def purchases(self, number: int) -> list[Purchase]:
        """As many payments by as many new wallets."""
        return [self._by(wallet) for wallet in self.wallets(number, 1_000_000)]

    def bought_on_old_money(self) -> Purchase:
        """Bought with money that came long before: a reorganisation takes the purchase and not the money."""
        purchase = self.purchase()
        self.shop.rpc("anvil_mine", "0x4")
        purchase.finish()
        return purchase

    # --- What others do on the chain ------------------------------------------------------------------

    def stranger(self) -> Wallet:
        """Somebody with ether and nothing else."""
        wallet = Wallet()
        self.shop.rpc("anvil_setBalance", wallet.address, hex(10**18))
        return wallet

    def signed(self, wallet: Wallet, to: str, data: str) -> str:
        """A transaction of a wallet that has ether, with a tip that puts it before the shop's."""
        nonce = int(self.shop.rpc("eth_getTransactionCount", wallet.address, "latest"), 16)
        asked = {"to": to_checksum_address(to), "data": data, "nonce": nonce, "gas": 300_000, "value": 0, "type": 2}
        asked |= {"chainId": dev_chain.CHAIN_ID, "maxFeePerGas": 500 * _GWEI, "maxPriorityFeePerGas": 50 * _GWEI}
        return "0x" + wallet.account.sign_transaction(asked).raw_transaction.hex().removeprefix("0x")

    def front_run(self, purchase: Purchase) -> str:
        """Settle a payment that was seen somewhere: the hash of the stranger's transaction."""
        return self.shop.rpc("eth_sendRawTransaction", self.signed(self.stranger(), TOKEN, purchase.settle_call()))

    def spending(self, wallet: Wallet, micros: int) -> str:
        """The signed transaction by which a wallet spends its test dollars elsewhere."""
        self.shop.rpc("anvil_setBalance", wallet.address, hex(10**18))
        return self.signed(wallet, TOKEN, f"0xa9059cbb{'11' * 20:0>64}{micros:064x}")

    def height(self) -> int:
        return int(self.shop.rpc("eth_blockNumber"), 16)

    @contextmanager
    def no_blocks(self) -> Iterator[None]:
        """On timed blocks: none comes in here unless it is asked for; afterwards they come as before, and are cheap."""
        self.shop.rpc("evm_setIntervalMining", 0)
        try:
            yield
        finally:
            self.shop.rpc("anvil_setNextBlockBaseFeePerGas", hex(_GWEI))
            self.shop.rpc("evm_setIntervalMining", 1)

    def reorganise(self, purchase: Purchase, deeper: int = 0, instead: Sequence[str] = ()) -> None:
        """Replace the block a purchase was mined in, and `deeper` more; these transactions come `instead`.

        Anvil loses a block for good when it mines one while it reorganises: so nothing is sent meanwhile, and it is
        done just after the second's block.
        """
        (log,) = purchase.transfers()
        with self.node.holding("eth_sendRawTransaction"):
            before = self.height()
            self.shop.wait(lambda: self.height() > before, "a block")
            depth = self.height() - int(log["blockNumber"], 16) + 1 + deeper
            self.shop.rpc("anvil_reorg", depth, [[raw, 0] for raw in instead])
            # Anvil's clock goes back as well, for good.
            self.shop.rpc("anvil_setTime", int(time.time()))
        now = self.shop.rpc("eth_getBlockByNumber", log["blockNumber"], False)
        assert now["hash"] != log["blockHash"], "no reorganisation"

    # --- Dying and coming back ------------------------------------------------------------------------

    def process(self, child: Child) -> int:
        """The process that does the work now, under the one that supervises it; 0 while there is none.

        Never signal 0: that is the whole group of the tests themselves.
        """
        return next(iter(child.pids()[1:]), 0)

    def signal(self, child: Child, number: signal.Signals) -> None:
        """Send a signal to the process that does the work."""
        os.kill(self.living(child), number)

    def living(self, child: Child) -> int:
        """The same, waited for."""
        return self.shop.wait(lambda: self.process(child), f"{child.name}'s process")

    @contextmanager
    def nobody_settles(self) -> Iterator[None]:
        """The settler gets no answer to its simulations. (Stopped by a signal it might hold the database.)"""
        rule = self.node.on("eth_call", drop="before", times=None, when=lambda params: "from" in params[0])
        try:
            yield
        finally:
            rule.times = 0

    @contextmanager
    def nobody_watches(self) -> Iterator[None]:
        """The watcher gets no logs."""
        rule = self.node.on("eth_getLogs", drop="before", times=None, when=_is_the_watchers)
        try:
            yield
        finally:
            rule.times = 0

    @contextmanager
    def death_of(self, child: Child) -> Iterator[Callable[[], None]]:
        """The child is to die in here, and its supervisor to have started it again at the end.

        Gives something that a rule can do: kill it.
        """
        victim = self.living(child)
        yield lambda: os.kill(victim, signal.SIGKILL)
        self.shop.wait(lambda: self.process(child) not in (0, victim), f"the end of {child.name}")

    def ready(self) -> None:
        """All processes live, and /readyz says so."""
        self.shop.wait(lambda: _status(self.shop) == 200, "a ready shop")

    def books_agree(self) -> None:
        """Wait until the audit finds nothing, which it may while the chain still moves."""
        ends = time.monotonic() + PATIENCE
        while (found := self.shop.stack.ask("audit")) != []:
            assert time.monotonic() < ends, found
            time.sleep(0.2)

    def restore(self) -> None:
        """After a test: no rule, no trap, nobody dead."""
        self.node.clear()
        self.trap.disarm()
        for child in self.children.values():
            child.signal(signal.SIGCONT)
            if child.ended() is not None or child.process is None:
                child.start()
        self.ready()
        assert self.trap.asked_inside() == [], "somebody outside was asked while a transaction was open"


def _is_the_watchers(params: list[Any]) -> bool:
    """It asks for one event of a range of blocks; the settler for one block, or for two events."""
    return "fromBlock" in params[0] and isinstance(params[0]["topics"][0], str)


def _status(shop: Shop) -> int:
    import httpx

    try:
        return shop.http.get("/readyz", headers={"Connection": "close"}).status_code
    except httpx.TransportError:
        return 0


class MortalStack(Stack):
    """A shop whose processes are made to die at any step: each is started by traps.py, under its name."""

    def _child(self, name: str, log: str, command: list[str], secrets: Sequence[str] = ()) -> Child:
        python, *words = command
        module = ["django", *words[1:]] if words[0] == "manage.py" else words[1:]
        trapped = [python, "-m", "tests.faults.traps", log.removesuffix(".log"), *module]
        return super()._child(name, log, trapped, secrets)


@contextmanager
def open_stage(
    name: str, block_time: float | None = None, mortal: bool = False, many_nodes: bool = False, **variables: str
) -> Iterator[Stage]:
    """A shop whose product talks to the chain through a proxy, which may be several nodes that disagree.

    If the shop is mortal, it has traps to fall into.
    """
    port = dev_chain.free_port()
    with RpcProxy(dev_chain.url(port)) as node, tempfile.TemporaryDirectory(prefix="pennypress-trap-") as folder:
        trap = Trap(Path(folder) / "trap")
        options: dict[str, Any] = {"block_time": block_time, "rpc_url": node.url, "chain_port": port}
        if mortal:
            options |= {"kind": MortalStack, VARIABLE: str(trap.file)}
        with open_shop(name, **options, **variables) as shop:
            stage = Stage(shop, node, trap)
            node.cluster = Cluster(seed=port) if many_nodes else None
            yield stage
            for child in stage.children.values():
                child.stop(0)  # Nothing here is worth a graceful end.
