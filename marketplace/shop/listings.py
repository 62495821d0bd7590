"""The listing cache for unpaid requests. An entry lives for at most a second and is dropped on any change.

A listing is stale for at most the travel time of a notification. That is harmless, because a quote at the previous
price is honored until it expires. Requests with a payment or proof bypass the cache.
"""

import time

from payments import waiters
from publishers.articles import catalogue
from publishers.articles.catalogue import Listing

_SECONDS = 1.0
_MAX = 1000
_kept: dict[str, tuple[int, float, Listing]] = {}


def find(slug: str) -> Listing | None:
    """Return the listing of an article that is or was for sale, or None."""
    generation, now = waiters.generation(), time.monotonic()
    if (kept := _kept.get(slug)) and kept[0] == generation and now < kept[1]:
        return kept[2]
    listing = catalogue.find(slug, include_withdrawn=True)
    if listing:
        if len(_kept) >= _MAX:
            _kept.clear()
        _kept[slug] = (generation, now + _SECONDS, listing)
    return listing
