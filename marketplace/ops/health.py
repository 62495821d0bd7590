"""Health endpoints: /healthz for liveness, /readyz for readiness."""

import time

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, JsonResponse

from payments import onchain
from payments.models import OPEN, Lease, Payment
from payments.onchain import rpc

from .outage import replace_dead_connections


def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the process can answer."""
    return HttpResponse("ok\n", content_type="text/plain")


def readyz(request: HttpRequest) -> HttpResponse:
    """200 when database and chain answer and a settler holds the lease. Otherwise 503, with the state of each."""
    state = {"database": _database(), "chain": _chain(), "settler": _settler()}
    ready = all(word == "ok" for word in state.values())
    return JsonResponse({"ready": ready, **state}, status=200 if ready else 503)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        replace_dead_connections()
        return "unreachable"
    return "ok"


_asked: tuple[float, str] = (0.0, "")


def _chain() -> str:
    """Call the node at most once a second, however often /readyz is requested."""
    global _asked
    if not onchain.enabled():
        return "not configured"
    if time.monotonic() - _asked[0] > 1:
        try:
            rpc.request("eth_blockNumber")
            _asked = (time.monotonic(), "ok")
        except (rpc.ChainUnreachable, rpc.RpcRefused):
            _asked = (time.monotonic(), "unreachable")
    return _asked[1]


def _settler() -> str:
    try:
        held = Lease.objects.filter(chain_id=settings.CHAIN_ID, expires_at__gt=Now()).exclude(holder="").exists()
        return "ok" if held else f"nobody settles; {Payment.objects.filter(state__in=OPEN).count()} payments wait"
    except DatabaseError:
        return "unknown"
