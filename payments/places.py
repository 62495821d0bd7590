"""Places for requests that wait: bounded in all, and shared fairly between the sources that ask for one."""

import ipaddress
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

_FEW = 4
# A subscriber gets at least a /64 of IPv6 addresses.
_PREFIX_BITS = 64


class Full(Exception):
    """There is no place. Nothing was done; a later request may find one."""


class Places:
    """Places of this process. One source may hold a few, and more only while at least as many are left for others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()

    def count(self) -> int:
        """How many places are taken."""
        with self._lock:
            return self._held.total()

    @contextmanager
    def one(self, source: str, most: int) -> Iterator[None]:
        """Hold one of `most` places. Raises Full.

        On PostgreSQL the connection goes back to the pool first. Otherwise those who wait would exhaust the pool.
        """
        with self._lock:
            free = most - self._held.total()
            if free <= 0 or self._held[source] >= max(_FEW, free):
                raise Full
            self._held[source] += 1
        try:
            if connection.vendor == "postgresql" and not connection.in_atomic_block:
                connection.close()
            yield
        finally:
            with self._lock:
                self._held[source] -= 1
                if not self._held[source]:
                    del self._held[source]


def first_address(address: str) -> str:
    """The first address of what `source_of` returns, for what holds an address and no network."""
    return source_of(address).partition("/")[0]


def source_of(address: str) -> str:
    """What a limit counts as one client: an IPv4 address, or the /64 network of an IPv6 address. Empty stays empty."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, _PREFIX_BITS), strict=False))
    return str(parsed)
