"""The listener: HTTP/1.1 with kept connections on 127.0.0.1, and the threads around one world."""

import contextlib
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from . import checkout, controls, pages, spec
from .service import Answer, Request, Service
from .webhooks import Deliveries, Endpoint
from .world import World

SECRET_KEY = "sk_test_pennypress"
WEBHOOK_SECRET = "whsec_pennypress"
_OPEN_TO_BROWSERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "authorization, content-type, stripe-version, idempotency-key",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Max-Age": "600",
}


class Standin:
    """A card processor of one's own. `start` returns when it listens; `stop` closes every connection.

    `keys` may hold `secret_key`; `seed` makes the ids repeatable.
    """

    def __init__(self, port: int = 0, *, secret_key: str = SECRET_KEY, seed: int | None = None) -> None:
        self.world = World(seed)
        self.service = Service(self.world, secret_key)
        self.hooks = Deliveries(self.world)
        self.world.heard = self.hooks.hear
        self.world.watches.append(lambda: checkout.expire_due(self.world))
        self._server = _Listener(port, self)
        self.url = self.world.base = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.secret_key, self.publishable_key = secret_key, self.service.publishable_key
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.05,), name="standin", daemon=True),
            threading.Thread(target=self._tick, name="standin clock", daemon=True),
        ]

    def tell(self, url: str, secret: str = WEBHOOK_SECRET, kinds: list[str] | None = None) -> None:
        """One more endpoint for webhooks."""
        self.hooks.endpoints.append(Endpoint(url, secret, kinds))

    def start(self) -> "Standin":
        spec.routes()
        self.hooks.start()
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        self._over.set()
        self.hooks.stop()
        if self._threads[0].ident is not None:
            self._server.shutdown()
            for thread in self._threads:
                thread.join(5)
        self._server.hang_up()
        self._server.server_close()

    def __enter__(self) -> "Standin":
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _tick(self) -> None:
        """What follows an answer follows by itself, also when nobody asks again."""
        while not self._over.wait(0.05):
            with self.world.lock:
                self.world.catch_up()

    def answer(self, request: Request) -> Answer:
        """Every address of the stand-in."""
        path = request.path
        if path == "/healthz":
            return Answer(200, b"ok\n", {"Content-Type": "text/plain"})
        if path.startswith("/_fake/"):
            status, found = controls.answer(self, request.method, path, request.body)
            return Answer(status, json.dumps(found, default=str).encode(), {"Content-Type": "application/json"})
        if path.startswith("/v1/") or path.startswith("/v2/"):
            if request.method == "OPTIONS":
                return Answer(204, headers=dict(_OPEN_TO_BROWSERS))
            found = self.service.serve(request)
            found.headers |= _OPEN_TO_BROWSERS
            return found
        return pages.answer(self.world, request)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int, standin: Standin) -> None:
        self.standin = standin
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Ends the connections that clients keep open, so that their threads end."""
        with self._guard:
            left = list(self._open)
        for connection in left:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Listener

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode("utf-8", "replace")
        request = Request(self.command, address.path, address.query, self.headers, body)
        found = self.server.standin.answer(request)
        if found.status is None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(found.status)
        for name, value in found.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(found.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(found.body)

    do_POST = do_DELETE = do_OPTIONS = do_HEAD = do_PUT = do_PATCH = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: `GET /_fake/log` has it."""
