"""One clock for a person: every page of one browser shows times in one zone."""

import zoneinfo
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

# Set by marketplace/times.js, which knows the zone of the browser.
COOKIE = "zone"
_ZONES = zoneinfo.available_timezones()


def in_the_browsers_zone(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware that makes the browser's zone the current one while its request is answered.

    Templates, forms and the mail that a request sends then write times in it. Without a known zone it stays UTC.
    """

    def checked(request: HttpRequest) -> HttpResponse:
        name = request.COOKIES.get(COOKIE, "")
        if name not in _ZONES:
            return get_response(request)
        with timezone.override(zoneinfo.ZoneInfo(name)):
            return get_response(request)

    return checked
