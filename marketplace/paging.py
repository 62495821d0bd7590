"""Lists on several pages: how many rows one shows, and how long a search may be."""

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

PER_PAGE = 24
SEARCH_MAX = 100


def page_of(request: HttpRequest, rows: QuerySet) -> Page:
    """The page that `?page=` asks for; the nearest one when there is none of that number."""
    return Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
