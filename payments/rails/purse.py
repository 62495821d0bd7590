"""The purse rail: an API key (a bearer token, RFC 6750), or a signed-in person who pressed "buy", pays from a balance.

Nothing moves outside our books, so a claim is decided in its own commit: there is no waiting and nothing to look up.
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
    """Who asks to spend from which purse: an agent with its key, or the person (and the quote they were shown)."""

    purse: Purse
    key: ApiKey | None
    quote: str
    address: str
    user_agent: str


class PurseRail:
    """The rail as an object; PURSE is the one there is."""

    name = purses.RAIL
    headers: tuple[str, ...] = ()
    from_balance = True

    @property
    def enabled(self) -> bool:
        """Purses are there when cards can fill them."""
        return cards.enabled()

    def quote(self, offer: Offer, refused: str = "") -> Asked | None:
        """Not an x402 scheme: an extension says how an agent pays from a balance, and a challenge asks for its key."""
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

    def read(self, presented: Presented) -> Credential | None:
        """A bearer token wins over a session; a session pays only when its person pressed the button."""
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
        """A key is no proof that could be spent: the payment's uniqueness per buyer and article is what counts."""
        return None

    def verify(self, credential: Credential, offer: Offer) -> Verified:
        """Check who asks and, unless the purse owns the article already, what the key may buy. Writes nothing."""
        price, quote_secret = _promised(credential, offer)
        key, buyer = credential.key, _buyer(credential, offer)
        if key and not api_keys.allowed_payee(key, offer.payee):
            # Not even what its owner has bought: a key is for these publications and no others.
            raise RailRefused("publication_not_allowed", "This key may not be used with this publication.")
        verified = Verified(self, offer, buyer, price, quote_secret, credential)
        if key and not _owned(verified):
            with _unless_bought_meanwhile(verified):
                api_keys.check_limits(key, offer.payee, price.amount_micros)
        return verified

    def prepare(self, credential: Credential, verified: Verified | None) -> None:
        """Note that the key was used, and ask its owner for an approval where the purchase needs one."""
        if credential.key is None:
            return
        api_keys.mark_used(credential.key)
        if verified and not _owned(verified):
            with _unless_bought_meanwhile(verified):
                approvals.require_approval(credential.key, verified.offer, verified.price.amount_micros)

    def claim(self, verified: Verified, payment: Payment) -> None:
        """Take the money, in the caller's transaction: budgets, balance, entry and grant stand or fall together."""
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
        """Whoever showed the key or the session is the buyer: nothing about it is public."""
        return True

    def arrived(self, payment: Payment) -> bool:
        """A payment from a balance has no money that could come after all."""
        return False

    def settlement(self, payment: Payment) -> dict[str, str]:
        """The purse as payer, and the entry in our books as the transaction."""
        sale = accounts.Kind.SALE.key(payment.id)
        return {"network": self.name, "payer": Purse.id_of(payment.buyer), "transaction": sale}

    def answer(self, shown: Mapping[str, str], settled: dict[str, Any]) -> dict[str, str]:
        """Nothing beside the receipt."""
        return {}


PURSE = PurseRail()


def _buyer(credential: Credential, offer: Offer) -> str:
    """The purse's name, or the one under which a purse that was joined to it has bought this very thing."""
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
        raise RailRefused("invalid_quote", "The price shown was not for this article.") from refusal
    if promised.price.audience != offer.price.audience:
        raise RailRefused("invalid_quote", "The price shown was for another form of this article.")
    if promised.expired:
        raise RailRefused("quote_expired", "The price shown has expired. Look at the price and buy again.")
    return promised.price, promised.id


def _owned(verified: Verified) -> bool:
    bought = Payment.objects.filter(buyer=verified.buyer, resource=verified.offer.resource, state__in=OWNED)
    return bought.exists()


@contextmanager
def _unless_bought_meanwhile(verified: Verified) -> Iterator[None]:
    """A limit refuses, unless another request of the same agent has bought the article just now.

    That purchase may be what used an approval or a budget up.
    """
    try:
        yield
    except purses.PurseRefused as refusal:
        if not _owned(verified):
            raise _refused(refusal) from refusal


def _refused(refusal: purses.PurseRefused) -> RailRefused:
    return RailRefused(refusal.word, refusal.sentence, approve_at=refusal.approve_at)
