"""The one door for money. Every page, format and agent is admitted here and nowhere else.

verify (writes nothing) → the caller renders → settle (claim, wait for the rail, read what was recorded) → the caller
sends. A claim has four answers: fresh (this request's payment), replayed (already paid for this very thing), in flight
(wait), foreign (spent on something else). Nothing here knows HTTP or an article.
"""

import time
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from payments.models import LIVE, OPEN, OWNED, Grant, Payment, PaymentState
from payments.proofs import receipts, wallets
from payments.rails import RAILS, named
from payments.rails.protocol import Asked, Known, RailRefused, Shown, Unknowable, Verified

from . import notify, waiters
from .offers import Offer, Presented


class PaymentRequired(Exception):
    """402: this offer is not paid for, and this request charged nobody. No `word`: nothing was presented.

    `charged` is None where the proof itself has paid for something else. `approve_at`: where a person can allow it.
    """

    approve_at = ""

    def __init__(self, offer: Offer, word: str = "", sentence: str = "", charged: bool | None = False) -> None:
        super().__init__(word)
        self.offer = offer
        self.word = word
        self.sentence = sentence
        self.charged = charged


class PaymentMalformed(Exception):
    """400: what was presented is not a payment at all. Nobody was charged."""

    def __init__(self, word: str, sentence: str) -> None:
        super().__init__(word)
        self.word = word
        self.sentence = sentence


class PaymentInFlight(Exception):
    """503: the outcome is not known yet. The same proof, sent again, finishes the same payment."""

    word = "settlement_pending"
    sentence = "Your payment is being settled. Send the same request again. You will not be charged twice."


class CannotSay(PaymentInFlight):
    """503: nothing was claimed, but a fact that decides could not be read now. Nobody was charged."""

    word = "temporarily_unavailable"
    sentence = "We could not check the payment. Send the same request again."


class AlreadyPaid(Exception):
    """409: paid, but this proof is public by now and does not show that the buyer is asking."""

    word = "already_paid"
    sentence = "This payment has already bought the article. Prove that it was yours to read it again."


# Everything by which the gate refuses or puts off.
REFUSALS = (PaymentRequired, PaymentMalformed, PaymentInFlight, AlreadyPaid)


@dataclass(frozen=True, slots=True)
class Admitted:
    """The right to be served now. `proven`: the request showed what only the buyer has, so it may get a receipt.

    A bare repetition of a payment header is served for a minute and shows nothing: the chain has published it.
    """

    grant: Grant
    payment: Payment
    proven: bool

    def settlement(self) -> dict[str, str]:
        """Network, payer and transaction of the payment, in x402's words."""
        return named(self.payment.rail).settlement(self.payment)

    def receipt(self, offer: Offer) -> str:
        """The signed receipt that re-opens the article."""
        told = self.settlement()
        return receipts.issue(receipts.Receipt(offer.url, told["payer"], told["network"], told["transaction"]))


@dataclass
class Admission:
    """What `verify` found: settle it, once the page is rendered, to be admitted.

    Either a grant (an owner), or a payment that is already claimed, or a verified proof that nobody has claimed.
    `shown` is the credential that the request paid with, and its rail.
    """

    offer: Offer
    grant: Grant | None = None
    payment: Payment | None = None
    verified: Verified | None = None
    proven: bool = True
    shown: Shown | None = None

    @property
    def sells(self) -> bool:
        """Whether settling would take new money: of a fresh proof, or of one that was released and tries again."""
        return self.verified is not None or (self.payment is not None and self.payment.state == PaymentState.RELEASED)

    @property
    def version(self) -> int:
        """The version that is, or would be, bought."""
        bought = self.grant or self.payment
        return bought.version if bought else self.offer.version

    def settle(self) -> Admitted:
        """Move the money once, or find that it has moved.

        Raises PaymentRequired (certainly not charged), PaymentInFlight (not known yet) or AlreadyPaid.
        """
        if self.grant:
            return Admitted(self.grant, self.grant.payment, proven=True)
        self._prepare()
        payment = self.payment or self._claim()
        if payment.state == PaymentState.RELEASED:
            payment = self._claim_again(payment)
        if payment.state in OPEN:
            payment = _wait(payment)
        if payment.state in OWNED:
            grant = payment.grants.filter(revoked_at=None).first()
            if grant is None:
                raise PaymentInFlight  # A reorganisation took it back between two statements.
            return Admitted(grant, payment, self.proven)
        if named(payment.rail).arrived(payment):
            raise AlreadyPaid  # Its money came after all, when the buyer had this by another payment.
        raise PaymentRequired(self.offer, payment.reason, _REASONS.get(payment.reason, "The payment did not succeed."))

    def _prepare(self) -> None:
        if self.shown:
            try:
                self.shown.rail.prepare(self.shown.credential, self.verified)
            except RailRefused as refusal:
                raise _refused(refusal, self.offer) from refusal

    def _claim(self) -> Payment:
        """FRESH: write the claim before any money moves. Otherwise: the payment that was there first."""
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
            # Somebody was first: a copy of this very proof, or another payment of this buyer for this article.
            if known := verified.rail.look_up(verified.credential, offer):
                _not_foreign(known, offer)
                self.proven = known.proven
                return known.payment
            if live := _live(verified.buyer, offer):
                _unspent(verified)
                return live
            raise PaymentInFlight from error  # They were first and are gone again: the next request will see.
        return payment

    def _claim_again(self, payment: Payment) -> Payment:
        """A released payment (nothing is under way, nothing moved) tries again with the same proof."""
        try:
            with transaction.atomic(durable=True):
                released = Payment.objects.filter(id=payment.id, state=PaymentState.RELEASED)
                released.update(state=PaymentState.CLAIMED, reason="", decided_at=None, claimed_at=timezone.now())
                notify.send()
        except IntegrityError as error:
            # Meanwhile the buyer has paid, or is paying, with another proof. This one may have been in a transaction
            # of ours that failed, and then it is public: alone it does not show who asks.
            live = _live(payment.buyer, self.offer)
            if live is None or (not self.proven and live.state in OPEN):
                raise PaymentInFlight from error
            if not self.proven:
                raise AlreadyPaid from error
            return live
        payment.refresh_from_db()
        return payment


