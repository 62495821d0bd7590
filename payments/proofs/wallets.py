"""Wallet proofs: a buyer proves control of a wallet without paying (x402's sign-in-with-x, CAIP-122, EIP-4361).

This module takes only the parsing and the message format from the SDK. The challenge is stateless: its nonce is a MAC
over the article and the time of issue, so a proof opens one article and expires after five minutes.
"""

import asyncio
import functools
import hmac
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

from django.conf import settings
from eth_account.messages import _hash_eip191_message, encode_defunct
from x402.extensions.sign_in_with_x.evm import format_siwe_message
from x402.extensions.sign_in_with_x.parse import parse_siwx_header
from x402.extensions.sign_in_with_x.schema import build_siwx_schema
from x402.extensions.sign_in_with_x.types import SIGN_IN_WITH_X, SIWxPayload, SIWxValidationOptions
from x402.extensions.sign_in_with_x.validate import validate_siwx_message

from payments.offers import Offer
from payments.onchain import signatures

_SECONDS = 300
_MAX_HEADER_CHARS = 4096
_STATEMENT = "Read the articles that this wallet has bought."


def challenge(offer: Offer) -> dict:
    """The extension of a 402 that asks for a wallet proof."""
    return _challenge(offer.resource, offer.url, int(time.time()))


@functools.lru_cache(maxsize=256)
def _challenge(resource: str, url: str, now: int) -> dict:
    return {
        SIGN_IN_WITH_X: {
            "info": {
                "domain": urlsplit(settings.BASE_URL).netloc,
                "uri": url,
                "statement": _STATEMENT,
                "version": "1",
                "nonce": _nonce(resource, _iso(now), settings.SECRET_KEY),
                "issuedAt": _iso(now),
                "expirationTime": _iso(now + _SECONDS),
            },
            "supportedChains": [{"chainId": f"eip155:{settings.CHAIN_ID}", "type": "eip191"}],
            "schema": _schema(),
        }
    }


def proven(header: str, offer: Offer, source: str) -> str | None:
    """The buyer ("eip155:…:0x…") whose wallet signed this offer's challenge, or None.

    `source` is whom the checks of contract wallets count for. Raises Unknowable when a contract wallet cannot be asked.
    """
    if len(header) > _MAX_HEADER_CHARS:
        return None
    try:
        proof = parse_siwx_header(header)
        account, signature = bytes.fromhex(proof.address[2:]), bytes.fromhex(proof.signature[2:])
    except (ValueError, RecursionError):
        return None
    if proof.uri != offer.url or proof.chain_id != f"eip155:{settings.CHAIN_ID}" or len(account) != 20:
        return None
    try:
        if not _current(proof, offer):
            return None
        digest = bytes(_hash_eip191_message(encode_defunct(text=format_siwe_message(proof, proof.address))))
    except ValueError:
        return None
    if signatures.signer_of(account, digest, signatures.canonical(signature), source) is None:
        return None
    return f"{proof.chain_id}:0x{account.hex()}"


def _current(proof: SIWxPayload, offer: Offer) -> bool:
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    expected = [_nonce(offer.resource, proof.issued_at, secret).encode() for secret in secrets]
    options = SIWxValidationOptions(
        checkNonce=lambda nonce: any(hmac.compare_digest(nonce.encode(), one) for one in expected)
    )
    # The SDK's validator is a coroutine, but it never suspends.
    return asyncio.run(validate_siwx_message(proof, settings.BASE_URL, options)).is_valid


def _nonce(resource: str, issued_at: str, secret: str) -> str:
    return hmac.digest(_key(secret), f"{resource}|{issued_at}".encode(), "sha256")[:16].hex()


def _iso(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@functools.cache
def _schema() -> dict:
    return build_siwx_schema()


@functools.lru_cache(maxsize=16)
def _key(secret: str) -> bytes:
    return hmac.digest(secret.encode(), b"pennypress.wallet-proof.v1", "sha256")
