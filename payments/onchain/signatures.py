"""Signature checks: externally owned accounts by recovery (no chain call), contract wallets by EIP-1271.

A contract-wallet check costs one `eth_call` with a gas cap. A rate limit applies per process, and an address without
code is not checked again for _NO_CODE_SECONDS.
"""

import collections
import threading
import time
from enum import Enum

from django.conf import settings
from eth_keys import keys
from eth_keys.exceptions import BadSignature, ValidationError

from . import rpc

_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
MAX_BYTES = 1024
_NO_CODE_SECONDS = 60
_NO_CODE_MAX = 10_000


class Unknowable(Exception):
    """A fact that decides cannot be read now. Nothing was claimed and the buyer was not charged; retry."""


class TooManyChecks(Unknowable):
    """The rate limit of contract-wallet checks is reached. No call was made."""


class Signer(Enum):
    """Who made or accepts a signature: the account's own key, or the contract at its address."""

    KEY = "key"
    CONTRACT = "contract"


def canonical(signature: bytes) -> bytes:
    """The canonical form of an ECDSA signature, with v 27 or 28. Other signatures are returned unchanged."""
    if len(signature) == 65 and signature[64] in (0, 1):
        return signature[:64] + bytes([signature[64] + 27])
    return signature


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
    """The rate limit of contract-wallet checks, and a cache of addresses without code."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: collections.deque[float] = collections.deque()
        self._no_code: collections.OrderedDict[bytes, float] = collections.OrderedDict()

    def has_no_code(self, account: bytes) -> bool:
        with self._lock:
            return time.monotonic() < self._no_code.get(account, 0.0)

    def remember_no_code(self, account: bytes) -> None:
        with self._lock:
            self._no_code[account] = time.monotonic() + _NO_CODE_SECONDS
            while len(self._no_code) > _NO_CODE_MAX:
                self._no_code.popitem(last=False)

    def count(self) -> None:
        now = time.monotonic()
        with self._lock:
            while self._times and self._times[0] < now - 60:
                self._times.popleft()
            if len(self._times) >= settings.CONTRACT_WALLET_CHECKS_PER_MINUTE:
                raise TooManyChecks
            self._times.append(now)


_asked = _Asked()


def signer_of(account: bytes, digest: bytes, signature: bytes) -> Signer | None:
    """Who made or accepts an account's signature in canonical form; None when it is invalid.

    A signature by the account's own key costs no chain call; any other costs one. Raises Unknowable when the chain
    cannot be asked.
    """
    if recovers_to(account, digest, signature):
        return Signer.KEY
    try:
        return Signer.CONTRACT if contract_accepts(account, digest, signature) else None
    except rpc.ChainUnreachable as error:
        raise Unknowable from error


def contract_accepts(account: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether a contract wallet at `account` accepts a signature. Raises TooManyChecks or ChainUnreachable."""
    if not signature or len(signature) > MAX_BYTES or _asked.has_no_code(account):
        return False
    _asked.count()
    accepted = rpc.contract_wallet_accepts(account, digest, signature)
    if accepted is None:
        _asked.remember_no_code(account)
    return bool(accepted)
