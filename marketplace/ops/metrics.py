"""/metrics for Prometheus: what this shop's web processes have counted, and the figures of the whole shop.

Loaded only when METRICS_TOKEN is set. Labels are few, and take their values from the code and never from a request.
"""

import time
from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from payments import http

from .figures import Figures

_KINDS = {"articles": "article", "api": "api", "webhooks": "webhook", "studio": "studio", "static": "static"}
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_counted = CollectorRegistry()
_latency = Histogram(
    "pennypress_request_seconds", "Time to answer a request", ["kind"], buckets=_SECONDS, registry=_counted
)
_answers = Counter("pennypress_requests", "Requests answered", ["kind", "status"], registry=_counted)
_refusals = Counter(
    "pennypress_refusals", "Refusals by their word (docs/errors.md)", ["status", "word"], registry=_counted
)


class Measured:
    """Middleware that times every request and counts its status and, when it is refused, the word of the refusal."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, and count."""
        began = time.perf_counter()
        response = self.get_response(request)
        kind = _KINDS.get(request.path_info.lstrip("/").partition("/")[0], "page")
        _latency.labels(kind).observe(time.perf_counter() - began)
        _answers.labels(kind, response.status_code).inc()
        if word := getattr(response, "refusal", ""):
            _refusals.labels(response.status_code, word).inc()
        return response


def metrics(request: HttpRequest) -> HttpResponse:
    """Everything that is counted, for whoever shows METRICS_TOKEN. Without the database only what processes counted."""
    if not constant_time_compare(http.bearer_token(request) or "", settings.METRICS_TOKEN):
        return HttpResponse(status=401, headers={"WWW-Authenticate": "Bearer"})
    shop = CollectorRegistry(auto_describe=False)
    shop.register(Figures())
    try:
        figures = generate_latest(shop)
    except DatabaseError:
        figures = b""
    return HttpResponse(generate_latest(_of_all_processes()) + figures, content_type=CONTENT_TYPE_LATEST)


def _of_all_processes() -> CollectorRegistry:
    """The counts of all web processes of gunicorn (gunicorn.conf.py); of this one alone under another server."""
    found = CollectorRegistry()
    try:
        MultiProcessCollector(found)
    except ValueError:
        return _counted
    return found
