"""Signature checks: externally owned accounts by recovery (no chain call), contract wallets by EIP-1271.

A contract wallet is asked with one `eth_call` under a gas cap, and only where there is code: a junk signature of an
unknown address uses up no check. Checks are limited per source; the limit of all sources together only slows them.
"""

import collections
import logging
import threading
import time
from collections import deque
from enum import Enum

from django.conf import settings
from eth_abi import decode
from eth_abi.exceptions import DecodingError
from eth_keys import keys
from eth_keys.exceptions import BadSignature, ValidationError

from . import payers, rpc
from .payers import Unknowable

log = logging.getLogger(__name__)
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
MAX_BYTES = 1024
ERC6492_MAGIC = bytes.fromhex("6492" * 16)
_NO_CODE_SECONDS = 60
_REMEMBERED_MAX = 10_000
# All sources together may make this many times one source's checks in a minute. Beyond that each check waits a little.
_SOURCES = 5
_SLOWED_SECONDS = 0.5
_NO_NONCE = bytes(32)


class TooManyChecks(Unknowable):
    """This source has used up its contract-wallet checks of the minute. The wallet was not asked."""


class Signer(Enum):
    """Who made or accepts a signature: the account's own key, or the contract at its address."""

    KEY = "key"
    CONTRACT = "contract"


def canonical(signature: bytes) -> bytes:
    """The canonical form of an ECDSA signature, with v 27 or 28. Other signatures are returned unchanged."""
    if len(signature) == 65 and signature[64] in (0, 1):
        return signature[:64] + bytes([signature[64] + 27])
    return signature


def unwrapped(signature: bytes) -> bytes:
    """The wallet's own signature in one that is wrapped for a wallet without code yet (ERC-6492); others unchanged."""
    if not signature.endswith(ERC6492_MAGIC):
        return signature
    try:
        _, _, inner = decode(["address", "bytes", "bytes"], signature[: -len(ERC6492_MAGIC)])
    except (DecodingError, OverflowError, ValueError):
        return signature
    return bytes(inner)


def recovers_to(account: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether a canonical 65-byte signature with low s (EIP-2) was made by an account's own key."""
    if len(signature) != 65 or signature[64] not in (27, 28):
        return False
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:64])
    if s > _HALF_ORDER:
        return False
    try:
        found = keys.Signature(vrs=(signature[64] - 27, r, s)).recover_public_key_from_msg_hash(digest)
    except (BadSignature, ValidationError):
        return False
    return found.to_canonical_address() == account


class _Asked:
    """The checks of contract wallets in the last minute, by source, and a cache of addresses without code."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: deque[float] = deque()
        self._times: collections.OrderedDict[str, deque[float]] = collections.OrderedDict()
        self._no_code: collections.OrderedDict[bytes, float] = collections.OrderedDict()

    def has_no_code(self, account: bytes) -> bool:
        with self._lock:
            return time.monotonic() < self._no_code.get(account, 0.0)

    def remember_no_code(self, account: bytes) -> None:
        with self._lock:
            self._no_code[account] = time.monotonic() + _NO_CODE_SECONDS
            _forget_oldest(self._no_code)

    def count(self, source: str) -> bool:
        """Count a check. Raises TooManyChecks. False: there are so many of all sources that this one should wait."""
        now, most = time.monotonic(), settings.CONTRACT_WALLET_CHECKS_PER_MINUTE
        with self._lock:
            times = self._times.setdefault(source, deque())
            self._times.move_to_end(source)
            _forget_oldest(self._times)
            for kept in (times, self._all):
                while kept and kept[0] < now - 60:
                    kept.popleft()
            if len(times) >= most:
                raise TooManyChecks
            times.append(now)
            self._all.append(now)
            return len(self._all) <= most * _SOURCES


def _forget_oldest(kept: collections.OrderedDict) -> None:
    while len(kept) > _REMEMBERED_MAX:
        kept.popitem(last=False)


_asked = _Asked()


def signer_of(account: bytes, digest: bytes, signature: bytes, source: str) -> Signer | None:
    """Who made or accepts an account's signature in canonical form; None when it is invalid.

    A signature by the account's own key costs no chain call. Raises Unknowable when the chain cannot be asked, and
    TooManyChecks when `source` (places.source_of) has asked too often.
    """
    if recovers_to(account, digest, signature):
        return Signer.KEY
    return Signer.CONTRACT if contract_accepts(account, digest, signature, source) else None


def contract_accepts(account: bytes, digest: bytes, signature: bytes, source: str) -> bool:
    """Whether a contract wallet at `account` accepts a signature. Raises Unknowable or TooManyChecks."""
    if not signature or len(signature) > MAX_BYTES or _asked.has_no_code(account):
        return False
    if not payers.ask(account, _NO_NONCE, 0, source, wants_code=True).has_code:
        _asked.remember_no_code(account)
        return False
    if not _asked.count(source):
        log.warning("many signatures of contract wallets are checked: each waits %s s", _SLOWED_SECONDS)
        time.sleep(_SLOWED_SECONDS)
    try:
        return rpc.contract_wallet_accepts(account, digest, signature)
    except rpc.ChainUnreachable as error:
        raise Unknowable from error
