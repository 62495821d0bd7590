"""System checks: a half-configured rail or an unsafe environment fails at start, not at the first payment.

The checks read the settings. They call neither the chain nor the card processor.
"""

import sys
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from payments.cards import enabled as cards_enabled
from payments.cards.checkout import FLOOR_CENTS
from payments.onchain import rpc

# For commands that need these checks and not those of every page.
TAG = "payments"
_LARGEST_RECURSION_LIMIT = 10_000
# gunicorn gives requests 15 seconds to end at a restart (graceful_timeout in gunicorn.conf.py).
_LONGEST_WAIT_SECONDS = 12
_BASE_SEPOLIA = 84532
_BASE_SEPOLIA_USDC = "0x036cbd53842c5426634e7929541ec2318f3dcf7e"


@register(TAG)
def exact_rail(**_: Any) -> list[CheckMessage]:
    """Check that the exact rail is fully configured or fully off, and that its token belongs to CHAIN_ID."""
    given = {"CHAIN_RPC_URL": settings.CHAIN_RPC_URL, "PAY_TO": settings.PAY_TO}
    missing = [name for name, value in given.items() if not value]
    if len(missing) == len(given):
        if cards_enabled():
            return []
        hint = "Set CHAIN_RPC_URL and PAY_TO, or STRIPE_SECRET_KEY."
        return [Warning("No payment method is configured.", hint=hint, id="payments.W001")]
    if missing:
        return [Error(f"The exact rail is half configured: {missing[0]} is missing.", id="payments.E001")]
    try:
        rpc.pay_to(), rpc.token()
    except ValueError as error:
        return [Error(f"PAY_TO or CHAIN_ASSET: {error}.", id="payments.E002")]
    if settings.CHAIN_ID != _BASE_SEPOLIA and settings.CHAIN_ASSET.lower() == _BASE_SEPOLIA_USDC:
        hint = "Set CHAIN_ASSET, CHAIN_ASSET_NAME and CHAIN_ASSET_VERSION for this chain."
        return [Error("CHAIN_ASSET is the token of another chain.", hint=hint, id="payments.E006")]
    return []


@register(TAG)
def cards(**_: Any) -> list[CheckMessage]:
    """Check that cards are fully configured or fully off, and that their amounts and time limits fit together."""
    if not cards_enabled():
        return []
    found: list[CheckMessage] = []
    for name in ("STRIPE_PUBLISHABLE_KEY", "STRIPE_WEBHOOK_SECRET"):
        if not getattr(settings, name):
            hint = "See docs/configuration.md."
            found.append(Warning(f"{name} is missing.", hint=hint, id="payments.W002"))
    if min([*settings.TOPUP_CENTS, settings.DIRECT_FROM_CENTS, settings.TAB_LIMIT_CENTS]) < FLOOR_CENTS:
        found.append(Error("No card can be charged less than 50 cents.", id="payments.E007"))
    if not 0 <= settings.TAB_FORGIVE_CENTS < FLOOR_CENTS:
        found.append(Error("TAB_FORGIVE_CENTS must be from 0 to 49.", id="payments.E010"))
    if settings.REFUND_FEE_PAID_BY not in ("buyer", "shop"):
        found.append(Error("REFUND_FEE_PAID_BY must be buyer or shop.", id="payments.E011"))
    if settings.CLEARING_HOLD_SECONDS <= settings.REFUND_SECONDS:
        hint = "Otherwise an article could be refunded after its publisher was paid."
        found.append(Error("CLEARING_HOLD_SECONDS must be longer than REFUND_SECONDS.", hint=hint, id="payments.E008"))
    return found


@register(TAG)
def amounts(**_: Any) -> list[CheckMessage]:
    """Check that the platform fee and the time limits of a payment are in range."""
    found: list[CheckMessage] = []
    if not 0 <= settings.PLATFORM_FEE_BASIS_POINTS < 10_000:
        found.append(Error("PLATFORM_FEE_BASIS_POINTS must be from 0 to 9999.", id="payments.E003"))
    if settings.PAYMENT_TIMEOUT_SECONDS <= settings.PAYMENT_MARGIN_SECONDS:
        found.append(Error("PAYMENT_TIMEOUT_SECONDS must be longer than PAYMENT_MARGIN_SECONDS.", id="payments.E004"))
    if settings.SETTLE_WAIT_SECONDS > _LONGEST_WAIT_SECONDS:
        hint = "Otherwise a restart of the web server would cut off requests that wait."
        found.append(Error("SETTLE_WAIT_SECONDS must be at most 12.", hint=hint, id="payments.E009"))
    return found


@register(TAG)
def recursion_limit(**_: Any) -> list[CheckMessage]:
    """Check the recursion limit: some chain libraries raise it so far that deeply nested JSON crashes the process."""
    if sys.getrecursionlimit() > _LARGEST_RECURSION_LIMIT:
        hint = "A dependency changed it; eth-account must stay below 0.14."
        return [Error("Python's recursion limit is too high to parse strangers' JSON.", hint=hint, id="payments.E005")]
    return []
