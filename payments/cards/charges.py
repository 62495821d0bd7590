"""The state machine of a card charge: one machine for a top-up, a tab and a single article.

new → created → confirming → succeeded | action | declined | failed | processing | canceled. Success is absorbing. Each
step is a conditional update. The processor is called between two commits and never inside a database transaction.
Without an answer the state stays, and `look` asks the processor what became of the charge before anything is sent
again. What a paid charge buys is decided in payments.fulfilment.
"""

import logging
import uuid
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils import timezone

from payments import events, notify, purses
from payments.books import accounts, ledger
from payments.books.accounts import Kind
from payments.books.ledger import Move
from payments.models import Charge, Purse
from payments.offers import Offer

from . import mail, restored, saved_cards, stripe_api, wanted
from .facts import CENT, CURRENCY, Declined, Intent, NoAnswer, ServerTrouble, StripeRefused

log = logging.getLogger(__name__)
ChargeState, Purpose = Charge.State, Charge.Purpose
ATTEMPTS = 4
_RETRY_DAYS = (1, 3, 5)
FIRST_LOOK = timedelta(minutes=2)
_UNCONFIRMED = ("requires_confirmation", "requires_payment_method")
_LOGGED = (ChargeState.ACTION, ChargeState.DECLINED, ChargeState.FAILED, ChargeState.CANCELED)
# A retry cannot succeed: the cardholder reported the card, or the bank no longer accepts the card or its account.
_HARD = {"lost_card", "stolen_card", "pickup_card", "expired_card", "fraudulent", "invalid_account"}


def begin(purse: Purse, purpose: str, micros: int, wants: Offer | None = None, **how: Any) -> Charge:
    """Record a charge of `micros` before anything is sent to the processor; `wants` is bought with the money."""
    return Charge.objects.create(
        purse=purse,
        purpose=purpose,
        amount_micros=micros,
        wants=wanted.by_value(wants),
        card=purse.card if purpose == Purpose.TAB else None,
        look_at=timezone.now() + FIRST_LOOK,
        **how,
    )


# --- A charge that we make ourselves: create, then confirm --------------------------------------------------


def drive(charge: Charge) -> Charge:
    """Create and confirm a tab's charge, as far as possible now. Safe to call concurrently and after a crash."""
    charge.refresh_from_db()
    if charge.state == ChargeState.NEW:
        _create(charge)
        charge.refresh_from_db()
    if charge.state == ChargeState.CREATED and not charge.session:
        _confirm(charge)
        charge.refresh_from_db()
    return charge


def _create(charge: Charge) -> None:
    cents, key = charge.amount_micros // CENT, f"cc-{charge.id}-create-{charge.renewal}"
    try:
        if charge.card is None:
            return _fail(charge, "no_card", ChargeState.NEW)
        # A card that a guest saved stays with the guest's customer at the processor, also after a join.
        name = saved_cards.customer(charge.card)
        if not name:
            return _fail(charge, "card_removed", ChargeState.NEW)
        made = stripe_api.create_intent(restored.origin(charge), name, cents, key)
    except ServerTrouble:
        _renew(charge)
    except NoAnswer as error:
        log.warning("no answer to the creation of %s: %s", charge, error)
    except StripeRefused as error:
        _fail(charge, error.code, ChargeState.NEW)
    else:
        step(charge, (ChargeState.NEW,), state=ChargeState.CREATED, intent=made.id)
    return None


def _confirm(charge: Charge) -> None:
    if not step(charge, (ChargeState.CREATED,), state=ChargeState.CONFIRMING, look_at=timezone.now() + FIRST_LOOK):
        return  # Another worker confirms this charge.
    send(charge)


def send(charge: Charge) -> None:
    """Confirm the stored intent. Only this call moves money, and one intent can succeed only once, under any key."""
    if charge.card is None:
        return _fail(charge, "no_card", ChargeState.CONFIRMING)
    key = f"cc-{charge.id}-confirm-{charge.attempt}-{charge.renewal}"
    try:
        apply(stripe_api.confirm_intent(charge.intent, charge.card.stripe_card_id, key))
    except Declined as error:
        _declined(charge, error.code, error.advice, error.stripe_charge_id)
    except ServerTrouble:
        _renew(charge)
    except NoAnswer as error:
        log.warning("no answer to the confirmation of %s: %s", charge, error)
    except StripeRefused as error:
        log.warning("the confirmation of %s was refused: %s", charge, error)
        if error.is_gone("payment_method"):
            saved_cards.detached(charge.card.stripe_card_id)
        _refused(charge, error.code)
    return None


