"""Receipts: a JWS in the form of x402's offer-receipt extension (section 5), signed with Ed25519. The buyer keeps it.

A receipt proves to third parties that this shop delivered the URL to the payer, and opens the article here again. It is
a bearer token: the shop does not ask who presents it. The public key is in the shop's DID document
(/.well-known/did.json).
"""

import base64
import functools
import hashlib
import hmac
import time
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings

_MAX_CHARS = 2048


@dataclass(frozen=True, slots=True)
class Receipt:
    """The content of a receipt: the article's URL, the payer, the network and the transaction."""

    resource_url: str
    payer: str
    network: str
    transaction: str


def issue(receipt: Receipt) -> str:
    """The signed receipt as a compact JWS."""
    claims = {
        "version": 1,
        "network": receipt.network,
        "resourceUrl": receipt.resource_url,
        "payer": receipt.payer,
        "issuedAt": int(time.time()),
        "transaction": receipt.transaction,
    }
    return jwt.encode(claims, _key(settings.RECEIPT_KEY, settings.SECRET_KEY), "EdDSA", {"kid": key_id()})


def read(token: str) -> Receipt | None:
    """Verify a receipt and return its content; None when the shop did not sign it."""
    if len(token) > _MAX_CHARS:
        return None
    key = _key(settings.RECEIPT_KEY, settings.SECRET_KEY).public_key()
    try:
        claims = jwt.decode(token, key, algorithms=["EdDSA"])
        fields = [claims[name] for name in ("resourceUrl", "payer", "network", "transaction")]
    except (jwt.InvalidTokenError, KeyError, ValueError, RecursionError):
        return None
    return Receipt(*fields) if all(isinstance(field, str) for field in fields) else None


def did() -> str:
    """The shop's decentralized identifier (did:web), from its configured origin."""
    return "did:web:" + quote(urlsplit(settings.BASE_URL).netloc, safe=".-")


def key_id() -> str:
    """The DID URL of the key that signs receipts."""
    return f"{did()}#receipts"


def did_document() -> dict:
    """The DID document with the public key that verifies receipts (W3C DID Core, JsonWebKey2020)."""
    public = _key(settings.RECEIPT_KEY, settings.SECRET_KEY).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(public).decode().rstrip("=")}
    method = {"id": key_id(), "type": "JsonWebKey2020", "controller": did(), "publicKeyJwk": jwk}
    return {
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/suites/jws-2020/v1"],
        "id": did(),
        "verificationMethod": [method],
        "assertionMethod": [key_id()],
    }


@functools.lru_cache(maxsize=4)
def _key(configured: str, secret: str) -> Ed25519PrivateKey:
    seed = (
        bytes.fromhex(configured)
        if configured
        else hmac.digest(secret.encode(), b"pennypress.receipt.v1", hashlib.sha256)
    )
    return Ed25519PrivateKey.from_private_bytes(seed)
