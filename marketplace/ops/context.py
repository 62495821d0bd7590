"""Template context of every page: whether cards are on, and whether this visitor has a purse."""

from typing import Any

from django.http import HttpRequest

from marketplace.reader.purse import owner_of
from payments import cards as payments_cards


def cards(request: HttpRequest) -> dict[str, Any]:
    """Whether cards are on, and whether this visitor has a purse. No query without a session cookie."""
    on = payments_cards.enabled()
    return {"cards_on": on, "has_purse": on and bool(owner_of(request))}
