"""Card money: charges, hosted pages, tabs, refunds, disputes, and reconciliation with the processor's books."""

from django.conf import settings


def enabled() -> bool:
    """Whether this site takes cards, and so whether buyers can have a balance."""
    return bool(settings.STRIPE_SECRET_KEY)
