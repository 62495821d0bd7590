"""The exact rail: x402's `exact` scheme on an EVM chain, by EIP-3009 authorizations, in protocol versions 1 and 2.

This rail only parses, checks and claims. The settler moves the money, from the rows that are claimed here. An EIP-3009
signature does not name an article, so the claim of (chain, token, payer, nonce) is what binds it to one.
"""

import re
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from payments import onchain, quotes
from payments.models import OWNED, Authorization, Payment, PaymentState, Transfer
from payments.offers import Offer, Presented, Price
from payments.onchain import eip3009, record, rpc, signatures, view

from . import arrived, exact_header, funds
from .exact_header import Credential
from .protocol import Asked, Known, OnTheWay, RailRefused, Unknowable, Verified, encoded

V1_NETWORKS = {8453: "base", 84532: "base-sepolia", 1: "ethereum", 137: "polygon", 43114: "avalanche"}
_ADDRESS = re.compile(r"0x[0-9a-f]{40}", re.ASCII)
_BYTES32 = re.compile(r"0x[0-9a-f]{64}", re.ASCII)


class Exact:
    """The exact rail. EXACT is its only instance."""

    name = "exact"
    headers: tuple[str, ...] = tuple(header for _, header in exact_header.HEADERS)
    from_balance = False
    reasons: Mapping[str, str] = {
        "insufficient_funds": "The wallet does not have enough funds.",
        "authorization_expired": "The authorization expired before it could be settled.",
        "authorization_used": arrived.USED,
        "transaction_simulation_failed": "The token contract refuses this payment.",
        "settlement_failed": "The payment failed on the chain. Sign a new one.",
    }

    @property
    def enabled(self) -> bool:
        """Whether the chain's settings are present."""
        return onchain.enabled()

    def quote(self, offer: Offer, refused: str = "") -> Asked | None:
        """The payment requirement for an offer, with a fresh quote; None while the rail is off."""
        if not self.enabled:
            return None
        promised = quotes.issue(offer)
        requirement = _requirement(promised)
        return Asked(accepts=requirement, accepts_v1=_in_version_1(requirement, offer), quote=promised.token)

    def needs_quotable(self, presented: Presented) -> bool:
        """Version 1 echoes no quote."""
        return "X-PAYMENT" in presented.headers

    def read(self, presented: Presented) -> Credential | None:
        """Parse the credential in the payment header of either version; None without one."""
        return exact_header.read(presented) if self.enabled else None

    def look_up(self, credential: Credential, offer: Offer) -> Known | None:
        """The payment that has claimed this authorization (chain, token, payer, nonce), or None."""
        claimed = Payment.objects.select_related("authorization").filter(
            authorization__chain_id=settings.CHAIN_ID,
            authorization__token=rpc.token(),
            authorization__payer=credential.payer,
            authorization__nonce=credential.nonce,
        )
        payment = claimed.first()
        if payment is None:
            return None
        quote = _quote(credential, offer)
        proven = quote is not None and quote.id == payment.quote
        repeated = (
            credential.version == 1 and bool(credential.source) and credential.source == payment.authorization.source
        )
        return Known(payment, _same(credential, payment), proven, repeated)

    def verify(self, credential: Credential, offer: Offer) -> Verified:
        """Check an unclaimed credential against an offer: terms, amount, validity period, signature. Writes nothing.

        A signature by the payer's own key costs no chain call. Any other costs two, to look for the payer's contract
        wallet and to ask it (EIP-1271). `proof` of the result is True when a contract wallet accepted the signature. A
        proof that is late, or whose money came before, costs a few more.
        """
        found = arrived.waiting(credential.payer, credential.nonce)
        price, quote = _promised(credential, offer)
        now = int(time.time())
        if credential.recipient != rpc.pay_to():
            raise _refused("recipient_mismatch", "The authorization pays a different recipient.")
        if credential.payer == credential.recipient:
            raise _refused("recipient_mismatch", "The shop's own wallet can't buy from the shop.")
        if credential.value != price.amount_micros:
            raise _refused("authorization_value_mismatch", "The authorization is not for the quoted amount.")
        if credential.valid_after > now:
            raise _refused("authorization_valid_after", "The authorization is not valid yet.")
        latest = now + settings.PAYMENT_TIMEOUT_SECONDS + settings.PAYMENT_SKEW_SECONDS
        if credential.valid_before > latest:
            raise _refused("authorization_valid_before", "The authorization is valid for longer than allowed.")
        by_contract = _is_by_contract(credential)
        if found:
            arrived.check(credential, quote, found)
        elif late := _too_late(credential, quote, now):
            arrived.refuse_late(credential, quote, late)
        quote_id = quote.id if quote else ""
        return Verified(self, offer, _buyer(credential), price, quote_id, credential, by_contract, bool(found))

    def prepare(self, credential: Credential, verified: Verified | None, payment: Payment | None) -> None:
        """Refuse what would fail, before anything is claimed: a payer without the money or who costs gas too often, an
        authorization that is spent or that failed before. Writes nothing.
        """
        if payment and (payment.state != PaymentState.RELEASED or self.arrived(payment)):
            return
        if verified and verified.arrived:
            return
        spent = funds.check(credential, _buyer(credential), self.reasons, _failures(credential))
        if spent and verified:
            arrived.check(credential, _quote(credential, verified.offer), None)
        elif payment and payment.authorization.wasted_at and spent:
            raise OnTheWay  # Somebody else has settled it after we failed.
        elif payment and payment.authorization.wasted_at:
            raise RailRefused("settlement_failed", self.reasons["settlement_failed"])

    def claim(self, verified: Verified, payment: Payment) -> None:
        """Write the authorization. Its unique (chain, token, payer, nonce) decides which of two requests was first."""
        credential: Credential = verified.credential
        Authorization.objects.create(
            payment=payment,
            chain_id=settings.CHAIN_ID,
            token=rpc.token(),
            payer=credential.payer,
            nonce=credential.nonce,
            recipient=credential.recipient,
            valid_after=credential.valid_after,
            valid_before=credential.valid_before,
            signature=credential.signature,
            contract_wallet=verified.proof,
            source=credential.source,
        )

    def bring_in(self, payment: Payment) -> bool:
        """Complete a payment whose transfer waits in suspense."""
        proof = payment.authorization
        return bool(arrived.waiting(proof.payer, proof.nonce)) and record.claim_received(proof.payer, proof.nonce)

    def unclaimed(self, buyer: str, offer: Offer, transaction: str) -> Transfer | None:
        """A transfer of this wallet that no payment has claimed. Raises Unknowable while the watcher is behind."""
        where, _, payer = buyer.rpartition(":")
        if not self.enabled or where != network() or not _ADDRESS.fullmatch(payer):
            return None
        if transaction and not _BYTES32.fullmatch(transaction):
            return None
        tx_hash = bytes.fromhex(transaction[2:]) if transaction else None
        found = arrived.unclaimed(bytes.fromhex(payer[2:]), offer, tx_hash)
        if found is None and not (tx_hash and Transfer.objects.filter(tx_hash=tx_hash).exists()):
            arrived.nothing_is_missing()
        return found

    def claim_unclaimed(self, buyer: str, offer: Offer, found: Transfer) -> Payment | None:
        """Make the payment for a transfer that waits, and complete it."""
        return arrived.claim(buyer, offer, found)

    def still_unspent(self, verified: Verified) -> bool:
        """Whether the authorization is unused on the chain, so that only the payer can know it. One chain call."""
        credential: Credential = verified.credential
        try:
            return not rpc.authorization_used(credential.payer, credential.nonce, view.head(view.scanned_to()))
        except (rpc.ChainUnreachable, rpc.CallReverted) as error:
            raise Unknowable from error

    def arrived(self, payment: Payment) -> bool:
        """Whether a transfer by this payment's authorization is on the chain, even if it was booked to suspense."""
        proof = payment.authorization
        seen = Transfer.objects.filter(sender=proof.payer, nonce=proof.nonce, orphaned_at=None)
        return seen.filter(recipient=proof.recipient, value=payment.amount_micros).exists()

    def settlement(self, payment: Payment) -> dict[str, str]:
        """The network, payer and settlement transaction of a paid payment, under x402's names."""
        transfer = payment.transfers.filter(orphaned_at=None).first()
        return {
            "network": network(),
            "payer": "0x" + payment.authorization.payer.hex(),
            "transaction": "0x" + transfer.tx_hash.hex() if transfer else "",
        }

    def answer(self, shown: Mapping[str, str], settled: dict[str, Any]) -> dict[str, str]:
        """The settlement in PAYMENT-RESPONSE (version 2) or X-PAYMENT-RESPONSE (version 1), to match the request."""
        if "PAYMENT-SIGNATURE" in shown:
            return {"PAYMENT-RESPONSE": encoded(settled)}
        if "X-PAYMENT" in shown and settled["network"] == network():
            return {"X-PAYMENT-RESPONSE": encoded({**settled, "network": _network_v1()})}
        return {}


