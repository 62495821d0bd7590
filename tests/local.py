"""HTTP clients for servers on this machine."""

import ssl
from typing import Any

import httpx

# No authorities: reading the system's takes longer than most tests, and no server here has a certificate.
_NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def client(url: str = "", **options: Any) -> httpx.Client:
    """A client with this base URL. `options` are httpx's."""
    return httpx.Client(base_url=url, verify=_NO_AUTHORITIES, **options)
