"""Database outages: pages answer 503 with Retry-After instead of 500.

The outcome of a payment during the outage is unknown. Sending the same payment again completes it and never pays twice.
"""

from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from payments import events, http, outages

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
        response = self.get_response(request)
        if outages.DATABASE.lasts and response.status_code != 503 and _answers():
            outages.DATABASE.answered()
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """503 for a database outage. None for any other error, which stays a 500."""
        if not isinstance(error, OperationalError | InterfaceError):
            return None
        outages.DATABASE.failed(error)
        replace_dead_connections()
        response: HttpResponse
        if "html" in request.META.get("HTTP_ACCEPT", ""):
            response = render(request, "503.html", status=503)
        else:
            told = {"error": "database_unavailable", "message": _SENTENCE, "charged": None}
            named = {"documentation": http.documentation(), "request_id": events.request_id.get()}
            response = JsonResponse(told | named, status=503)
        response.refusal = "database_unavailable"  # type: ignore[attr-defined]
        return http.sealed(http.later(response))


def _answers() -> bool:
    try:
        connection.ensure_connection()
        return connection.is_usable()
    except DatabaseError:
        return False


def replace_dead_connections() -> None:
    """Check the whole pool after one connection has failed, so that no other request gets a dead connection."""
    if pool := getattr(connection, "pool", None):
        pool.check()
