"""Deliveries of events: signed, in order, from one thread; or held, shuffled, repeated and lost when told to."""

import contextlib
import hashlib
import hmac
import http.client
import json
import random
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .world import World, plain

Object = dict[str, Any]
MODES = ("send", "hold", "drop")
_WAITS = (0.05, 0.2, 0.5)


@dataclass
class Endpoint:
    """Where events go. `kinds` is what it asked for; None is all."""

    url: str
    secret: str
    kinds: list[str] | None = None
    name: str = field(default="")


class Deliveries:
    """The queue and its thread. What is public may be called with the world's lock held, except `flush`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.endpoints: list[Endpoint] = []
        self._wake = threading.Condition()
        self._queue: deque[tuple[Object, Endpoint]] = deque()
        self._busy = self._over = False
        self._generation = 0
        self._thread = threading.Thread(target=self._run, name="standin webhooks", daemon=True)
        self.clear()

    def clear(self) -> None:
        """Forgets events, and gives up the one that is being tried; endpoints stay."""
        with self._wake:
            self._generation += 1
            self.mode = "send"
            self._queue.clear()
            self.held: list[Object] = []
            self.delivered = self.failed = self.dropped = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._wake:
            self._over = True
            self._wake.notify_all()
        if self._thread.ident is not None:
            self._thread.join(5)

    def hear(self, event: Object) -> None:
        """An event happened. With nobody to tell it counts as delivered, unless it is held or dropped."""
        wanted = [endpoint for endpoint in self.endpoints if _wants(endpoint, event["type"])]
        event["pending_webhooks"] = len(wanted) if self.mode == "send" else max(1, len(wanted))
        if self.mode == "hold":
            self.held.append(event)
        elif self.mode == "drop":
            self.dropped += 1
        else:
            self._put([event])

    def _put(self, events: list[Object]) -> None:
        with self._wake:
            for event in events:
                wanted = [endpoint for endpoint in self.endpoints if _wants(endpoint, event["type"])]
                self._queue.extend((event, endpoint) for endpoint in wanted)
            self._wake.notify_all()

    def release(self, order: str, seed: int, duplicate: int) -> int:
        """Sends what is held, each event 1 + `duplicate` times. Returns how many deliveries that are."""
        events = [event for event in self.held for _ in range(1 + duplicate)]
        self.held = []
        if order == "reverse":
            events.reverse()
        elif order == "shuffle":
            random.Random(seed).shuffle(events)  # noqa: S311  an order that can be had again, no secret
        self._put(events)
        return len(events)

    def take(self, secret: str) -> list[Object]:
        """What is held, signed and ready to be posted by the caller, who now has to do it."""
        taken, self.held = self.held, []
        found = []
        for event in taken:
            payload = self._payload(event)
            event["pending_webhooks"] = 0
            signature = sign(payload, secret)
            found.append({"id": event["id"], "type": event["type"], "payload": payload, "signature": signature})
        return found

    def waiting(self) -> int:
        with self._wake:
            return len(self._queue) + self._busy

    def flush(self, seconds: float) -> bool:
        """Waits until all is delivered or given up. False when that takes longer."""
        until = time.monotonic() + seconds
        with self._wake:
            while self._queue or self._busy:
                if (left := until - time.monotonic()) <= 0:
                    return False
                self._wake.wait(left)
        return True

    def _run(self) -> None:
        while True:
            with self._wake:
                self._busy = False
                self._wake.notify_all()
                while not self._queue and not self._over:
                    self._wake.wait()
                if self._over:
                    return
                (event, endpoint), self._busy = self._queue.popleft(), True
            self._deliver(event, endpoint)

    def _deliver(self, event: Object, endpoint: Endpoint) -> None:
        with self.world.lock:
            payload, generation = self._payload(event), self._generation
        for wait in (*_WAITS, None):
            if self._over or generation != self._generation:
                return
            if self._post(payload, endpoint):
                with self.world.lock:
                    self.delivered += 1
                    event["pending_webhooks"] = max(0, event["pending_webhooks"] - 1)
                return
            if wait is not None:
                time.sleep(wait)
        self.failed += 1

    def _payload(self, event: Object) -> str:
        return json.dumps(plain(event, self.world.now()), indent=2)

    def _post(self, payload: str, endpoint: Endpoint) -> bool:
        address = urlsplit(endpoint.url)
        secure = address.scheme == "https"
        connection = (http.client.HTTPSConnection if secure else http.client.HTTPConnection)(
            address.hostname or "", address.port, timeout=10
        )
        headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "Stripe/1.0 (stand-in)"}
        headers["Stripe-Signature"] = sign(payload, endpoint.secret)
        with contextlib.closing(connection):
            try:
                target = f"{address.path or '/'}{'?' + address.query if address.query else ''}"
                connection.request("POST", target, payload.encode(), headers)
                with contextlib.closing(connection.getresponse()) as answer:
                    answer.read()
                    return 200 <= answer.status < 300
            except (OSError, http.client.HTTPException):
                return False


def _wants(endpoint: Endpoint, kind: str) -> bool:
    return endpoint.kinds is None or "*" in endpoint.kinds or kind in endpoint.kinds


def sign(payload: str, secret: str) -> str:
    """The Stripe-Signature header of this moment. Real time, whatever the stand-in's clock says: the receiver's is."""
    at = int(time.time())
    mark = hmac.new(secret.encode(), f"{at}.{payload}".encode(), hashlib.sha256).hexdigest()
    return f"t={at},v1={mark}"
