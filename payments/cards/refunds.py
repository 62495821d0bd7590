"""Refunds to a card: of unspent money, and those made by hand at the processor.

The money is reserved first, so it cannot be spent meanwhile. The processor keeps its fee of a refunded payment, and the
buyer pays that part unless the shop's settings say otherwise. A refund has no separate create and confirm steps at the
processor, so after a 5xx its list of refunds is searched for ours before another idempotency key is used.
"""

import logging
import uuid
from datetime import timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet, Sum
from django.utils import timezone

from payments import notify, purses
from payments.books import accounts, ledger
from payments.books.accounts import Kind
from payments.books.ledger import Move
from payments.models import CardRefund, Charge, Purse
from payments.purses import PurseRefused

from . import charges, stripe_api
from .facts import Declined, NoAnswer, RefundFacts, ServerTrouble, StripeRefused

log = logging.getLogger(__name__)
State = CardRefund.State
_DEAD = ("failed", "canceled")
_OPEN_FOR = timedelta(minutes=2)


class Refundable(NamedTuple):
    """What can be refunded of one charge, in micros: `micros` leave the balance, of which `fee_micros` are the fee that
    the processor keeps, and the rest goes to the card."""

    charge: Charge
    micros: int
    fee_micros: int

    @property
    def to_card_micros(self) -> int:
        """What the card gets."""
        return self.micros - self.fee_micros


def refundable(purse: Purse) -> list[Refundable]:
    """The charges that can be refunded to their cards, as far as the balance reaches."""
    purse = Purse.objects.get(id=purse.id)
    left = 0 if purse.flag else purse.balance_micros
    found = []
    paid = Charge.objects.filter(purse=purse, state=Charge.State.SUCCEEDED, disputed_micros=0)
    for charge in paid.order_by("-decided_at"):
        micros = _whole_cents(min(left, _unrefunded(charge)))
        fee = _fee(charge, micros)
        if fee is not None and micros > fee:
            found.append(Refundable(charge, micros, fee))
            left -= micros
    return found


