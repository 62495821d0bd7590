"""What an `exact` client sends: the payment header of x402 in protocol versions 1 and 2, parsed and bounded."""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from x402.schemas import PaymentPayload, PaymentRequirements
from x402.schemas.v1 import PaymentPayloadV1

from payments.offers import Presented
from payments.onchain import signatures
from payments.places import source_of

from .protocol import RailRefused

HEADERS = ((2, "PAYMENT-SIGNATURE"), (1, "X-PAYMENT"))
_MAX_HEADER_CHARS = 8192
_MAX_BRACKETS = 200
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
_BYTES32 = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)
_UINT = re.compile(r"0|[1-9][0-9]{0,77}", re.ASCII)
_SIGNATURE = re.compile(rf"0x(?:[0-9a-fA-F]{{2}}){{0,{signatures.MAX_BYTES}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Credential:
    """A parsed payment header. `accepted` is the requirement that a version 2 client echoes (None in version 1)."""

    version: int
    network: str
    scheme: str
    accepted: PaymentRequirements | None
    payer: bytes
    recipient: bytes
    value: int
    valid_after: int
    valid_before: int
    nonce: bytes
    # Without its wrapping (ERC-6492), which says that the wallet may have no code yet.
    signature: bytes
    wrapped: bool
    # Whom the limits count the request for: places.source_of its client.
    source: str

    @property
    def echoed_quote(self) -> str:
        """The quote in the echoed requirement of version 2; empty when there is none."""
        echoed = (self.accepted.extra or {}).get("quote") if self.accepted else None
        return echoed if isinstance(echoed, str) else ""


def read(presented: Presented) -> Credential | None:
    """The credential in PAYMENT-SIGNATURE (version 2) or X-PAYMENT (version 1); None without either.

    Raises RailRefused, malformed.
    """
    for version, header in HEADERS:
        if text := presented.headers.get(header):
            message = _decoded(text)
            if message.get("x402Version") != version:
                sentence = f"{header} carries x402 version {version}."
                raise RailRefused("invalid_x402_version", sentence, malformed=True)
            return _parsed(message, source_of(presented.address))
    return None


def _decoded(header: str) -> dict:
    malformed = RailRefused("invalid_payload", "The payment header is not base64-encoded JSON.", malformed=True)
    if len(header) > _MAX_HEADER_CHARS:
        raise RailRefused("payload_too_large", "The payment header is longer than 8,192 characters.", malformed=True)
    try:
        text = base64.b64decode(header.translate({45: 43, 95: 47}) + "=" * (-len(header) % 4), validate=True).decode()
        if text.count("{") + text.count("[") > _MAX_BRACKETS:
            raise malformed
        message = json.loads(text, object_pairs_hook=_unambiguous, parse_constant=_no_constant)
    except (binascii.Error, ValueError, RecursionError) as error:
        raise malformed from error
    if not isinstance(message, dict):
        raise malformed
    return message


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate name in an object")
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _parsed(message: dict, source: str) -> Credential:
    try:
        accepted: PaymentRequirements | None = None
        if message["x402Version"] == 1:
            first = PaymentPayloadV1.model_validate(message)
            scheme, where, payload = first.scheme, first.network, first.payload
        else:
            second = PaymentPayload.model_validate(message)
            accepted = second.accepted
            scheme, where, payload = accepted.scheme, accepted.network, second.payload
        signature = _hex(_SIGNATURE, payload.get("signature"))
        authorization = payload.get("authorization")
        if not isinstance(authorization, dict):
            raise ValueError("no authorization")
        return Credential(
            version=message["x402Version"],
            network=where,
            scheme=scheme,
            accepted=accepted,
            payer=_hex(_ADDRESS, authorization.get("from")),
            recipient=_hex(_ADDRESS, authorization.get("to")),
            value=_uint(authorization.get("value")),
            valid_after=_uint(authorization.get("validAfter")),
            valid_before=_uint(authorization.get("validBefore")),
            nonce=_hex(_BYTES32, authorization.get("nonce")),
            signature=signatures.canonical(signatures.unwrapped(signature)),
            wrapped=signature.endswith(signatures.ERC6492_MAGIC),
            source=source,
        )
    except (ValidationError, ValueError, TypeError, KeyError) as error:
        sentence = "The payment header is not an x402 payment with an EIP-3009 authorization."
        raise RailRefused("invalid_payload", sentence, malformed=True) from error


def _hex(form: re.Pattern[str], text: Any) -> bytes:
    if not isinstance(text, str) or not form.fullmatch(text):
        raise ValueError("not hex of the right length")
    return bytes.fromhex(text[2:])


def _uint(text: Any) -> int:
    if not isinstance(text, str) or not _UINT.fullmatch(text) or (number := int(text)) >= 1 << 256:
        raise ValueError("not a uint256 in decimal digits")
    return number
