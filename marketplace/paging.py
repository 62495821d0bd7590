"""Pagination: the page size and the maximum length of a search."""

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

PER_PAGE = 24
SEARCH_MAX = 100


def page_of(request: HttpRequest, rows: QuerySet) -> Page:
    """Return the page named by `?page=`, or the nearest existing page."""
    return Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
