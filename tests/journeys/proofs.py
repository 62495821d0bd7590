"""Wallet proofs as the official client makes them, from the challenge in a 402."""

import asyncio
from typing import Any

from x402.extensions import create_siwx_payload, encode_siwx_header

from tests.wallet import Wallet


def wallet_proof(terms: dict[str, Any], wallet: Wallet, **changes: Any) -> str:
    """The SIGN-IN-WITH-X header for decoded terms; `changes` are made after signing."""
    extension = terms["extensions"]["sign-in-with-x"]
    info = {**extension["info"], **extension["supportedChains"][0]}
    payload = asyncio.run(create_siwx_payload(info, wallet.account, terms["resource"]["url"]))
    return encode_siwx_header(payload.model_copy(update=changes))
