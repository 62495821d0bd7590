"""The purse rail: an API key (a bearer token, RFC 6750), or a person who pressed "buy", pays from a balance.

The money moves only in our books, so the claim's own commit decides the payment. The gate never waits for this rail.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from payments import cards, purses, quotes
from payments.books import accounts
from payments.models import OWNED, ApiKey, Debit, Payment, Purse
from payments.offers import Offer, Presented, Price
from payments.purses import api_keys, approvals

from .protocol import Asked, Known, RailRefused, Verified

EXTENSION = "prepaid-key"
_CHALLENGE = 'Bearer realm="pennypress"'


@dataclass(frozen=True, slots=True)
class Credential:
    """A request to spend from a purse: by an agent (with its API key), or by the person (`key` is None)."""

    purse: Purse
    key: ApiKey | None
    quote: str
    address: str
    user_agent: str


class PurseRail:
    """The purse rail. PURSE is its only instance."""

    name = purses.RAIL
    headers: tuple[str, ...] = ()
    from_balance = True
    # Its payments are decided when they are claimed: none is released or fails.
    reasons: Mapping[str, str] = {}

    @property
    def enabled(self) -> bool:
        """Whether cards are configured: only they can fill a purse."""
        return cards.enabled()

    def quote(self, offer: Offer, refused: str = "") -> Asked | None:
        """An extension that tells agents how to pay from a balance, and a challenge for the key. Not an x402 scheme."""
        if not self.enabled:
            return None
        info = {
            "header": "Authorization",
            "scheme": "Bearer",
            "amount": str(offer.price.amount_micros),
            "currency": "USD",
            "decimals": 6,
            "keys": f"{settings.BASE_URL}/purse/keys",
        }
        wrong = ', error="invalid_token"' if refused == api_keys.invalid().word else ""
        extension = {EXTENSION: {"info": info, "schema": {"type": "object"}}}
        return Asked(extensions=extension, authenticate=_CHALLENGE + wrong)

    def needs_quotable(self, presented: Presented) -> bool:
        """A key pays the price of now, and a person the one of the quote on the page."""
        return False

    def read(self, presented: Presented) -> Credential | None:
        """The API key or the session that pays. The key takes precedence; a session pays only if "buy" was pressed."""
        if not self.enabled:
            return None
        if presented.bearer is not None:
            key = api_keys.authenticate(presented.bearer)
            if key is None:
                raise _refused(api_keys.invalid())
            return Credential(key.purse, key, presented.quote, presented.address, presented.user_agent)
        if presented.purse and presented.spend:
            purse = Purse.objects.filter(id=presented.purse, joined_to=None).first()
            if purse:
                return Credential(purse, None, presented.quote, presented.address, presented.user_agent)
        return None

    def look_up(self, credential: Credential, offer: Offer) -> Known | None:
        """None: a key is no single-use proof. One live payment per buyer and article prevents a second charge."""
        return None

    def verify(self, credential: Credential, offer: Offer) -> Verified:
        """Check the key's publications and, unless the purse already owns the article, its limits. Writes nothing."""
        price, quote_secret = _promised(credential, offer)
        key, buyer = credential.key, _buyer(credential, offer)
        if key and not api_keys.allowed_payee(key, offer.payee):
            # The key must not open other publications, not even articles that its owner has bought.
            raise RailRefused("publication_not_allowed", "This API key is not allowed for this publication.")
        verified = Verified(self, offer, buyer, price, quote_secret, credential)
        if key and not _owned(verified):
            with _unless_bought_meanwhile(verified):
                api_keys.check_limits(key, offer.payee, price.amount_micros)
        return verified

    def prepare(self, credential: Credential, verified: Verified | None, payment: Payment | None) -> None:
        """Note that the key was used, and ask the owner of the purse to approve a purchase that needs it."""
        if credential.key is None:
            return
        api_keys.mark_used(credential.key)
        if verified and not _owned(verified):
            with _unless_bought_meanwhile(verified):
                approvals.require_approval(credential.key, verified.offer, verified.price.amount_micros)

    def bring_in(self, payment: Payment) -> bool:
        """A purse pays when it claims: nothing comes later."""
        return False

    def unclaimed(self, buyer: str, offer: Offer, transaction: str) -> None:
        """A purse's money is never without an owner."""

    def claim_unclaimed(self, buyer: str, offer: Offer, found: Any) -> None:
        """There is none."""

    def claim(self, verified: Verified, payment: Payment) -> None:
        """Take the money. Budget, balance, posting and grant commit together, in the caller's database transaction."""
        credential: Credential = verified.credential
        debit = Debit(
            payment=payment,
            purse=credential.purse,
            key=credential.key,
            title=verified.offer.title[:200],
            address=credential.address or None,
            user_agent=credential.user_agent[:200],
        )
        try:
            # The purse before the key, as in a refund: a fixed lock order prevents deadlocks.
            purses.sell(payment, debit)
            if credential.key:
                api_keys.spend(credential.key.id, payment)
        except purses.PurseRefused as refusal:
            raise _refused(refusal) from refusal

    def still_unspent(self, verified: Verified) -> bool:
        """True: a key and a session are never public, so the request comes from the buyer."""
        return True

    def arrived(self, payment: Payment) -> bool:
        """False: a payment from a balance is decided at once, so no money can arrive late."""
        return False

    def settlement(self, payment: Payment) -> dict[str, str]:
        """The purse as the payer, and the key of the sale in our books as the transaction."""
        sale = accounts.Kind.SALE.key(payment.id)
        return {"network": self.name, "payer": Purse.id_of(payment.buyer), "transaction": sale}

    def answer(self, shown: Mapping[str, str], settled: dict[str, Any]) -> dict[str, str]:
        """No headers: the receipt is enough."""
        return {}


PURSE = PurseRail()


def _buyer(credential: Credential, offer: Offer) -> str:
    """The purse's buyer name, or the name of a purse joined to it that already owns this article."""
    names = purses.buyers(credential.purse)
    if len(names) > 1:
        owned = Payment.objects.filter(buyer__in=names, resource=offer.resource, state__in=OWNED)
        return owned.values_list("buyer", flat=True).first() or names[0]
    return names[0]


def _promised(credential: Credential, offer: Offer) -> tuple[Price, str]:
    if not credential.quote:
        return offer.price, ""
    try:
        promised = quotes.read(credential.quote, offer)
    except quotes.QuoteRefused as refusal:
        raise RailRefused("invalid_quote", "The price shown was for a different article.") from refusal
    if promised.price.audience != offer.price.audience:
        raise RailRefused("invalid_quote", "The price shown was for a different format of this article.")
    if promised.expired:
        raise RailRefused("quote_expired", "The price has expired. Check the current price and try again.")
    return promised.price, promised.id


def _owned(verified: Verified) -> bool:
    bought = Payment.objects.filter(buyer=verified.buyer, resource=verified.offer.resource, state__in=OWNED)
    return bought.exists()


@contextmanager
def _unless_bought_meanwhile(verified: Verified) -> Iterator[None]:
    """Turn a refused limit into RailRefused, unless a concurrent request has just bought the article.

    That purchase may be what used up the approval or the budget. The buyer owns the article then, and must not be
    refused.
    """
    try:
        yield
    except purses.PurseRefused as refusal:
        if not _owned(verified):
            raise _refused(refusal) from refusal


def _refused(refusal: purses.PurseRefused) -> RailRefused:
    return RailRefused(refusal.word, refusal.sentence, approve_at=refusal.approve_at)
