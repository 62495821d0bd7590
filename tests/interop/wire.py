"""A relay between a client and the shop that remembers what the client sent."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

from tests.wallet import Wallet, decoded

PAYMENT_HEADERS = ("PAYMENT-SIGNATURE", "X-PAYMENT")
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "date", "server"}


class Wire:
    """The headers of each request that went to the shop, in order."""

    def __init__(self, shop_url: str) -> None:
        self.shop = urlsplit(shop_url)
        self.requests: list[Message] = []
        wire = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wire.forward(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def url(self, of_the_shop: str) -> str:
        """An address of the shop, by way of this relay."""
        return urlsplit(of_the_shop)._replace(netloc=f"127.0.0.1:{self.server.server_port}").geturl()

    def forward(self, asked: BaseHTTPRequestHandler) -> None:
        self.requests.append(asked.headers)
        connection = http.client.HTTPConnection(self.shop.hostname or "", self.shop.port, timeout=30)
        try:
            connection.request("GET", asked.path, headers={**dict(asked.headers), "Connection": "close"})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        asked.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                asked.send_header(name, value)
        asked.end_headers()
        asked.wfile.write(body)

    def payments(self, wallet: Wallet) -> list[tuple[str, str]]:
        """Header name and nonce of each payment of this wallet."""
        found = []
        for headers in list(self.requests):
            for name in [name for name in PAYMENT_HEADERS if name in headers]:
                authorization = decoded(headers[name])["payload"]["authorization"]
                if authorization["from"].lower() == wallet.address.lower():
                    found.append((name, authorization["nonce"]))
        return found


@contextmanager
def tapped(shop_url: str) -> Iterator[Wire]:
    """A relay in front of a shop."""
    wire = Wire(shop_url)
    thread = Thread(target=wire.server.serve_forever)
    thread.start()
    try:
        yield wire
    finally:
        wire.server.shutdown()
        wire.server.server_close()
        thread.join()
