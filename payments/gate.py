"""The gate: the one door for money. Every page, format and agent is admitted here and nowhere else.

`verify` checks and writes nothing, the caller renders the article, `settle` claims the proof and waits for the rail to
move the money, and the caller sends the page. A claim has four outcomes: fresh (this request's own payment), replayed
(the proof has already paid for this article), in flight (the outcome is not known yet) and foreign (the proof was spent
on something else). The gate never sees HTTP or an article.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from payments.models import LIVE, OPEN, OWNED, Grant, Payment, PaymentState, Purse
from payments.proofs import receipts, wallets
from payments.rails import RAILS, named
from payments.rails.protocol import (
    AlreadySettled,
    Asked,
    Known,
    OnTheWay,
    Rail,
    RailRefused,
    Shown,
    Unknowable,
    Verified,
)

from . import notify, waiters
from .denials import REFUSALS, AlreadyPaid, CannotSay, PaymentInFlight, PaymentMalformed, PaymentRequired
from .offers import Offer, Presented
from .places import Full, source_of

__all__ = [
    "REFUSALS",
    "Admission",
    "Admitted",
    "AlreadyPaid",
    "CannotSay",
    "PaymentInFlight",
    "PaymentMalformed",
    "PaymentRequired",
    "asked",
    "receipt_of",
    "verify",
]


@dataclass(frozen=True, slots=True)
class Admitted:
    """An admitted request: the caller may serve the article now.

    `proven` means that the request showed something only the buyer has, so it may get a receipt. A version 1 header
    that its client repeats proves nothing: the chain has published it.
    """

    grant: Grant
    payment: Payment
    proven: bool

    def settlement(self) -> dict[str, str]:
        """The payment's network, payer and transaction, under x402's names."""
        return named(self.payment.rail).settlement(self.payment)

    def receipt(self, offer: Offer) -> str:
        """The signed receipt, which opens the article again without a payment."""
        told = self.settlement()
        return receipts.issue(receipts.Receipt(offer.url, told["payer"], told["network"], told["transaction"]))


class _Unclaimed(NamedTuple):
    """Money that no payment has claimed, and the buyer who has proven that it is theirs."""

    rail: Rail
    buyer: str
    money: Any
    # A receipt of ours says that it was paid for this article.
    was_sold: bool


@dataclass
class Admission:
    """The result of `verify`. The caller renders the page, then calls `settle` to be admitted.

    An admission carries a grant (the buyer owns the article), a payment (the proof is already claimed) or a verified
    proof that is still unclaimed. `shown` is the credential that the request paid with, and its rail.
    """

    offer: Offer
    grant: Grant | None = None
    payment: Payment | None = None
    verified: Verified | None = None
    proven: bool = True
    shown: Shown | None = None
    # Without a quote to prove it: the same client as the first time, within REPLAY_SECONDS.
    repeated: bool = False
    # Money of this buyer that waits for a payment, and the rail that has it.
    unclaimed: _Unclaimed | None = None
    # Whom the limits on waiting count the request for.
    source: str = ""

    @property
    def sells(self) -> bool:
        """Whether `settle` would sell: for a fresh proof, a released payment that is retried, or money that waits."""
        if self.verified is not None or (self.unclaimed is not None and not self.unclaimed.was_sold):
            return True
        return self.payment is not None and self.payment.state == PaymentState.RELEASED

    @property
    def version(self) -> int:
        """The version of the article that the buyer owns or would buy."""
        bought = self.grant or self.payment
        return bought.version if bought else self.offer.version

    def settle(self) -> Admitted:
        """Move the money once, or find that it has already moved. Idempotent.

        Raises PaymentRequired (the buyer was not charged, unless its `charged` is None), PaymentInFlight (the outcome
        is not known yet) or AlreadyPaid.
        """
        if self.grant:
            return Admitted(self.grant, self.grant.payment, proven=True)
        self._prepare()
        payment = self.payment or self._claim_unclaimed() or self._claim()
        # Of a fresh proof it is known whether its money came before.
        may_have_come = self.verified.arrived if self.verified else payment.state not in OWNED
        if may_have_come and named(payment.rail).bring_in(payment):
            payment.refresh_from_db()
        if payment.state == PaymentState.RELEASED:
            payment = self._claim_again(payment)
        if payment.state in OPEN:
            payment = _wait(payment, self.source)
        if payment.state in OWNED:
            if not self.proven and not self.repeated:
                raise AlreadyPaid
            grant = payment.grants.filter(revoked_at=None).first()
            if grant is None:
                raise PaymentInFlight  # A reorganisation reversed the payment between the two queries.
            return Admitted(grant, payment, self.proven)
        if named(payment.rail).arrived(payment):
            raise AlreadyPaid  # The money arrived late: the buyer owned the article by another payment.
        sentence = named(payment.rail).reasons.get(payment.reason, "The payment did not succeed.")
        raise PaymentRequired(self.offer, payment.reason, sentence)

    def _prepare(self) -> None:
        if not self.shown:
            return
        try:
            self.shown.rail.prepare(self.shown.credential, self.verified, self.payment)
        except AlreadySettled as error:
            if not self._claimed_meanwhile():
                raise AlreadyPaid(charged=error.charged) from error
        except OnTheWay as error:
            raise PaymentInFlight from error
        except (RailRefused, Unknowable) as refusal:
            claimed = self.verified or self.payment
            if claimed and (live := _live(claimed.buyer, self.offer)) and live != self.payment:
                # The buyer has paid, or is paying, with another proof: that one decides.
                if self.payment:
                    return
                raise PaymentInFlight from refusal
            if isinstance(refusal, RailRefused):
                raise _refused(refusal, self.offer) from refusal
            raise CannotSay from refusal

    def _claim_unclaimed(self) -> Payment | None:
        if self.unclaimed is None:
            return None
        rail, buyer, money, _ = self.unclaimed
        if payment := rail.claim_unclaimed(buyer, self.offer, money):
            return payment
        raise PaymentInFlight

    def _claim(self) -> Payment:
        """Write the claim before any money moves (fresh), or return the payment that was claimed first."""
        verified, offer = self.verified, self.offer
        if verified is None:
            raise TypeError("an admission without proof cannot claim")
        payment = Payment(
            rail=verified.rail.name,
            buyer=verified.buyer,
            resource=offer.resource,
            version=offer.version,
            payee=offer.payee,
            audience=verified.price.audience,
            price_id=verified.price.id,
            amount_micros=verified.price.amount_micros,
            quote=verified.quote_id,
        )
        try:
            with transaction.atomic(durable=True):
                payment.save(force_insert=True)
                verified.rail.claim(verified, payment)
                notify.send()
        except RailRefused as refusal:
            raise _refused(refusal, offer) from refusal
        except IntegrityError as error:
            # Another request claimed first: with a copy of this proof, or with another payment by this buyer.
            if claimed := self._claimed_meanwhile():
                return claimed
            if live := _live(verified.buyer, offer):
                _unspent(verified)
                return live
            raise PaymentInFlight from error  # The other payment closed meanwhile: a retry decides.
        return payment

    def _claimed_meanwhile(self) -> Payment | None:
        """The payment of a request that has claimed this proof since it was verified here."""
        if self.verified is None:
            return None
        known = self.verified.rail.look_up(self.verified.credential, self.offer)
        if known is None:
            return None
        _not_foreign(known, self.offer)
        self.payment, self.proven, self.repeated = known.payment, known.proven, known.repeated
        return known.payment

    def _claim_again(self, payment: Payment) -> Payment:
        """Retry a released payment with the same proof: no transaction of ours is pending and no money has moved."""
        try:
            with transaction.atomic(durable=True):
                released = Payment.objects.filter(id=payment.id, state=PaymentState.RELEASED)
                released.update(state=PaymentState.CLAIMED, reason="", decided_at=None, claimed_at=timezone.now())
                notify.send()
        except IntegrityError as error:
            # The buyer has paid, or is paying, with another proof. This proof may have been in a failed transaction of
            # ours and would then be public: on its own it does not show that the buyer sent the request.
            live = _live(payment.buyer, self.offer)
            if live is None or (not self.proven and live.state in OPEN):
                raise PaymentInFlight from error
            if not self.proven:
                raise AlreadyPaid from error
            return live
        payment.refresh_from_db()
        return payment


def asked(offer: Offer, refused: str = "") -> list[Asked]:
    """What each rail asks for an offer now, with fresh quotes. `refused` is the word of a preceding refusal, if any."""
    return [said for rail in RAILS if (said := rail.quote(offer, refused))]


def receipt_of(grant: Grant, offer: Offer) -> str:
    """The signed receipt of a grant. The caller must have checked that the request comes from the buyer."""
    return Admitted(grant, grant.payment, proven=True).receipt(offer)


def verify(presented: Presented, offer: Offer) -> Admission:
    """Check the proofs that a request presents for an offer, cheapest checks first. Writes nothing.

    Raises PaymentRequired, PaymentMalformed or AlreadyPaid; CannotSay when a fact that decides cannot be read, so
    nothing is charged; PaymentInFlight when an earlier payment by this buyer may have been charged.
    """
    source = source_of(presented.address)
    try:
        if entitled := _entitled(presented, offer):
            return entitled
        rail, credential = shown = _addressed(presented, offer)
        if known := rail.look_up(credential, offer):
            return _again(known, shown, offer, source)
        verified = rail.verify(credential, offer)
        if payment := _live(verified.buyer, offer):
            # The buyer already has, or is buying, this article: settling a second signature would charge twice.
            _unspent(verified)
            return Admission(offer, payment=payment, shown=shown, source=source)
    except RailRefused as refusal:
        if refusal.malformed:
            raise PaymentMalformed(refusal.word, refusal.sentence) from refusal
        raise _refused(refusal, offer) from refusal
    except AlreadySettled as error:
        raise AlreadyPaid(charged=error.charged) from error
    except OnTheWay as error:
        raise PaymentInFlight from error
    except Unknowable as error:
        raise CannotSay from error
    return Admission(offer, verified=verified, shown=shown, source=source)


def _refused(refusal: RailRefused, offer: Offer) -> PaymentRequired:
    error = PaymentRequired(offer, refusal.word, refusal.sentence)
    error.approve_at = refusal.approve_at
    return error


def _addressed(presented: Presented, offer: Offer) -> Shown:
    """The rail that the request pays by, and the credential that the rail read."""
    for rail in RAILS:
        if credential := rail.read(presented):
            return Shown(rail, credential)
    raise PaymentRequired(offer)


def _entitled(presented: Presented, offer: Offer) -> Admission | None:
    """What the request's session, receipt, wallet proof or purse opens without a payment.

    A receipt or a wallet without a grant may have money here that no payment has claimed: paid before a backup was
    restored, or by the wallet itself.
    """
    grants = Grant.objects.select_related("payment__authorization").filter(resource=offer.resource, revoked_at=None)
    if presented.grants and (grant := grants.filter(id__in=presented.grants).first()):
        return Admission(offer, grant=grant)
    if presented.receipt and (told := receipts.read(presented.receipt)) and told.resource_url == offer.url:
        return _of_buyer(f"{told.network}:{told.payer}".lower(), offer, told.transaction.lower())
    if presented.wallet_proof:
        buyer = wallets.proven(presented.wallet_proof, offer, source_of(presented.address))
        if buyer:
            return _of_buyer(buyer, offer)
    if presented.purse and presented.bearer is None:
        grant = grants.filter(buyer=Purse.buyer_of(presented.purse)).first()
        return Admission(offer, grant=grant) if grant else None
    return None


def _of_buyer(buyer: str, offer: Offer, transaction: str = "") -> Admission | None:
    """What a buyer who has shown who they are has bought, or has paid for without a payment."""
    grants = Grant.objects.select_related("payment__authorization").filter(resource=offer.resource, revoked_at=None)
    if grant := grants.filter(buyer=buyer).first():
        return Admission(offer, grant=grant)
    if _live(buyer, offer):
        return None
    for rail in RAILS:
        if money := rail.unclaimed(buyer, offer, transaction):
            return Admission(offer, unclaimed=_Unclaimed(rail, buyer, money, bool(transaction)))
    return None


def _again(known: Known, shown: Shown, offer: Offer, source: str) -> Admission:
    """The admission of a proof that is already claimed (replayed or in flight), without a second charge.

    The request must carry the quote that was paid: the header is public, the quote is not. Where the protocol has no
    quote, the client that paid may repeat its header within REPLAY_SECONDS. The answer is never a false "not charged".
    """
    _not_foreign(known, offer)
    payment = known.payment
    recently = timezone.now() - timedelta(seconds=settings.REPLAY_SECONDS)
    settled_just_now = payment.decided_at is not None and payment.decided_at > recently
    repeated = known.repeated and (payment.state not in OWNED or settled_just_now)
    if payment.state in OWNED and not known.proven and not repeated:
        raise AlreadyPaid
    return Admission(offer, payment=payment, proven=known.proven, repeated=repeated, shown=shown, source=source)


def _not_foreign(known: Known, offer: Offer) -> None:
    """Refuse a foreign claim: the proof was claimed for another article, or another proof has the same nonce."""
    if known.payment.resource != offer.resource or not known.same:
        sentence = "This authorization was used for something else. It can't pay for this article."
        raise PaymentRequired(offer, "authorization_spent_elsewhere", sentence, charged=None)


def _live(buyer: str, offer: Offer) -> Payment | None:
    return (
        Payment.objects.select_related("authorization")
        .filter(buyer=buyer, resource=offer.resource, state__in=LIVE)
        .first()
    )


def _unspent(verified: Verified) -> None:
    """Refuse an authorization that is already on the chain and so public. Only the payer can know an unused one."""
    try:
        unspent = verified.rail.still_unspent(verified)
    except Unknowable as error:
        raise PaymentInFlight from error  # Not CannotSay: the first signature may have charged the buyer.
    if not unspent:
        raise AlreadyPaid(charged=None)


def _wait(payment: Payment, source: str) -> Payment:
    """Wait a bounded time for a payment to be decided. Only the database says whether it was, never a notification."""
    try:
        waiters.until_decided(payment.id, settings.SETTLE_WAIT_SECONDS, source)
    except Full as error:
        raise PaymentInFlight from error
    payment.refresh_from_db()
    if payment.state in OPEN:
        raise PaymentInFlight
    return payment
