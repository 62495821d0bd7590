"""Database outages: pages answer 503 with Retry-After instead of 500.

The outcome of a payment during the outage is unknown. Sending the same payment again completes it and never pays twice.
"""

import logging
from collections.abc import Callable

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from payments import http

log = logging.getLogger(__name__)
_SENTENCE = "The shop is temporarily unavailable. Send the same request again. You will not be charged twice."


class Outage:
    """Middleware that answers 503 while the database is down, restarting or locked by another process."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Drop a malformed session cookie before it reaches the database, which rejects some characters."""
        session = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
        if session is not None and not (session.isascii() and session.isalnum()):
            del request.COOKIES[settings.SESSION_COOKIE_NAME]
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """503 for a database outage. None for any other error, which stays a 500."""
        if not isinstance(error, OperationalError | InterfaceError):
            return None
        log.error("the database does not answer: %s", error)
        replace_dead_connections()
        response: HttpResponse
        if "html" in request.META.get("HTTP_ACCEPT", ""):
            response = render(request, "503.html", status=503)
        else:
            told = {"error": "database_unavailable", "message": _SENTENCE, "charged": None}
            response = JsonResponse(told | {"documentation": http.documentation()}, status=503)
        response["Retry-After"] = str(http.RETRY_AFTER_SECONDS)
        return http.sealed(response)


def replace_dead_connections() -> None:
    """Check the whole pool after one connection has failed, so that no other request gets a dead connection."""
    if pool := getattr(connection, "pool", None):
        pool.check()
