"""Contract wallets (EIP-1271) pay with the dollar, and their answers are asked for only where there is code."""

import secrets

import pytest
from eth_account import Account

from .signing import (
    FORMS,
    PAYEE,
    authorization,
    call_of,
    high_s,
    mined,
    paid,
    refused,
    signed,
)


@pytest.mark.parametrize("form", FORMS)
def test_a_contract_wallet_pays(w3, dollar, deploy, form):
    owner = Account.create()
    wallet = deploy("EIP1271Wallet", owner.address).address
    paid(w3, dollar.functions.mint(wallet, 1_000))
    message = authorization(wallet)
    for key in (Account.create().key, owner.key):
        signature = signed(key, "TransferWithAuthorization", message)
        call = call_of(dollar, "transferWithAuthorization", message.values(), signature, form)
        if key != owner.key:
            refused(w3, call, "FiatTokenV2: invalid signature")
    paid(w3, call)
    assert dollar.functions.balanceOf(PAYEE).call() == 100
    cancelled = {"authorizer": wallet, "nonce": b"\1" * 32}
    signature = signed(owner.key, "CancelAuthorization", cancelled)
    paid(w3, call_of(dollar, "cancelAuthorization", cancelled.values(), signature, form))


def test_a_wallet_of_its_owner_takes_no_spoilt_signature(w3, deploy):
    owner = Account.create()
    wallet = deploy("EIP1271Wallet", owner.address)
    digest = secrets.token_bytes(32)
    signature = bytes(Account.unsafe_sign_hash(digest, owner.key).signature)
    ask = wallet.functions.isValidSignature
    assert ask(digest, signature).call().hex() == "1626ba7e"
    for bad in (b"", signature[:64], signature + b"\0", high_s(signature), signature[:64] + b"\0"):
        assert ask(digest, bad).call().hex() == "ffffffff"
    assert ask(secrets.token_bytes(32), signature).call().hex() == "ffffffff"


def test_an_account_with_code_is_never_asked_by_its_key(w3, dollar, payer, place):
    """As with USDC: code decides, even if the key of that address signed."""
    message = authorization(payer.address)
    signature = signed(payer.key, "TransferWithAuthorization", message)
    call = call_of(dollar, "transferWithAuthorization", message.values(), signature, "vrs")
    # Code that answers with nothing; with a short answer; with another word; that reverts.
    for code in ("0x00", "0x631626ba7e60e01b5f5260045ff3", "0x60015f5260205ff3", "0x5f5ffd"):
        place(payer.address, code)
        refused(w3, call, "FiatTokenV2: invalid signature")
    place(payer.address, "0x631626ba7e60e01b5f5260205ff3")
    paid(w3, call)


def test_a_hostile_wallet_agrees_until_armed(w3, dollar, deploy):
    wallet = deploy("HostileWallet")
    paid(w3, dollar.functions.mint(wallet.address, 1_000))
    message = authorization(wallet.address)
    call = call_of(dollar, "transferWithAuthorization", message.values(), b"", "bytes")
    call.call({"from": w3.eth.accounts[1]})  # as a check beforehand would
    paid(w3, wallet.functions.arm())
    receipt = mined(w3, call, gas=300_000)
    assert receipt.status == 0
    assert receipt.gasUsed > 290_000
