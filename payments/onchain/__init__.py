"""The chain: talking to the node, signing, settling, watching, and recording what became of an authorization."""

from django.conf import settings


def enabled() -> bool:
    """Whether this shop sells on a chain: its node and our address there are configured."""
    return bool(settings.CHAIN_RPC_URL and settings.PAY_TO)