def _fee(charge: Charge, micros: int) -> int | None:
    """The buyer's share of the processor's fee, in whole cents and never more than the fee. None: not known yet."""
    if settings.REFUND_FEE_PAID_BY == "shop":
        return 0
    if charge.fee_micros is None:
        return None if charge.available_at is None else 0  # Of a charge from before the fee was recorded.
    return _whole_cents(charge.fee_micros * micros // charge.amount_micros)


def _unrefunded(charge: Charge) -> int:
    asked = Sum("amount_micros", filter=Q(state=State.ASKED))
    fees = Sum("fee_micros", filter=Q(state__in=(State.ASKED, State.DONE)))
    taken = charge.refunds.aggregate(asked=asked, fees=fees)
    return charge.amount_micros - charge.refunded_micros - (taken["asked"] or 0) - (taken["fees"] or 0)


def _whole_cents(micros: int) -> int:
    return micros - micros % charges.CENT


def of_warned(charge: Charge) -> CardRefund | None:
    """Refund all of a charge that is unspent, also from a frozen purse: the card's bank warned of fraud."""
    balance = Purse.objects.values_list("balance_micros", flat=True).get(id=charge.purse_id)
    unspent = _whole_cents(min(balance, _unrefunded(charge)))
    return to_card(charge.purse, charge, unspent, frozen=True) if unspent > 0 else None


def to_card(purse: Purse, charge: Charge, micros: int, *, frozen: bool = False) -> CardRefund:
    """Refund unspent money to the card it came from, less the processor's fee. Raises PurseRefused: no money moved.

    Of a frozen purse the shop pays the fee. Without an answer the money stays reserved, and the sweeper finishes the
    refund later.
    """
    if micros <= 0 or micros % charges.CENT:
        raise PurseRefused("invalid_amount", "We can only refund whole cents to a card.")
    with transaction.atomic(durable=True):
        owner = Purse.objects.select_for_update().get(id=purse.id)
        charge = Charge.objects.get(id=charge.id, purse=owner)
        if charge.disputed_micros or (owner.flag and not frozen):
            raise PurseRefused("charge_disputed", "We can't refund a disputed payment.")
        if micros > _unrefunded(charge):
            raise PurseRefused("refund_too_large", "This is more than you can get back for that payment.")
        if owner.balance_micros < micros:
            raise PurseRefused("insufficient_balance", "We can only refund money you have not spent.")
        fee = 0 if frozen else _fee(charge, micros)
        if fee is None or fee >= micros:
            raise PurseRefused("refund_too_early", "This payment can't be refunded yet. Try again in an hour.")
        refund = CardRefund.objects.create(charge=charge, amount_micros=micros - fee, fee_micros=fee)
        move = Move(accounts.balance(owner.id), accounts.refunding(owner.id), micros - fee)
        ledger.post(Kind.REFUND_RESERVED, Kind.REFUND_RESERVED.key(refund.id), [move], asset=accounts.USD)
        if fee:
            kept = Move(accounts.balance(owner.id), accounts.PROCESSOR_FEES, fee)
            ledger.post(Kind.REFUND_FEE, Kind.REFUND_FEE.key(refund.id), [kept], asset=accounts.USD)
        purses.move(owner.id, -micros)
        notify.send()
    return drive(refund)


def drive(refund: CardRefund) -> CardRefund:
    """Ask the processor for a recorded refund. Idempotent, also after a crash."""
    refund.refresh_from_db()
    if refund.state != State.ASKED:
        return refund
    intent = refund.charge.intent
    if not refund.ours:
        # The refund was made by hand, and a worker died after recording its row. Look it up, never make it again.
        look(intent)
        refund.refresh_from_db()
        return refund
    try:
        made = [one for one in stripe_api.refunds_of(intent) if one.ours == str(refund.id)]
        key = f"cr-{refund.id}-{refund.renewal}"
        cents = refund.amount_micros // charges.CENT
        apply(made[0] if made else stripe_api.refund(intent, cents, str(refund.id), key))
    except ServerTrouble:
        CardRefund.objects.filter(id=refund.id, renewal=refund.renewal).update(renewal=F("renewal") + 1)
    except NoAnswer as error:
        log.warning("no answer to %s: %s", refund, error)
    except (StripeRefused, Declined) as error:
        log.warning("%s was refused: %s", refund, error)
        _release(refund, str(error)[:64])
    refund.refresh_from_db()
    return refund


def look(intent: str) -> None:
    """Record every refund of an intent, ours or made by hand. Raises NoAnswer."""
    for facts in stripe_api.refunds_of(intent):
        apply(facts)


def apply(facts: RefundFacts) -> None:
    """Record one refund as it is now. Idempotent. A refund made by hand is taken from the balance."""
    refund = _row(facts)
    if refund is None:
        return
    if facts.status in _DEAD:
        _failed(refund, facts)
    else:
        _done(refund, facts)


def _row(facts: RefundFacts) -> CardRefund | None:
    """Our refund by the id in its metadata, or one made by hand, which gets a row when it is first seen."""
    if facts.ours:
        try:
            return CardRefund.objects.select_related("charge").get(id=uuid.UUID(facts.ours))
        except (ValueError, CardRefund.DoesNotExist):
            pass
    charge = Charge.objects.filter(intent=facts.intent, state=Charge.State.SUCCEEDED).first()
    if charge is None:
        return None
    known = CardRefund.objects.filter(stripe_refund_id=facts.id).first()
    if known:
        return known
    try:
        with transaction.atomic():
            return CardRefund.objects.create(
                charge=charge, amount_micros=facts.amount_cents * charges.CENT, stripe_refund_id=facts.id, ours=False
            )
    except IntegrityError:
        return CardRefund.objects.get(stripe_refund_id=facts.id)


def _done(refund: CardRefund, facts: RefundFacts) -> None:
    with transaction.atomic(durable=True):
        open_one = CardRefund.objects.filter(id=refund.id, state=State.ASKED)
        if not open_one.update(state=State.DONE, stripe_refund_id=facts.id, decided_at=timezone.now()):
            return
        purse = charges.owner(refund.charge_id)
        source = _aside(refund) if refund.ours else accounts.balance(purse.id)
        move = Move(source, accounts.STRIPE, refund.amount_micros)
        ledger.post(Kind.CARD_REFUND, Kind.CARD_REFUND.key(facts.id), [move], asset=accounts.USD)
        if not refund.ours:
            purses.move(purse.id, -refund.amount_micros)
        Charge.objects.filter(id=refund.charge_id).update(refunded_micros=F("refunded_micros") + refund.amount_micros)
        notify.send()


def _aside(refund: CardRefund) -> str:
    """The account where this refund's money was reserved, also after the purse was joined to another."""
    return ledger.target_of(Kind.REFUND_RESERVED.key(refund.id))


def _failed(refund: CardRefund, facts: RefundFacts) -> None:
    """The card's bank returned the money, so it goes back to the purse. Money that never left is only released."""
    if refund.state == State.ASKED:
        return _release(refund, "failed", facts.id)
    with transaction.atomic(durable=True):
        if not CardRefund.objects.filter(id=refund.id, state=State.DONE).update(state=State.FAILED):
            return None
        purse = charges.owner(refund.charge_id)
        move = Move(accounts.STRIPE, accounts.balance(purse.id), refund.amount_micros)
        ledger.post(Kind.CARD_REFUND_FAILED, Kind.CARD_REFUND_FAILED.key(facts.id), [move], asset=accounts.USD)
        purses.move(purse.id, refund.amount_micros + _return_fee(refund, purse))
        Charge.objects.filter(id=refund.charge_id).update(refunded_micros=F("refunded_micros") - refund.amount_micros)
    return None


def _release(refund: CardRefund, reason: str, stripe_refund_id: str = "") -> None:
    """The refund certainly moved no money: the reserved amount returns to the balance."""
    with transaction.atomic(durable=True):
        asked = CardRefund.objects.filter(id=refund.id, state=State.ASKED)
        said = {"state": State.REFUSED, "reason": reason, "decided_at": timezone.now()}
        if not asked.update(**said, **({"stripe_refund_id": stripe_refund_id} if stripe_refund_id else {})):
            return
        if refund.ours:
            purse = charges.owner(refund.charge_id)
            move = Move(_aside(refund), accounts.balance(purse.id), refund.amount_micros)
            ledger.post(Kind.REFUND_RELEASED, Kind.REFUND_RELEASED.key(refund.id), [move], asset=accounts.USD)
            purses.move(purse.id, refund.amount_micros + _return_fee(refund, purse))


def _return_fee(refund: CardRefund, purse: Purse) -> int:
    """The buyer gets the fee of a refund back that did not reach the card. Returns its micros, still to be moved."""
    fee = refund.fee_micros or 0
    if fee:
        back = Move(accounts.PROCESSOR_FEES, accounts.balance(purse.id), fee)
        ledger.post(Kind.REFUND_FEE, Kind.REFUND_FEE.key(refund.id, "returned"), [back], asset=accounts.USD)
    return fee


def unanswered() -> QuerySet[CardRefund]:
    """Refunds that were asked for over two minutes ago and whose outcome is unknown."""
    return CardRefund.objects.filter(state=State.ASKED, made_at__lt=timezone.now() - _OPEN_FOR)
