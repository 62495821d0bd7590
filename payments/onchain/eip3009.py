"""The EIP-712 digest of an EIP-3009 TransferWithAuthorization, which is what a payer signs.

The x402 SDK computes the same digest, but importing its EVM mechanisms also imports web3, which takes a second in each
process. A test checks that both digests are equal.
"""

import functools

from django.conf import settings
from eth_utils import keccak

from . import rpc

_DOMAIN = keccak(text="EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_TRANSFER = keccak(
    text="TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,"
    "bytes32 nonce)"
)


def digest(payer: bytes, recipient: bytes, *, value: int, valid_after: int, valid_before: int, nonce: bytes) -> bytes:
    """The 32 bytes that the payer signs for our token on our chain (EIP-712, `encode(domainSeparator, message)`).

    `value` is in the token's smallest unit, the times are Unix seconds; each fits a uint256.
    """
    numbers = b"".join(number.to_bytes(32) for number in (value, valid_after, valid_before))
    struct = keccak(_TRANSFER + payer.rjust(32, b"\0") + recipient.rjust(32, b"\0") + numbers + nonce)
    domain = _separator(settings.CHAIN_ASSET_NAME, settings.CHAIN_ASSET_VERSION, settings.CHAIN_ID, rpc.token())
    return keccak(b"\x19\x01" + domain + struct)


@functools.lru_cache(maxsize=4)
def _separator(name: str, version: str, chain_id: int, token: bytes) -> bytes:
    words = (_DOMAIN, keccak(text=name), keccak(text=version), chain_id.to_bytes(32), token.rjust(32, b"\0"))
    return keccak(b"".join(words))
