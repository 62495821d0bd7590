"""What every page knows besides its own subject: whether cards are taken here, and whether this visitor has a purse."""

from typing import Any

from django.http import HttpRequest

from marketplace.reader.purse import owner_of
from payments import cards as payments_cards


def cards(request: HttpRequest) -> dict[str, Any]:
    """Asks the database nothing for a visitor without a session cookie."""
    on = payments_cards.enabled()
    return {"cards_on": on, "has_purse": on and bool(owner_of(request))}
