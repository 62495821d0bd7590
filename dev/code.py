"""`dev.py code KEY`: the six digits that an authenticator app with this key shows now (RFC 6238)."""

import base64
import binascii
import hashlib
import hmac
import time

from dev.say import Stop

_PERIOD = 30


def run(words: list[str]) -> int:
    """Print the code. Raises Stop without exactly one key."""
    try:
        (key,) = words
        print(at(key, time.time()))
    except (ValueError, binascii.Error) as error:
        raise Stop("Usage: dev.py code KEY, with the authenticator key that the demo has printed.") from error
    return 0


def at(key: str, moment: float) -> str:
    """The code of this moment."""
    secret = base64.b32decode(key, casefold=True)
    digest = hmac.new(secret, int(moment // _PERIOD).to_bytes(8), hashlib.sha1).digest()
    start = digest[-1] & 15
    return f"{(int.from_bytes(digest[start : start + 4]) & 0x7FFFFFFF) % 10**6:06d}"