EXACT = Exact()


def network() -> str:
    """The chain's CAIP-2 identifier."""
    return f"eip155:{settings.CHAIN_ID}"


def _in_version_1(requirement: dict[str, Any], offer: Offer) -> dict[str, Any]:
    """The same requirement in the form of protocol version 1."""
    return {
        "scheme": EXACT.name,
        "network": _network_v1(),
        "maxAmountRequired": requirement["amount"],
        "resource": offer.url,
        "description": offer.title,
        "mimeType": offer.mime_type,
        "payTo": requirement["payTo"],
        "maxTimeoutSeconds": requirement["maxTimeoutSeconds"],
        "asset": requirement["asset"],
        "extra": {key: requirement["extra"][key] for key in ("name", "version")},
    }


def _network_v1() -> str:
    return V1_NETWORKS.get(settings.CHAIN_ID, network())


def _requirement(promised: quotes.Quote) -> dict[str, Any]:
    return {
        "scheme": EXACT.name,
        "network": network(),
        "amount": str(promised.price.amount_micros),
        "asset": settings.CHAIN_ASSET,
        "payTo": settings.PAY_TO,
        "maxTimeoutSeconds": settings.PAYMENT_TIMEOUT_SECONDS,
        "extra": {
            "name": settings.CHAIN_ASSET_NAME,
            "version": settings.CHAIN_ASSET_VERSION,
            "quote": promised.token,
        },
    }


