"""The processor's memory: its objects, its clock, what is still to happen, and what it has announced.

One lock guards all of it. Objects are plain dictionaries in the API's shape; keys that begin with an underscore are the
stand-in's own knowledge and never leave it.
"""

import datetime
import random
import string
import threading
import time
from collections.abc import Callable
from typing import Any

from . import spec
from .refusals import missing

Object = dict[str, Any]
PREFIXES = {
    "customer": "cus", "payment_method": "pm", "payment_intent": "pi", "setup_intent": "seti", "charge": "ch",
    "refund": "re", "dispute": "du", "balance_transaction": "txn", "event": "evt", "checkout.session": "cs_test",
    "radar.early_fraud_warning": "issfr", "item": "li", "webhook_endpoint": "we", "price": "price", "product": "prod",
}  # fmt: skip
DAY = 86_400


class World:
    """All state. Whoever calls a method holds `lock`, except for `now`."""

    def __init__(self, seed: int | None = None) -> None:
        self.lock = threading.RLock()
        self.seed = seed
        self.base = ""
        self.heard: Callable[[Object], None] = lambda event: None
        self.watches: list[Callable[[], None]] = []
        self.clear()

    def clear(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311  ids of a simulator, no secrets
        self.tables: dict[str, dict[str, Object]] = {kind: {} for kind in PREFIXES}
        self.ahead = 0
        self.settle_after = 0.0
        self.redirecting = False
        self.serial = 0
        self.todo: list[tuple[float, Callable[[], None]]] = []
        self.request: Object = {"id": None, "idempotency_key": None}

    def now(self) -> int:
        return int(time.time()) + self.ahead

    def today(self) -> datetime.date:
        return datetime.datetime.fromtimestamp(self.now(), datetime.UTC).date()

    def word(self, length: int = 24) -> str:
        return "".join(self.random.choices(string.ascii_letters + string.digits, k=length))

    def add(self, kind: str, made: Object) -> Object:
        """Stores the object under a new id and returns it. `_serial` is its place in every list."""
        self.serial += 1
        name = f"{PREFIXES[kind]}_{self.word()}"
        stored = {"id": name, "object": kind, **made, "_serial": self.serial}
        self.tables[kind][name] = stored
        return stored

    def get(self, kind: str, which: str, param: str | None = None) -> Object:
        found = self.tables[kind].get(which)
        if found is None:
            raise missing(kind.replace(".", " "), which, param)
        return found

    def all(self, kind: str, **match: Any) -> list[Object]:
        """Oldest first, those whose fields equal what is asked for."""
        rows = self.tables[kind].values()
        return [row for row in rows if all(row.get(name) == value for name, value in match.items())]

    def later(self, what: Callable[[], None]) -> None:
        """Happens after the answer that is being made now: at the next request, or a moment later by itself."""
        self.todo.append((time.monotonic() + self.settle_after, what))

    def catch_up(self) -> None:
        """Does what is due."""
        while due := [job for job in self.todo if job[0] <= time.monotonic()]:
            for job in due:
                self.todo.remove(job)
                job[1]()
        for watch in self.watches:
            watch()

    def announce(self, kind: str, subject: Object, before: Object | None = None) -> None:
        """Makes the event: a snapshot of the object as it is now."""
        data: Object = {"object": plain(subject, self.now())}
        if before is not None:
            data["previous_attributes"] = before
        made = {
            "api_version": spec.api_version(), "created": self.now(), "data": data, "livemode": False,
            "pending_webhooks": 0, "request": dict(self.request), "type": kind,
        }  # fmt: skip
        event = self.add("event", made)
        # A snapshot never changes: what is sent later is what was true when it happened.
        self.heard(event)


def plain(subject: Any, now: int) -> Any:
    """A copy as the API shows it: nothing private, and money is available once its day has come."""
    if isinstance(subject, dict):
        shown = {name: plain(value, now) for name, value in subject.items() if not name.startswith("_")}
        if shown.get("object") == "balance_transaction":
            shown["status"] = "available" if shown["available_on"] <= now else "pending"
        return shown
    if isinstance(subject, list):
        return [plain(one, now) for one in subject]
    return subject