def _renew(charge: Charge) -> None:
    """The processor repeats a 5xx under the same idempotency key for a day, so the next call uses a new key."""
    Charge.objects.filter(id=charge.id, renewal=charge.renewal).update(renewal=F("renewal") + 1)


# --- Recording what the processor says -----------------------------------------------------------------------


def look(charge: Charge) -> Charge:
    """Ask the processor what became of a charge and record the answer. Raises NoAnswer.

    A confirmation that never arrived is sent again.
    """
    charge.refresh_from_db()
    try:
        if charge.session:
            _look_at_session(charge)
        elif charge.intent:
            found = stripe_api.intent(charge.intent)
            apply(found)
            _never_confirmed(charge, found)
    except StripeRefused as error:
        if not error.is_gone():
            raise
        _gone(charge)
    charge.refresh_from_db()
    return charge


def _look_at_session(charge: Charge) -> None:
    """The page names the intent that it made itself, whatever another intent says of this charge."""
    page = stripe_api.session(charge.session)
    if page.email:
        Purse.objects.filter(id=charge.purse_id, email="").update(email=page.email)
    if page.intent:
        unpaid = Charge.objects.filter(id=charge.id).exclude(state=ChargeState.SUCCEEDED)
        unpaid.exclude(intent=page.intent).update(intent=page.intent)
        found = stripe_api.intent(page.intent)
        apply(found)
        if page.status == "complete" and found.status == "requires_payment_method":
            _page_failed(charge, found.error)
    if page.status == "expired":
        # An intent that may still be paid, by a delayed method, is never of a page that expired.
        before = (ChargeState.NEW, ChargeState.CREATED)
        step(charge, before, state=ChargeState.CANCELED, reason="session_expired", decided_at=timezone.now())


def _page_failed(charge: Charge, code: str) -> None:
    """The buyer completed the page, and the payment failed later, for instance a bank debit after days."""
    for state in (ChargeState.CREATED, ChargeState.PROCESSING):
        _fail(charge, code or "payment_failed", state)


def _gone(charge: Charge) -> None:
    """The processor does not know the page or the intent: deleted, or of another account or key.

    An intent that was never confirmed took no money, so a tab's is made again. Of any other the outcome stays unknown:
    the charge ends, and only its owner can start another.
    """
    log.error("%s is not at the processor: %s %s", charge, charge.session, charge.intent)
    if not charge.session and step(charge, (ChargeState.CREATED,), state=ChargeState.NEW, intent=""):
        return _renew(charge)
    ended = {"state": ChargeState.FAILED, "reason": "gone", "decided_at": timezone.now(), "retry_at": None}
    if step(charge, Charge.LIVE, **ended):
        _past_due(charge)
        mail.gone(charge)
    return None


def _never_confirmed(charge: Charge, found: Intent) -> None:
    """The confirmation never arrived: confirm the same intent again, which can still succeed only once."""
    if _untouched(charge, found) and charge.state == ChargeState.CONFIRMING:
        charge.refresh_from_db()
        if charge.state == ChargeState.CONFIRMING:
            send(charge)


def _untouched(charge: Charge, found: Intent) -> bool:
    return found.status in _UNCONFIRMED and not _error(charge, found)


def _error(charge: Charge, found: Intent) -> str:
    """The error of this attempt, or empty: the intent's last error may be of another card or of an earlier attempt."""
    other = charge.card and found.tried and found.tried != charge.card.stripe_card_id
    known = found.failed and found.failed == charge.declined_stripe_charge_id
    return "" if other or known else found.error


def _refused(charge: Charge, code: str) -> None:
    """This call charged nothing and a retry would be refused too, but an earlier call without an answer may have."""
    try:
        found = stripe_api.intent(charge.intent)
    except NoAnswer as error:
        log.warning("no answer about %s: %s", charge, error)
        return
    except StripeRefused as error:
        if not error.is_gone():
            raise
        _gone(charge)
        return
    if found.status in _UNCONFIRMED:
        _fail(charge, code, ChargeState.CONFIRMING)
    else:
        apply(found)


