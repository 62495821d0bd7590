"""What operators ask: /healthz for liveness, /readyz for readiness, /metrics."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse

from payments import cards, onchain

from . import parts


class Probes:
    """Middleware before all others: probes come by a bare address and over plain HTTP, which the others refuse."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer /healthz and /readyz, and /metrics where it is on; pass on everything else."""
        probe = PROBES.get(request.path_info)
        if probe is metrics and not settings.METRICS_TOKEN:
            probe = None
        if probe is None:
            return self.get_response(request)
        answer = probe(request)
        answer["Content-Length"] = str(len(answer.content))  # Only a middleware that this skips would set it.
        return answer


def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the process can answer."""
    return HttpResponse("ok\n", content_type="text/plain")


def readyz(request: HttpRequest) -> HttpResponse:
    """200 when every part of the shop does its work, otherwise 503, with a word about each.

    A shop of cards alone needs no chain. Gas that is `low`, and jobs that are `late`, are said and are no 503.
    """
    state = _state()
    words = [state[name] for name in ("database", "chain", "settler", "watcher", "worker", "beat", "broker")]
    works = {*words, state["gas"]["state"]} <= parts.GOOD
    ready = works and (onchain.enabled() or cards.enabled())
    return JsonResponse({"ready": ready, **state}, status=200 if ready else 503)


def _state() -> dict[str, Any]:
    state: dict[str, Any] = {"database": parts.database()}
    jobs, waiting, late = None, None, []
    worker = beat = parts.UNKNOWN
    if state["database"] == "ok":
        try:
            jobs, waiting = parts.Jobs(), parts.waiting_payments()
            state |= parts.chain_parts(jobs)
            late = jobs.late()
            worker, beat = parts.worker_and_beat(late)
        except DatabaseError:
            state["database"], jobs = "unreachable", None
    if jobs is None:
        state |= parts.chain_parts(None)
    broker = "unreachable" if parts.messages() is None else "ok"
    return {**state, "worker": worker, "beat": beat, "broker": broker, "late": late, "waiting": waiting}


def metrics(request: HttpRequest) -> HttpResponse:
    """Counts and figures for Prometheus."""
    from .metrics import metrics as answer  # Loaded only where it is wanted.

    return answer(request)


PROBES: dict[str, Callable[[HttpRequest], HttpResponse]] = {
    "/healthz": healthz,
    "/readyz": readyz,
    "/metrics": metrics,
}
