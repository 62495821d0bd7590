"""Health endpoints: /healthz for liveness, /readyz for readiness."""

import time
from collections.abc import Callable
from typing import NamedTuple

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, JsonResponse

from payments import cards, onchain
from payments.models import OPEN, Lease, Payment
from payments.onchain import rpc

from .outage import replace_dead_connections

_NOT_CONFIGURED = "not_configured"


class Probes:
    """Middleware before all others: probes come by a bare address and over plain HTTP, which the others refuse."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer /healthz and /readyz, and pass on everything else."""
        probe = PROBES.get(request.path_info)
        if probe is None:
            return self.get_response(request)
        answer = probe(request)
        answer["Content-Length"] = str(len(answer.content))  # Only a middleware that this skips would set it.
        return answer


def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the process can answer."""
    return HttpResponse("ok\n", content_type="text/plain")


def readyz(request: HttpRequest) -> HttpResponse:
    """200 when the database answers and, if the shop sells on a chain, the node, and a settler holds the lease.

    Otherwise 503, with the state of each. A shop of cards alone needs no chain.
    """
    state = {"database": _database(), "chain": _chain(), "settler": _settler()}
    needed = {word for word in state.values() if word != _NOT_CONFIGURED}
    ready = needed == {"ok"} and (onchain.enabled() or cards.enabled())
    answer = {"ready": ready, **state, "waiting": _waiting()}
    return JsonResponse(answer, status=200 if ready else 503)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        replace_dead_connections()
        return "unreachable"
    return "ok"


class _Asked(NamedTuple):
    """When the node was asked last, and what came of it."""

    at: float
    word: str


_asked = _Asked(0.0, "")


def _chain() -> str:
    """Call the node at most once a second, however often /readyz is requested."""
    global _asked
    if not onchain.enabled():
        return _NOT_CONFIGURED
    if time.monotonic() - _asked.at > 1:
        try:
            rpc.request("eth_blockNumber")
            _asked = _Asked(time.monotonic(), "ok")
        except rpc.ChainUnreachable:
            _asked = _Asked(time.monotonic(), "unreachable")
    return _asked.word


def _settler() -> str:
    if not onchain.enabled():
        return _NOT_CONFIGURED
    try:
        held = Lease.objects.filter(chain_id=settings.CHAIN_ID, expires_at__gt=Now()).exclude(holder="").exists()
    except DatabaseError:
        return "unknown"
    return "ok" if held else "down"


def _waiting() -> int | None:
    """How many payments wait for the settler; None when the database does not say."""
    try:
        return Payment.objects.filter(state__in=OPEN).count()
    except DatabaseError:
        return None


PROBES: dict[str, Callable[[HttpRequest], HttpResponse]] = {"/healthz": healthz, "/readyz": readyz}