def apply(found: Intent) -> Charge | None:
    """Record an intent as it is now. Idempotent. None when the intent belongs to no charge of ours."""
    charge = _charge_of(found)
    if charge is None:
        return None
    if found.status == "succeeded":
        _succeeded(charge, found)
    elif found.status == "processing":
        before = (ChargeState.CREATED, ChargeState.CONFIRMING, ChargeState.ACTION)
        step(charge, before, state=ChargeState.PROCESSING)
    elif found.status == "canceled":
        step(charge, Charge.LIVE, state=ChargeState.CANCELED, reason="canceled", decided_at=timezone.now())
    elif found.status == "requires_action" and not charge.session:
        _action(charge)
    elif found.status == "requires_payment_method" and _error(charge, found):
        if not charge.session:
            _declined(charge, found.error, found.advice, found.failed)
        elif charge.state == ChargeState.PROCESSING:
            _page_failed(charge, found.error)
    charge.refresh_from_db()
    return charge


def _charge_of(found: Intent) -> Charge | None:
    """The charge by the intent's id, or by our id in its metadata when a worker died before it stored the intent.

    By the metadata only with the charge's amount and currency, and when its page made no other intent.
    """
    known = Charge.objects.filter(intent=found.id).first()
    if known or not found.charge_id:
        return known
    try:
        ours = uuid.UUID(found.charge_id)
    except ValueError:
        return None
    adopted = Charge.objects.filter(id=ours, intent="")
    lacking = adopted.first()
    if lacking is None:
        return restored.charge(found)
    if not _is_for(lacking, found) or (lacking.session and stripe_api.session(lacking.session).intent != found.id):
        log.error("%s names %s, which it was not made for", found.id, lacking)
        return None
    if not adopted.filter(state=ChargeState.NEW, session="").update(intent=found.id, state=ChargeState.CREATED):
        adopted.update(intent=found.id)
    return Charge.objects.filter(id=ours, intent=found.id).first()


def _is_for(charge: Charge, found: Intent) -> bool:
    return (found.amount_cents * CENT, found.currency) == (charge.amount_micros, CURRENCY)


def _succeeded(charge: Charge, found: Intent) -> None:
    """The money has arrived: record the transaction, the balance and the state in one commit, once."""
    if not _is_for(charge, found) or not found.stripe_charge_id:
        log.critical("%s was paid with %s %s by %s", charge, found.amount_cents, found.currency, found.id)
        return
    now = timezone.now()
    paid = {
        "state": ChargeState.SUCCEEDED,
        "reason": "",
        "stripe_charge_id": found.stripe_charge_id,
    }
    with transaction.atomic(durable=True):
        purse = owner(charge.id)
        if restored.is_in_suspense(found):
            log.critical("%s is paid by %s, whose money reconciliation has put into suspense", charge, found.id)
            return
        unpaid = Charge.objects.filter(id=charge.id).exclude(state=ChargeState.SUCCEEDED)
        nothing_to_buy = {} if charge.wants else {"fulfilled_at": now}
        if unpaid.update(**paid, **nothing_to_buy, intent=found.id, purse=purse, decided_at=now, retry_at=None):
            move = Move(accounts.STRIPE, accounts.balance(purse.id), charge.amount_micros)
            ledger.post(Kind.CARD_PAID, Kind.CARD_PAID.key(found.stripe_charge_id), [move], asset=accounts.USD)
            purses.move(purse.id, charge.amount_micros)
            purses.paid_up(purse.id)
            notify.send()
            _note(charge, ChargeState.SUCCEEDED)
        _cleared_terms(charge.id, found)
    if charge.keep_card:
        saved_cards.keep(charge.id, found.card)


def owner(charge_id: uuid.UUID) -> Purse:
    """The purse that a charge fills now, locked. A guest's purse may have been joined to an account's meanwhile.

    Every writer locks the purse before any row that belongs to it: a fixed lock order prevents deadlocks.
    """
    purse = purses.locked(Charge.objects.values_list("purse_id", flat=True).get(id=charge_id))
    # A live charge keeps its purse: the account's purse may have a live tab charge too, and may have only one.
    Charge.objects.filter(id=charge_id).exclude(state__in=Charge.LIVE).exclude(purse=purse).update(purse=purse)
    return purse


