"""What is not found, and what went wrong: a page for people, JSON for agents."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from payments import http


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404. Nothing was sold: an article that is found is either sold or refused with a word of its own."""
    if _is_a_persons(request):
        return defaults.page_not_found(request, exception)
    return http.refusal(http.Problem(404, "not_found", "There is nothing at this address."))


def failed(request: HttpRequest) -> HttpResponse:
    """500: a defect. Whether money moved is unknown; the same request sent again finds out and never pays twice."""
    if _is_a_persons(request):
        return defaults.server_error(request)
    sentence = "Something went wrong here. Send the same request again. You will not be charged twice."
    return http.refusal(http.Problem(500, "internal_error", sentence, None))


def _is_a_persons(request: Any) -> bool:
    if request.path.startswith("/api/") or request.path.endswith((".json", ".md")):
        return False
    return "html" in request.META.get("HTTP_ACCEPT", "")