def _quote(credential: Credential, offer: Offer) -> quotes.Quote | None:
    """The quote that a credential echoes for an offer, expired or not; None without a valid one."""
    try:
        return quotes.read(credential.echoed_quote, offer)
    except quotes.QuoteRefused:
        return None


def _buyer(credential: Credential) -> str:
    """The payer's name in payments and grants (CAIP-10)."""
    return f"{network()}:0x{credential.payer.hex()}"


def _same(credential: Credential, payment: Payment) -> bool:
    """Whether a credential equals the claimed one in every field, and not only in its nonce."""
    known = payment.authorization
    return (
        known.signature == credential.signature
        and known.valid_after == credential.valid_after
        and known.valid_before == credential.valid_before
        and known.recipient == credential.recipient
        and payment.amount_micros == credential.value
    )


def _promised(credential: Credential, offer: Offer) -> tuple[Price, quotes.Quote | None]:
    """The price that the client was quoted, and the quote (None in version 1)."""
    mismatch = RailRefused("no_matching_requirements", "The payment does not match the terms offered here.")
    if credential.scheme != EXACT.name:
        raise RailRefused("unsupported_scheme", "Only the scheme `exact` is accepted here.")
    if credential.accepted is None:
        if credential.network not in (network(), V1_NETWORKS.get(settings.CHAIN_ID)):
            raise RailRefused("invalid_network", "The payment is for a different network.")
        # Version 1 echoes no quote, so any price that an unexpired quote can name is honoured.
        for price in (offer.price, *offer.quotable):
            if price.amount_micros == credential.value:
                return price, None
        raise _refused("authorization_value_mismatch", "The authorization is not for the quoted amount.")
    if credential.network != network():
        raise RailRefused("invalid_network", "The payment is for a different network.")
    promised = _quote(credential, offer)
    if promised is None:
        raise mismatch
    asked, accepted = _requirement(promised), credential.accepted.model_dump(by_alias=True)
    for key in ("asset", "payTo"):
        asked[key], accepted[key] = asked[key].lower(), accepted[key].lower()
    if asked != accepted:
        raise mismatch
    return promised.price, promised


def _too_late(credential: Credential, quote: quotes.Quote | None, now: int) -> RailRefused | None:
    """The refusal of a proof whose time is over, if its money did not move in time."""
    if quote and quote.expired:
        return RailRefused("quote_expired", "The quote has expired. Request the current price.")
    if credential.valid_before < now + settings.PAYMENT_MARGIN_SECONDS:
        return _refused("authorization_valid_before", "The authorization has expired or is about to expire.")
    return None


def _is_by_contract(credential: Credential) -> bool:
    """Whether a contract wallet accepts the signature; False when the payer's own key made it.

    Raises RailRefused when the signature is invalid, or Unknowable when the wallet cannot be asked.
    """
    digest = eip3009.digest(
        credential.payer,
        credential.recipient,
        value=credential.value,
        valid_after=credential.valid_after,
        valid_before=credential.valid_before,
        nonce=credential.nonce,
    )
    signer = signatures.signer_of(credential.payer, digest, credential.signature, credential.source)
    if signer is None and credential.wrapped:
        raise _refused("undeployed_smart_wallet", "The smart wallet is not deployed yet, or it refuses the signature.")
    if signer is None:
        raise _refused("signature", "The signature does not match the payer.")
    return signer is signatures.Signer.CONTRACT


def _failures(credential: Credential) -> int:
    """How many transactions of ours this payer has made to fail within the hour. We paid their gas."""
    hour_ago = timezone.now() - timedelta(hours=1)
    wasted = Authorization.objects.filter(payer=credential.payer, wasted_at__gt=hour_ago)
    # A payment that arrived all the same does not count: another sender settled it before our transaction.
    return wasted.exclude(payment__state__in=OWNED).count()


def _refused(what: str, sentence: str) -> RailRefused:
    return RailRefused(f"invalid_exact_evm_payload_{what}", sentence)