def _cleared_terms(charge_id: uuid.UUID, found: Intent) -> None:
    """Record the fee and when the processor releases the money: known once the balance transaction exists."""
    if not found.transaction:
        return
    if found.fee_currency != CURRENCY:
        log.critical("the fee of %s is in %s: the account must settle in %s", found.id, found.fee_currency, CURRENCY)
        return
    cleared = {"available_at": Coalesce(F("available_at"), found.available_at), "fee_micros": found.fee_cents * CENT}
    Charge.objects.filter(id=charge_id).update(**cleared)
    post_fee(found.transaction, found.fee_cents)


def post_fee(transaction_id: str, cents: int) -> bool:
    """Post the processor's fee for one balance transaction, once; False when nothing was posted.

    `cents` is negative when the processor refunded a fee.
    """
    if not cents:
        return False
    key, pair = Kind.CARD_FEE.key(transaction_id), (accounts.PROCESSOR_FEES, accounts.STRIPE)
    source, target = pair if cents > 0 else pair[::-1]
    return not ledger.posted(key) and bool(
        ledger.post(Kind.CARD_FEE, key, [Move(source, target, abs(cents) * CENT)], asset=accounts.USD)
    )


def _declined(charge: Charge, code: str, advice: str, stripe_charge_id: str) -> None:
    """No money moved. A tab is retried after one, three and five days, unless the bank rules a retry out."""
    if code == "authentication_required":
        return _action(charge)
    if code == "payment_intent_authentication_failure" and charge.state == ChargeState.ACTION:
        return None  # The cardholder refused or abandoned the authentication; the same link lets them try again.
    hard = code in _HARD or advice == "do_not_try_again" or charge.attempt + 1 >= ATTEMPTS
    live = (ChargeState.CONFIRMING, ChargeState.ACTION, ChargeState.PROCESSING)
    if charge.purpose != Purpose.TAB or hard:
        for state in live:
            _fail(charge, code, state)
        return None
    retry_at = timezone.now() + timedelta(days=_RETRY_DAYS[charge.attempt])
    noted = {"reason": code[:64], "declined_stripe_charge_id": stripe_charge_id[:64]}
    if step(charge, live, state=ChargeState.DECLINED, retry_at=retry_at, **noted):
        _past_due(charge)
        mail.declined(charge, retry_at)
    return None


def _action(charge: Charge) -> None:
    """The bank requires authentication and the cardholder is away, so a link goes out by mail."""
    waiting = (ChargeState.CREATED, ChargeState.CONFIRMING, ChargeState.PROCESSING)
    now = timezone.now()
    if step(charge, waiting, state=ChargeState.ACTION, reason="authentication_required", decided_at=now, reminders=0):
        _past_due(charge)
        mail.authenticate(charge)


def _fail(charge: Charge, code: str, state: str) -> None:
    if step(charge, (state,), state=ChargeState.FAILED, reason=code[:64], decided_at=timezone.now(), retry_at=None):
        _past_due(charge)
        if charge.purpose == Purpose.TAB:
            mail.failed(charge)
        elif state == ChargeState.PROCESSING or charge.session:
            mail.page_failed(charge)


def _past_due(charge: Charge) -> None:
    if charge.purpose == Purpose.TAB:
        purse_id = charge.purse.joined_to_id or charge.purse_id
        Purse.objects.filter(id=purse_id, flag=Purse.Flag.NONE).update(flag=Purse.Flag.PAST_DUE)


def step(charge: Charge, states: Any, **change: Any) -> bool:
    """One conditional update; False when the charge has left `states` meanwhile. Success is absorbing."""
    moved = Charge.objects.filter(id=charge.id, state__in=states).update(**change) == 1
    if moved and (state := change.get("state")) in _LOGGED:
        _note(charge, state, change.get("reason", ""))
    return moved


def _note(charge: Charge, outcome: str, reason: str = "") -> None:
    told = {"charge": charge.id, "amount_micros": charge.amount_micros, "rail": "card", "purpose": charge.purpose}
    events.note("charge", outcome, **told, reason=reason)
