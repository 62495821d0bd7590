"""While the database does not answer, every page says "later" instead of "broken". Nothing here touches it.

What became of a payment in that moment is not known: the same one, sent again, finishes and never pays twice.
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
    """Middleware: a database that is down, restarting or held by somebody else is 503 with Retry-After."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """A session cookie that is none of ours never reaches the database, which refuses some characters."""
        session = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
        if session is not None and not (session.isascii() and session.isalnum()):
            del request.COOKIES[settings.SESSION_COOKIE_NAME]
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """None for any other error: that one is ours, and a 500."""
        if not isinstance(error, OperationalError | InterfaceError):
            return None
        log.error("the database does not answer: %s", error)
        replace_dead_connections()
        response: HttpResponse
        if "html" in request.META.get("HTTP_ACCEPT", ""):
            response = render(request, "503.html", status=503)
        else:
            told = {"error": "database_unavailable", "message": _SENTENCE, "charged": None}
            response = JsonResponse(told, status=503)
        response["Retry-After"] = str(http.RETRY_AFTER_SECONDS)
        return http.sealed(response)


def replace_dead_connections() -> None:
    """After one has failed: whatever else in this process's pool is dead costs no other request."""
    if pool := getattr(connection, "pool", None):
        pool.check()
