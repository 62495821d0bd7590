"""The addresses of forms, opened as pages: what a browser does on a reload, with a bookmark or out of its history."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve

from marketplace.reader.card_pages import SeeOther


def lead_to_the_page(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware that sends a browser from an address that only takes forms to the page above it. Agents get the 405.

    This holds for every URL, because the address of a form is below that of the page it belongs to: from
    /purse/cards/7 to /purse/cards, and from there to /purse.
    """

    def checked(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        opened = response.status_code == 405 and request.method in ("GET", "HEAD")
        if opened and "html" in request.META.get("HTTP_ACCEPT", ""):
            return SeeOther(_page_above(request.path_info))
        return response

    return checked


def _page_above(path: str) -> str:
    """The nearest address above this one that exists."""
    while path := path.rstrip("/").rpartition("/")[0]:
        for spelling in (path, f"{path}/"):
            try:
                resolve(spelling)
            except Resolver404:
                continue
            return spelling
    return "/"
