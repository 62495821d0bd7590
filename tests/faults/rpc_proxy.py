"""A node that misbehaves on demand: stands between the product and the chain, forwards, counts, and obeys rules.

Runs in a thread of the test process. A rule fires for one method, a given number of times, and says so in `hits`.
"""

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

from tests import nodes

from .cluster import Cluster

Params = list[Any]


@dataclass
class Rule:
    """What happens to some calls of a method ("*": of any). `drop` cuts the connection before or after the chain has
    heard the call; `before` and `after` are run at that moment (a kill, a rival transaction); `lie` makes the result
    from the true one."""

    method: str
    drop: Literal["", "before", "after"] = ""
    before: Callable[[], Any] | None = None
    after: Callable[[], Any] | None = None
    delay: float = 0.0
    error: dict[str, Any] | None = None
    twice: bool = False
    lie: Callable[[Any], Any] | None = None
    times: int | None = 1
    skip: int = 0
    when: Callable[[Params], bool] = lambda params: True
    hits: int = 0

    def takes(self, method: str, params: Params) -> bool:
        """Whether this call is one of the rule's; counts it."""
        if self.method not in ("*", method) or not self.when(params) or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times = None if self.times is None else self.times - 1
        self.hits += 1
        return True


class RpcProxy:
    """One listening port in front of one chain. `counts` is of calls by method, `sent` every raw transaction."""

    def __init__(self, chain_url: str) -> None:
        self.chain = urlsplit(chain_url)
        self.counts: Counter[str] = Counter()
        self.sent: list[str] = []
        self.cluster: Cluster | None = None
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "RpcProxy":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="rpc-proxy", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def on(self, method: str, **what: Any) -> Rule:
        """Add a rule; the first rule that takes a call decides it."""
        rule = Rule(method, **what)
        with self._lock:
            self._rules.append(rule)
        return rule

    def down(self) -> Rule:
        """No call reaches the chain any more, until `clear`."""
        return self.on("*", drop="before", times=None)

    @contextmanager
    def holding(self, method: str) -> Iterator[None]:
        """Calls of a method wait at the door until the end of this."""
        done = threading.Event()
        rule = self.on(method, before=done.wait, times=None)
        try:
            yield
        finally:
            rule.times = 0
            done.set()

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def rule_for(self, method: str, params: Params) -> Rule | None:
        with self._lock:
            self.counts[method] += 1
            if method == "eth_sendRawTransaction":
                self.sent.append(params[0])
            return next((rule for rule in self._rules if rule.takes(method, params)), None)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    proxy: RpcProxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed in the middle of a call is what this is for."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    _chain: http.client.HTTPConnection | None = None

    def log_message(self, *_: Any) -> None:
        """Silent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        call = json.loads(body)
        rule = self.server.proxy.rule_for(call["method"], call.get("params", []))
        if rule is None:
            return self._answer(self._one_of_many(call) if self.server.proxy.cluster else self._forward(body))
        time.sleep(rule.delay)
        if rule.before:
            rule.before()
        if rule.drop == "before":
            return self._cut()
        if rule.error:
            return self._answer(json.dumps({"jsonrpc": "2.0", "id": call["id"], "error": rule.error}).encode())
        said = self._forward(body)
        if rule.twice:
            self._forward(body)
        if rule.after:
            rule.after()
        if rule.drop == "after":
            return self._cut()
        if rule.lie:
            told = json.loads(said)
            said = json.dumps({**told, "result": rule.lie(told.get("result"))}).encode()
        return self._answer(said)

    def _one_of_many(self, call: dict[str, Any]) -> bytes:
        cluster = self.server.proxy.cluster
        assert cluster
        try:
            said = {"result": cluster.answer(self._ask, call["method"], call.get("params", []))}
        except nodes.Refused as refusal:
            said = {"error": {"code": refusal.code, "message": refusal.message}}
        return json.dumps({"jsonrpc": "2.0", "id": call["id"], **said}).encode()

    def _ask(self, method: str, *params: Any) -> Any:
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        said = json.loads(self._forward(json.dumps(call).encode()))
        if refusal := said.get("error"):
            raise nodes.Refused(refusal["code"], refusal["message"])
        return said["result"]

    def _forward(self, body: bytes) -> bytes:
        if self._chain is None:
            where = self.server.proxy.chain
            self._chain = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
        try:
            self._chain.request("POST", "/", body, {"Content-Type": "application/json"})
            return self._chain.getresponse().read()
        except OSError:
            self._chain.close()
            self._chain = None
            raise

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        if self._chain is not None:
            self._chain.close()
        super().finish()
