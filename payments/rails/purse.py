"""The purse rail: an agent's bearer key (RFC 6750), or a signed-in person who pressed "buy", pays from a balance.

Nothing moves outside our books, so a claim is decided in its own commit: there is no waiting and nothing to look up.
"""

import re
import sys
from dataclasses import dataclass

from django.conf import settings

from payments import purses, quotes
from payments.books import accounts
from payments.models import OWNED, ApiKey, Debit, Payment, Purse
from payments.offers import Offer, Presented, Price
from payments.purses import api_keys

from . import RailRefused, Verified

name = "purse"
EXTENSION = "prepaid-key"
_BEARER = re.compile(r"bearer +([!-~]{1,100})", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Credential:
    """Who asks to spend from which purse: an agent with its key, or the person (and the quote they were shown)."""

    purse: Purse
    key: ApiKey | None
    quote: str
    address: str
    user_agent: str


def enabled() -> bool:
    """Purses are there when cards can fill them."""
    return bool(settings.STRIPE_SECRET_KEY)


def quote(offer: Offer) -> dict | None:
    """Not an x402 scheme: the purse is offered beside the terms (`advertisement`), never among them."""
    return None


def advertisement(offer: Offer) -> dict:
    """The entry among a 402's extensions that says how an agent pays from a person's purse."""
    if not enabled():
        return {}
    info = {
        "header": "Authorization",
        "scheme": "Bearer",
        "amount": str(offer.price.amount_micros),
        "currency": "USD",
        "decimals": 6,
        "keys": f"{settings.BASE_URL}/purse/keys",
    }
    return {EXTENSION: {"info": info, "schema": {"type": "object"}}}


def read(presented: Presented) -> Credential | None:
    """A bearer key wins over a session; a session pays only when its person pressed the button."""
    if not enabled():
        return None
    if presented.authorization:
        key = key_of(presented.authorization)
        if key is None:
            raise _refused(api_keys.invalid())
        return Credential(key.purse, key, presented.quote, presented.address, presented.user_agent)
    if presented.purse and presented.spend:
        purse = Purse.objects.filter(id=presented.purse, joined_to=None).first()
        if purse:
            return Credential(purse, None, presented.quote, presented.address, presented.user_agent)
    return None


def key_of(authorization: str) -> ApiKey | None:
    """The live key in an Authorization header, or None."""
    match = _BEARER.fullmatch(authorization)
    return api_keys.known(match[1]) if match else None


def is_bearer(authorization: str) -> bool:
    """Whether an Authorization header is meant for us: whoever shows another scheme's shows us nothing."""
    return authorization.partition(" ")[0].lower() == "bearer"


def _refused(refusal: purses.Refused) -> RailRefused:
    return RailRefused(refusal.word, refusal.sentence, approve_at=refusal.approve_at)


def look_up(credential: Credential) -> Payment | None:
    """A key is no proof that could be spent: the payment's uniqueness per buyer and article is what counts."""
    return None


def same_proof(credential: Credential, payment: Payment) -> bool:
    """Never asked, because nothing is ever looked up."""
    return True


def quote_id(credential: Credential, offer: Offer) -> str:
    """The secret of the quote that came along; empty when none did."""
    try:
        return quotes.read(credential.quote, offer).id
    except quotes.QuoteRefused:
        return ""


def verify(credential: Credential, offer: Offer) -> Verified:
    """Check who asks and, unless the purse owns the article already, what the key may buy.

    Writes nothing but the request for a person's approval, which moves nothing.
    """
    price, quote_secret = _promised(credential, offer)
    key, buyer = credential.key, _buyer(credential, offer)
    if key and not api_keys.allowed_payee(key, offer.payee):
        # Not even what its person owns: a key is for these publications and no others.
        raise RailRefused("publication_not_allowed", "This API key is not allowed for this publication.")
    verified = Verified(sys.modules[__name__], buyer, price, quote_secret, credential)
    owned = Payment.objects.filter(buyer=buyer, resource=offer.resource, state__in=OWNED)
    if key and not owned.exists():
        try:
            api_keys.permit(key, offer, price.amount_micros)
        except purses.Refused as refusal:
            # Another request of the same agent may have bought it, and used a yes or a budget up, just now.
            if not owned.exists():
                raise _refused(refusal) from refusal
    return verified


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
        raise RailRefused("invalid_quote", "The price shown was for a different article.") from refusal
    if promised.price.audience != offer.price.audience:
        raise RailRefused("invalid_quote", "The price shown was for a different format of this article.")
    if promised.expired:
        raise RailRefused("quote_expired", "The price has expired. Check the current price and try again.")
    return promised.price, promised.id


def claim(verified: Verified, payment: Payment) -> None:
    """Take the money, in the caller's transaction: budgets, balance, entry and grant stand or fall together."""
    credential: Credential = verified.credential
    debit = Debit(
        payment=payment,
        purse=credential.purse,
        key=credential.key,
        title=verified.title[:200],
        address=credential.address or None,
        user_agent=credential.user_agent[:200],
    )
    try:
        # The purse before the key, as when an article is given back: two of them in opposite order would block.
        purses.sell(payment, debit)
        if credential.key:
            api_keys.spend(credential.key.id, payment)
    except purses.Refused as refusal:
        raise _refused(refusal) from refusal


def still_unspent(verified: Verified) -> bool:
    """Who showed the key or the session is the buyer: nothing about it is public."""
    return True


def arrived(payment: Payment) -> bool:
    """A purse's payment has no money that could come after all."""
    return False


def receipt(payment: Payment) -> dict[str, str]:
    """The purse as payer, and the entry in our books as the transaction."""
    return {"network": name, "payer": Purse.id_of(payment.buyer), "transaction": accounts.Kind.SALE.key(payment.id)}
