"""The catalogue as unpaid requests see it: a listing kept for at most a second, and dropped when anything changes.

It is stale for a notification's travel time at most. That is harmless: a quote of the last price is honoured for its
whole life. Requests that pay never come here.
"""

import time

from payments import waiters
from publishers.articles import catalogue
from publishers.articles.catalogue import Listing

_SECONDS = 1.0
_MAX = 1000
_kept: dict[str, tuple[int, float, Listing]] = {}


def find(slug: str) -> Listing | None:
    """The listing of an article that is or was on sale."""
    generation, now = waiters.generation(), time.monotonic()
    if (kept := _kept.get(slug)) and kept[0] == generation and now < kept[1]:
        return kept[2]
    listing = catalogue.find(slug, include_withdrawn=True)
    if listing:
        if len(_kept) >= _MAX:
            _kept.clear()
        _kept[slug] = (generation, now + _SECONDS, listing)
    return listing
