"""A wallet in the page: announces itself by EIP-6963 and signs for real, in this process, with a key of its own.

It behaves as wallets in browsers do: it knows some networks, reads only the one it is on, and says no with numbers.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from eth_account.messages import encode_defunct

from dev import chain as dev_chain
from tests.shop import Shop
from tests.wallet import Wallet

ELSEWHERE = 1
SIGN = "eth_signTypedData_v4"
# The whole of a payment: which account, which network, is there enough, sign.
PAYING = ["eth_requestAccounts", "eth_chainId", "eth_call", SIGN]

ANNOUNCE = """
for (const info of JSON.parse(%s)) {
  const request = async ({ method, params }) => {
    const said = JSON.parse(await window.__wallet(info.uuid, method, JSON.stringify(params ?? [])));
    if (said.error) throw Object.assign(new Error(said.error.message), said.error);
    return said.result;
  };
  const detail = Object.freeze({ info: Object.freeze(info), provider: { request } });
  const announce = () => dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail }));
  if (info.rdns === "legacy") window.ethereum = { request };
  else addEventListener("eip6963:requestProvider", announce);
}
"""


class Says(Exception):
    """An answer of the wallet that is an error: EIP-1193's number and words."""

    def __init__(self, code: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, **more}


@dataclass
class InjectedWallet:
    """One wallet. A test changes its mood by its fields and reads what was asked of it."""

    shop: Shop
    wallet: Wallet
    name: str = "Test wallet"
    icon: str = ""
    rdns: str = "org.example.wallet"
    chain: int = dev_chain.CHAIN_ID
    known: set[int] = field(default_factory=lambda: {ELSEWHERE, dev_chain.CHAIN_ID})
    # Some wallets hide the number of an unknown network inside another error, and some only add and do not change.
    wraps_errors: bool = False
    only_adds: bool = False
    refuses: bool = False
    is_busy: bool = False
    before_signing: Callable[[], Any] | None = None
    calls: list[str] = field(default_factory=list)
    signed: list[dict[str, Any]] = field(default_factory=list)
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def address(self) -> str:
        return self.wallet.address

    @property
    def micros(self) -> int:
        return self.shop.balance(self.address)

    @property
    def info(self) -> dict[str, str]:
        return {"uuid": self.uuid, "name": self.name, "icon": self.icon, "rdns": self.rdns}

    def answer(self, method: str, params: str) -> str:
        """One request of the page, and what the wallet says, both as JSON."""
        self.calls.append(method)
        try:
            return json.dumps({"result": getattr(self, f"do_{method}")(*json.loads(params))})
        except Says as no:
            return json.dumps({"error": no.error})

    def do_eth_requestAccounts(self) -> list[str]:
        if self.is_busy:
            raise Says(-32002, "Already processing eth_requestAccounts. Please wait.")
        # In lower case, as most wallets give it.
        return [self.address.lower()]

    def do_eth_chainId(self) -> str:
        return hex(self.chain)

    def do_eth_call(self, call: dict[str, str], block: str) -> str:
        assert self.chain == dev_chain.CHAIN_ID, "asked on a network where this token is not"
        return self.shop.rpc("eth_call", call, block)

    def do_wallet_switchEthereumChain(self, wanted: dict[str, str]) -> None:
        self._may_refuse()
        if int(wanted["chainId"], 16) not in self.known:
            unknown = Says(4902, "Unrecognized chain ID. Try adding the chain first.")
            wrapped = Says(-32603, "Internal error", data={"originalError": unknown.error})
            raise wrapped if self.wraps_errors else unknown
        self.chain = int(wanted["chainId"], 16)

    def do_wallet_addEthereumChain(self, network: dict[str, Any]) -> None:
        """As wallets do: the node must answer, and be of that network."""
        self._may_refuse()
        assert network["chainName"]
        assert network["nativeCurrency"] == {"name": "Ether", "symbol": "ETH", "decimals": 18}
        assert dev_chain.rpc(network["rpcUrls"][0], "eth_chainId") == network["chainId"]
        self.known.add(int(network["chainId"], 16))
        if not self.only_adds:
            self.chain = int(network["chainId"], 16)

    def do_eth_signTypedData_v4(self, account: str, typed: str) -> str:
        self._may_refuse()
        message = json.loads(typed)
        assert account.lower() == message["message"]["from"].lower() == self.address.lower()
        assert message["domain"]["chainId"] == self.chain
        self.signed.append(message)
        signature = self.wallet.account.sign_typed_data(full_message=message).signature
        if self.before_signing:
            self.before_signing()
        return "0x" + signature.hex().removeprefix("0x")

    def do_personal_sign(self, message: str, account: str) -> str:
        self._may_refuse()
        assert account.lower() == self.address.lower()
        signature = self.wallet.account.sign_message(encode_defunct(hexstr=message)).signature
        return "0x" + signature.hex().removeprefix("0x")

    def give_away_everything(self) -> None:
        """The wallet is emptied on the chain, by somebody who may."""
        data = f"0xa9059cbb{self.shop.line['pay_to'][2:].lower():0>64}{self.micros:064x}"
        self.shop.rpc("anvil_impersonateAccount", self.address)
        self.shop.rpc("anvil_setBalance", self.address, hex(10**18))
        tx = self.shop.rpc("eth_sendTransaction", {"from": self.address, "to": dev_chain.TEST_DOLLAR, "data": data})
        self.shop.wait(lambda: self.shop.rpc("eth_getTransactionReceipt", tx), "the transfer")
        assert self.micros == 0

    def _may_refuse(self) -> None:
        if self.refuses:
            raise Says(4001, "User rejected the request.")


def inject(context: Any, wallets: list[InjectedWallet]) -> None:
    """These wallets are in every page of this browser context, in this order."""
    by_uuid = {wallet.uuid: wallet for wallet in wallets}
    context.expose_function("__wallet", lambda which, method, params: by_uuid[which].answer(method, params))
    infos = json.dumps([wallet.info for wallet in wallets])
    context.add_init_script(ANNOUNCE % json.dumps(infos))
