"""Play money: whether cards and wallets pay in test mode. The settings alone decide; nothing here changes a payment."""

from django.conf import settings

# The test networks of the chains that have USDC, and the usual ids of local chains. Any other chain counts as real:
# to call real money play money is the worse mistake.
_TEST_CHAINS = frozenset((1337, 31337, 11155111, 84532, 421614, 11155420, 80002, 43113, 4801, 59141, 300, 1301, 44787))


def by_card() -> bool:
    """Whether cards are on and charge nobody: a test key of the processor, or a stand-in for it."""
    return bool(settings.STRIPE_SECRET_KEY) and ("_test_" in settings.STRIPE_SECRET_KEY or settings.STRIPE_STAND_IN)


def on_chain() -> bool:
    """Whether wallets pay on a network whose tokens are worth nothing."""
    return bool(settings.CHAIN_RPC_URL and settings.PAY_TO) and settings.CHAIN_ID in _TEST_CHAINS


def paid(rail: str) -> bool:
    """Whether the payments of this rail are play money."""
    return by_card() if rail == "purse" else on_chain()