def asked(offer: Offer, refused: str = "") -> list[Asked]:
    """What each rail asks for an offer now, with fresh quotes. `refused`: the word of a refusal that went before."""
    return [said for rail in RAILS if (said := rail.quote(offer, refused))]


def receipt_of(grant: Grant, offer: Offer) -> str:
    """The signed receipt of a grant, for whoever holds it."""
    return Admitted(grant, grant.payment, proven=True).receipt(offer)


def verify(presented: Presented, offer: Offer) -> Admission:
    """Check what a request shows for an offer, cheap checks before dear ones. Writes nothing.

    Raises PaymentRequired, PaymentMalformed, AlreadyPaid, or PaymentInFlight when a deciding fact cannot be read.
    """
    try:
        if grant := _entitled(presented, offer):
            return Admission(offer, grant=grant)
        rail, credential = shown = _addressed(presented, offer)
        if known := rail.look_up(credential, offer):
            return _again(known, shown, offer)
        verified = rail.verify(credential, offer)
        if payment := _live(verified.buyer, offer):
            # A second signature by somebody who has bought, or is buying, this very thing: it is not settled.
            _unspent(verified)
            return Admission(offer, payment=payment, shown=shown)
    except RailRefused as refusal:
        if refusal.malformed:
            raise PaymentMalformed(refusal.word, refusal.sentence) from refusal
        raise _refused(refusal, offer) from refusal
    except Unknowable as error:
        raise CannotSay from error
    return Admission(offer, verified=verified, shown=shown)


def _refused(refusal: RailRefused, offer: Offer) -> PaymentRequired:
    error = PaymentRequired(offer, refusal.word, refusal.sentence)
    error.approve_at = refusal.approve_at
    return error


def _addressed(presented: Presented, offer: Offer) -> Shown:
    """The rail that a payment header is for, and what it read there."""
    for rail in RAILS:
        if credential := rail.read(presented):
            return Shown(rail, credential)
    raise PaymentRequired(offer)


def _entitled(presented: Presented, offer: Offer) -> Grant | None:
    """The grant that a session, a receipt or a wallet proof opens, without any payment."""
    grants = Grant.objects.select_related("payment__authorization").filter(resource=offer.resource, revoked_at=None)
    if presented.grants and (grant := grants.filter(id__in=presented.grants).first()):
        return grant
    if presented.receipt and (told := receipts.read(presented.receipt)) and told.resource_url == offer.url:
        return grants.filter(buyer=f"{told.network}:{told.payer}".lower()).first()
    if presented.wallet_proof and (buyer := wallets.proven(presented.wallet_proof, offer)):
        return grants.filter(buyer=buyer).first()
    if presented.purse and presented.bearer is None:
        return grants.filter(buyer=f"purse:{presented.purse}").first()
    return None


def _again(known: Known, shown: Shown, offer: Offer) -> Admission:
    """REPLAYED or IN FLIGHT: the authorization has been claimed. Never a second charge, never a false "not charged".

    Within REPLAY_SECONDS of settlement anybody may repeat it; later only with the quote that was paid.
    """
    _not_foreign(known, offer)
    payment = known.payment
    recently = timezone.now() - timedelta(seconds=settings.REPLAY_SECONDS)
    settled_just_now = payment.decided_at is not None and payment.decided_at > recently
    if payment.state in OWNED and not known.proven and not settled_just_now:
        raise AlreadyPaid
    return Admission(offer, payment=payment, proven=known.proven, shown=shown)


def _not_foreign(known: Known, offer: Offer) -> None:
    """FOREIGN: a claim for something else, or another proof under the same key, does not pay here."""
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
    """An authorization that the chain has not seen can only come from the wallet; one it has seen shows nothing."""
    try:
        unspent = verified.rail.still_unspent(verified)
    except Unknowable as error:
        raise PaymentInFlight from error  # Not CannotSay: the first signature may have been charged.
    if not unspent:
        raise AlreadyPaid


def _wait(payment: Payment) -> Payment:
    """Wait for the decision, within bounds; the truth is read from the database, whoever rang."""
    if waiters.count() >= settings.SETTLE_WAITERS_MAX:
        raise PaymentInFlight
    ends = time.monotonic() + settings.SETTLE_WAIT_SECONDS
    waiters.until_decided(payment.id, ends - time.monotonic())
    payment.refresh_from_db()
    if payment.state in OPEN:
        raise PaymentInFlight
    return payment


_REASONS = {
    "insufficient_funds": "The wallet does not have enough funds.",
    "authorization_expired": "The authorization expired before it could be settled.",
    "authorization_used": "The authorization was already used or canceled. It did not pay for this article.",
    "transaction_simulation_failed": "The token contract refuses this payment.",
    "settlement_failed": "The payment failed twice on the chain.",
}
