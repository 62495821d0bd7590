"""What every page knows besides its own subject: whether cards are taken here, and whether this visitor has a purse."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from marketplace.reader.purse import owner_of


def cards(request: HttpRequest) -> dict[str, Any]:
    """Asks the database nothing for a visitor without a session cookie."""
    on = bool(settings.STRIPE_SECRET_KEY)
    return {"cards_on": on, "has_purse": on and bool(owner_of(request))}
