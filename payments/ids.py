"""Time-ordered identifiers (RFC 9562, version 7). The application makes them, so a row has an id before its INSERT."""

import os
import time
import uuid
from datetime import datetime


def lowest_at(moment: datetime) -> uuid.UUID:
    """The lowest identifier that is made at this moment or later."""
    return uuid.UUID(int=int(moment.timestamp() * 1000) << 80)


def uuid7() -> uuid.UUID:
    """A version 7 UUID: 48 bits of Unix milliseconds, then 74 random bits."""
    value = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)
