"""Wallet proofs as the official client makes them, from the challenge in a 402."""

import asyncio
from typing import Any

from eth_account.messages import encode_defunct
from x402.extensions import create_siwx_payload, encode_siwx_header
from x402.extensions.sign_in_with_x.evm import format_siwe_message
from x402.extensions.sign_in_with_x.types import SIWxPayload

from tests.wallet import Wallet


def wallet_proof(terms: dict[str, Any], wallet: Wallet, **changes: Any) -> str:
    """The SIGN-IN-WITH-X header for decoded terms; `changes` are made after signing."""
    return encode_siwx_header(_signed(terms, wallet).model_copy(update=changes))


def wallet_proof_of(terms: dict[str, Any], wallet: Wallet, **changes: Any) -> str:
    """The header of a wallet that changed the challenge first and signed what it had made of it."""
    payload = _signed(terms, wallet).model_copy(update=changes)
    message = encode_defunct(text=format_siwe_message(payload, payload.address))
    signature = "0x" + bytes(wallet.account.sign_message(message).signature).hex()
    return encode_siwx_header(payload.model_copy(update={"signature": signature}))


def _signed(terms: dict[str, Any], wallet: Wallet) -> SIWxPayload:
    extension = terms["extensions"]["sign-in-with-x"]
    info = {**extension["info"], **extension["supportedChains"][0]}
    return asyncio.run(create_siwx_payload(info, wallet.account, terms["resource"]["url"]))
