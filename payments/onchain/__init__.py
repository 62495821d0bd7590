"""The chain: the client of the node, the settler, the watcher, and the records of what became of authorizations.

Only the settler signs. Other rooms reach the node only through this one.
"""

from django.conf import settings


def enabled() -> bool:
    """Whether this shop sells on a chain: CHAIN_RPC_URL and PAY_TO are configured."""
    return bool(settings.CHAIN_RPC_URL and settings.PAY_TO)
