"""Card money: charges, hosted pages, tabs, refunds, disputes, and reconciliation with the processor's books."""

from django.conf import settings


def enabled() -> bool:
    """Whether cards are taken here, and so whether anybody can have a balance."""
    return bool(settings.STRIPE_SECRET_KEY)
