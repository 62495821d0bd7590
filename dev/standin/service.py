"""One request to the API, from its headers to its answer: who asks, faults, idempotency, and the call itself."""

import base64
import binascii
import contextlib
import json
import sys
import time
import traceback
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import api, browser, forms, spec
from .faults import Fault, Faults
from .idempotency import Keys
from .refusals import Refusal
from .world import Object, World, plain

_BUSY = "This object cannot be accessed right now because another API request is accessing it."


def _own(kind: str) -> Refusal:
    """The answer of an accident."""
    if kind == "429":
        return Refusal(429, "Too many requests. Slow down.", code="rate_limit", keep=False)
    if kind == "409":
        return Refusal(409, _BUSY, code="lock_timeout", keep=False)
    return Refusal(500, "An unknown error occurred", kind="api_error")


@dataclass
class Request:
    """What arrived. `path` is without its query."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: str


@dataclass
class Answer:
    """What goes back. None as `status` is a connection that is closed without a word."""

    status: int | None
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Service:
    """The API. `bugs` are exceptions that no Refusal explains: they are the stand-in's own, and tests look there."""

    def __init__(self, world: World, secret_key: str) -> None:
        self.world, self.secret_key = world, secret_key
        self.publishable_key = secret_key.replace("sk_", "pk_", 1)
        self.clear()

    def clear(self) -> None:
        self.keys, self.faults = Keys(), Faults()
        self.log: deque[Object] = deque(maxlen=10_000)
        self.bugs: list[str] = []

    def serve(self, request: Request) -> Answer:
        name = f"req_{time.monotonic_ns():x}"
        key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
        line: Object = {"method": request.method, "path": request.path, "params": {}, "key": key, "id": name}
        with self.world.lock:
            self.log.append(line)
            fault = self.faults.strike(request.method, request.path)
        try:
            status, body, replayed = self._asked(request, key, fault, line)
        except Refusal as refusal:
            status, body, replayed = refusal.status, self._error(refusal), False
        line |= {"status": status, "replayed": replayed, "fault": fault and f"{fault.kind} {fault.when}"}
        if fault and fault.kind == "drop":
            line["status"] = None
            return Answer(None)
        headers = {"Content-Type": "application/json", "Request-Id": name, "Stripe-Version": spec.api_version()}
        if key:
            headers["Idempotency-Key"] = key
        if replayed:
            headers["Idempotent-Replayed"] = "true"
        return Answer(status, json.dumps(body, indent=2).encode(), headers)

    def _asked(self, request: Request, key: str | None, fault: Fault | None, line: Object) -> tuple[int, Object, bool]:
        given = forms.decode(request.body if request.method == "POST" else request.query)
        line["params"] = given
        if fault and fault.when == "before" and fault.kind in ("drop", "429", "409"):
            raise _own(fault.kind)
        publishable = self._public(request, given)
        version = request.headers.get("Stripe-Version", spec.api_version())
        if version != spec.api_version():
            raise Refusal(400, f"Invalid Stripe API version: {version}. The stand-in has {spec.api_version()}.")
        if publishable:
            with self.world.lock:
                return *self._do(lambda: browser.answer(self.world, request.method, request.path, given), line), False
        route, ids = spec.find(request.method, request.path)
        params = spec.check(route, given)
        call = lambda: api.answer(self.world, (route.method, route.template), ids, params)  # noqa: E731
        if not key:
            return *self._run(call, fault, line), False
        asked = (request.method, request.path, json.dumps(given, sort_keys=True))
        with self.world.lock:
            kept = self.keys.begin(key, asked, self.world.now())
            if kept is not None:
                return *kept, True
        answer = None
        try:
            answer = self._run(call, fault, line)
        finally:
            with self.world.lock:
                self.keys.end(key, answer if answer and line.get("keep", True) else None)
        return *answer, False

    def _run(self, call: Any, fault: Fault | None, line: Object) -> tuple[int, Object]:
        """The call with its accident, if one was ordered. Sleeping happens with the world unlocked."""
        broken = 500, self._error(_own("500"))
        if fault and fault.when == "before":
            if fault.kind == "500":
                return broken
            time.sleep(fault.seconds)
        with self.world.lock:
            done = self._do(call, line)
        if fault and fault.when == "after":
            time.sleep(fault.seconds)
            if fault.kind == "500":
                line["keep"] = True
                return broken
        return done

    def _do(self, call: Any, line: Object) -> tuple[int, Object]:
        self.world.catch_up()
        self.world.request = {"id": line["id"], "idempotency_key": line["key"]}
        try:
            return 200, call()
        except Refusal as refusal:
            line["keep"] = refusal.keep
            return refusal.status, self._error(refusal)
        except Exception:
            self.bugs.append(traceback.format_exc())
            sys.stderr.write(self.bugs[-1])
            line["keep"] = False
            return 500, {"error": {"type": "api_error", "message": "The stand-in has a bug; see its log."}}
        finally:
            self.world.request = {"id": None, "idempotency_key": None}

    def _error(self, refusal: Refusal) -> Object:
        with self.world.lock:
            return {"error": plain(refusal.error, self.world.now())}

    def _public(self, request: Request, given: Object) -> bool:
        """Whether the publishable key was used. Raises a 401 for neither key."""
        used = _key(request.headers.get("Authorization", "")) or given.pop("key", "")
        if used == self.secret_key:
            return False
        if used == self.publishable_key:
            return True
        message = "You did not provide an API key."
        if used:
            message = f"Invalid API Key provided: {used[:8]}{'*' * 8}{used[-4:]}"
        raise Refusal(401, message, keep=False)


def _key(header: str) -> str:
    """From `Bearer sk_…` or from the user name of Basic."""
    kind, _, rest = header.partition(" ")
    if kind.lower() == "basic":
        with contextlib.suppress(binascii.Error, UnicodeDecodeError):
            return base64.b64decode(rest).decode().partition(":")[0]
    return rest.strip() if kind.lower() == "bearer" else ""
