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
_DERIVED = "secret:"


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
    return jwt.encode(claims, _keys()[0], "EdDSA", {"kid": key_id()})


def read(token: str) -> Receipt | None:
    """Verify a receipt and return its content; None when the shop did not sign it, with this or a former key."""
    if len(token) > _MAX_CHARS:
        return None
    try:
        named = jwt.get_unverified_header(token).get("kid")
        key = next((key for key in _keys() if _id(key) == named), _keys()[0])
        claims = jwt.decode(token, key.public_key(), algorithms=["EdDSA"])
        fields = [claims[name] for name in ("resourceUrl", "payer", "network", "transaction")]
    except (jwt.InvalidTokenError, KeyError, ValueError, RecursionError):
        return None
    return Receipt(*fields) if all(isinstance(field, str) for field in fields) else None


def did() -> str:
    """The shop's decentralized identifier (did:web), from its configured origin."""
    return "did:web:" + quote(urlsplit(settings.BASE_URL).netloc, safe=".-")


def key_id() -> str:
    """The DID URL of the key that signs receipts now."""
    return _id(_keys()[0])


def did_document() -> dict:
    """The DID document with the public keys that verify receipts (W3C DID Core, JsonWebKey2020), the newest first."""
    ids = [_id(key) for key in _keys()]
    methods = [
        {"id": name, "type": "JsonWebKey2020", "controller": did(), "publicKeyJwk": _jwk(key)}
        for name, key in zip(ids, _keys(), strict=True)
    ]
    return {
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/suites/jws-2020/v1"],
        "id": did(),
        "verificationMethod": methods,
        "assertionMethod": ids,
    }


def _keys() -> list[Ed25519PrivateKey]:
    """The key that signs, and then the former ones. With RECEIPT_KEY set, what SECRET_KEY would sign is no receipt.

    RECEIPT_KEY_FALLBACKS holds former seeds and, after `secret:`, a SECRET_KEY from which the key was derived.
    """
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    own = [_key(settings.RECEIPT_KEY, "")] if settings.RECEIPT_KEY else [_key("", secret) for secret in secrets]
    return own + [_former(text) for text in settings.RECEIPT_KEY_FALLBACKS]


def _former(text: str) -> Ed25519PrivateKey:
    return _key("", text.removeprefix(_DERIVED)) if text.startswith(_DERIVED) else _key(text, "")


def _public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _id(key: Ed25519PrivateKey) -> str:
    """The DID URL of a key: it names the key itself, so that a receipt of a former key finds it."""
    return f"{did()}#receipts-{hashlib.sha256(_public(key)).hexdigest()[:8]}"


def _jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    return {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(_public(key)).decode().rstrip("=")}


@functools.lru_cache(maxsize=16)
def _key(configured: str, secret: str) -> Ed25519PrivateKey:
    seed = (
        bytes.fromhex(configured)
        if configured
        else hmac.digest(secret.encode(), b"pennypress.receipt.v1", hashlib.sha256)
    )
    return Ed25519PrivateKey.from_private_bytes(seed)
