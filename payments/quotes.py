"""Quotes: a price version with an expiry, under a MAC. Quotes are not stored, so an unpaid request writes nothing.

The MAC covers the resource, the payee, the chain, the token and the receiving address, so a quote is valid for no other
article and no other terms. The random part makes every quote unique. A quote is never published on the chain, so a
request that echoes the quote of a settled payment comes from the buyer, not from an observer of the chain.
"""

import base64
import binascii
import functools
import hashlib
import hmac
import itertools
import os
import struct
import time
from dataclasses import dataclass

from django.conf import settings

from .offers import Offer, Price

_BODY = struct.Struct(">BBQQI12s")
_FORMAT = 1
_MAC_BYTES = 16
_AUDIENCES = ("people", "agents")


class QuoteRefused(Exception):
    """The quote is not ours, or not for this offer. The buyer was not charged."""


@dataclass(frozen=True, slots=True)
class Quote:
    """A price that is guaranteed until `expires_at` (Unix seconds). `id` is a secret that only the buyer was sent."""

    price: Price
    expires_at: int
    id: str
    token: str

    @property
    def issued_at(self) -> int:
        """When it was issued, in Unix seconds, as long as QUOTE_SECONDS has not changed."""
        return self.expires_at - settings.QUOTE_SECONDS

    @property
    def expired(self) -> bool:
        """Whether `expires_at` has passed."""
        return time.time() >= self.expires_at


def issue(offer: Offer) -> Quote:
    """Issue a quote that guarantees the offer's price for QUOTE_SECONDS."""
    expires_at = int(time.time()) + settings.QUOTE_SECONDS
    price = offer.price
    random = _secrets.draw()
    body = _BODY.pack(_FORMAT, _AUDIENCES.index(price.audience), price.id, price.amount_micros, expires_at, random)
    token = base64.urlsafe_b64encode(body + _mac(body, offer, settings.SECRET_KEY)).decode().rstrip("=")
    return Quote(price, expires_at, random.hex(), token)


def read(token: str, offer: Offer) -> Quote:
    """Read a token back to its quote, expired or not. Raises QuoteRefused when the quote is not for this offer."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise QuoteRefused from error
    body, mac = raw[: _BODY.size], raw[_BODY.size :]
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    if len(body) != _BODY.size or not any(hmac.compare_digest(mac, _mac(body, offer, secret)) for secret in secrets):
        raise QuoteRefused
    _, audience, price_id, amount_micros, expires_at, random = _BODY.unpack(body)
    return Quote(Price(price_id, _AUDIENCES[audience], amount_micros), expires_at, random.hex(), token)


def _mac(body: bytes, offer: Offer, secret: str) -> bytes:
    terms = f"{offer.resource}|{offer.payee}|{settings.CHAIN_ID}|{settings.CHAIN_ASSET}|{settings.PAY_TO}".lower()
    # Keyed BLAKE2b (RFC 7693) costs a tenth of OpenSSL's HMAC, and every unpaid request computes a MAC.
    return hashlib.blake2b(body + terms.encode(), key=_key(secret), digest_size=_MAC_BYTES).digest()


@functools.lru_cache(maxsize=16)
def _key(secret: str) -> bytes:
    return hmac.digest(secret.encode(), b"pennypress.quote.v1", "sha256")


class _Secrets:
    """A generator of unique 12-byte secrets: keyed BLAKE2b of a counter, under a random key of this process.

    Asking the operating system for every quote would cost more than the rest of the quote: the call releases the GIL.
    """

    def __init__(self) -> None:
        self.begin()
        os.register_at_fork(after_in_child=self.begin)

    def begin(self) -> None:
        """Start with a new key. A forked process must not repeat its parent's secrets."""
        self._key = os.urandom(32)
        self._count = itertools.count()

    def draw(self) -> bytes:
        """The next secret, twelve bytes."""
        return hashlib.blake2b(b"%d" % next(self._count), key=self._key, digest_size=12).digest()


_secrets = _Secrets()
