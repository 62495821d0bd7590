"""An agent's wallet: signs what a buyer signs, with a real key and nothing of the product."""

import base64
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount

TYPES = {
    "TransferWithAuthorization": [
        {"name": "from", "type": "address"},
        {"name": "to", "type": "address"},
        {"name": "value", "type": "uint256"},
        {"name": "validAfter", "type": "uint256"},
        {"name": "validBefore", "type": "uint256"},
        {"name": "nonce", "type": "bytes32"},
    ]
}


@dataclass
class Wallet:
    """One key. Every payment it makes is a fresh authorization, unless the caller says otherwise."""

    account: LocalAccount = field(default_factory=Account.create)

    @classmethod
    def of(cls, key: str) -> "Wallet":
        return cls(Account.from_key(key))

    @property
    def address(self) -> str:
        return self.account.address

    def authorize(self, requirement: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """The `payload` of an x402 payment for a version 2 requirement; `changes` are signed consistently."""
        message = {
            "from": self.address,
            "to": requirement["payTo"],
            "value": int(requirement["amount"]),
            "validAfter": 0,
            "validBefore": int(time.time()) + int(requirement["maxTimeoutSeconds"]),
            "nonce": "0x" + secrets.token_hex(32),
        } | {name: value for name, value in changes.items() if name != "domain"}
        domain = {
            "name": requirement["extra"]["name"],
            "version": requirement["extra"]["version"],
            "chainId": int(requirement["network"].split(":")[1]),
            "verifyingContract": requirement["asset"],
        } | changes.get("domain", {})
        signed = self.account.sign_typed_data(domain, TYPES, message)
        words = {key: str(value) if isinstance(value, int) else value for key, value in message.items()}
        return {"signature": "0x" + signed.signature.hex().removeprefix("0x"), "authorization": words}

    def pay(self, terms: dict[str, Any], **changes: Any) -> str:
        """The PAYMENT-SIGNATURE header (x402 version 2) for a decoded PAYMENT-REQUIRED message."""
        requirement = terms["accepts"][0]
        payload = self.authorize(requirement, **changes)
        return encoded({"x402Version": 2, "accepted": requirement, "payload": payload, "resource": terms["resource"]})

    def pay_v1(self, body: dict[str, Any], chain_id: int, **changes: Any) -> str:
        """The X-PAYMENT header (x402 version 1) for the JSON body of a 402."""
        first = body["accepts"][0]
        requirement = {**first, "amount": first["maxAmountRequired"], "network": f"eip155:{chain_id}"}
        payload = self.authorize(requirement, **changes)
        return encoded({"x402Version": 1, "scheme": "exact", "network": first["network"], "payload": payload})


def encoded(message: Any) -> str:
    """A header value."""
    return base64.b64encode(json.dumps(message).encode()).decode()


def decoded(header: str) -> Any:
    """What a header value says."""
    return json.loads(base64.b64decode(header))
