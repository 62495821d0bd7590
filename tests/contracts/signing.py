"""What a payer signs for the dollar, and transactions that carry it."""

import secrets

from eth_abi import decode
from eth_account import Account
from web3 import Web3

CHAIN_ID = 84532
USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
ZERO = "0x" + "00" * 20
PAYEE = Web3.to_checksum_address("0x" + "99" * 20)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
FOREVER = 2**255

MOVE = "address,address,uint256,uint256,uint256,bytes32"
FIELDS = ["from:address", "to:address", "value:uint256", "validAfter:uint256", "validBefore:uint256", "nonce:bytes32"]
TYPES = {
    "TransferWithAuthorization": FIELDS,
    "ReceiveWithAuthorization": FIELDS,
    "CancelAuthorization": ["authorizer:address", "nonce:bytes32"],
    "Permit": ["owner:address", "spender:address", "value:uint256", "nonce:uint256", "deadline:uint256"],
}
FORMS = ["vrs", "bytes"]


# ---- Helpers -----------------------------------------------------------------------------------


def signed(key, kind, message, chain_id=CHAIN_ID, name="USDC", version="2"):
    """A 65-byte signature made by eth-account, which knows nothing of our Solidity."""
    return bytes(
        Account.sign_typed_data(
            key,
            {"name": name, "version": version, "chainId": chain_id, "verifyingContract": USDC},
            {kind: [dict(zip(("name", "type"), field.split(":"), strict=True)) for field in TYPES[kind]]},
            message,
        ).signature
    )


def authorization(payer, value=100, to=PAYEE, after=0, before=FOREVER, nonce=None):
    return {
        "from": payer,
        "to": to,
        "value": value,
        "validAfter": after,
        "validBefore": before,
        "nonce": nonce or secrets.token_bytes(32),
    }


def split(signature):
    return signature[64], signature[:32], signature[32:64]


def high_s(signature):
    v, r, s = split(signature)
    return r + (ORDER - int.from_bytes(s)).to_bytes(32) + bytes([27 + 28 - v])


def call_of(dollar, name, args, signature, form):
    """The call `name` in the form that takes v, r and s, or the one that takes bytes."""
    types = {"permit": "address,address,uint256,uint256", "cancelAuthorization": "address,bytes32"}.get(name, MOVE)
    if form == "vrs":
        return dollar.get_function_by_signature(f"{name}({types},uint8,bytes32,bytes32)")(*args, *split(signature))
    return dollar.get_function_by_signature(f"{name}({types},bytes)")(*args, signature)


def mined(w3, call, sender=None, gas=3_000_000):
    tx = call.transact({"from": sender or w3.eth.accounts[1], "gas": gas})
    return w3.eth.wait_for_transaction_receipt(tx)


def paid(w3, call, **kwargs):
    receipt = mined(w3, call, **kwargs)
    assert receipt.status == 1, reason(w3, receipt)
    return receipt


def reason(w3, receipt):
    trace = w3.provider.make_request(
        "debug_traceTransaction", [Web3.to_hex(receipt.transactionHash), {"tracer": "callTracer"}]
    )["result"]
    output = bytes.fromhex(trace.get("output", "0x")[2:])
    if output[:4] == bytes.fromhex("08c379a0"):
        return decode(["string"], output[4:])[0]
    return output.hex()


def refused(w3, call, why, **kwargs):
    """The call, mined, failed, and for this reason."""
    receipt = mined(w3, call, **kwargs)
    assert receipt.status == 0
    assert reason(w3, receipt) == why


def names(dollar, receipt):
    """The names of the dollar's events in the receipt, in order."""
    topics = {
        Web3.keccak(text=f"{e['name']}({','.join(i['type'] for i in e['inputs'])})"): e["name"]
        for e in dollar.abi
        if e["type"] == "event"
    }
    return [topics[log.topics[0]] for log in receipt.logs if log.address == dollar.address]
