"""The tab: with a saved card, purchases may take a balance below zero, up to a limit.

A tab is charged when enough is owed or a week has passed. A tab that could not be charged blocks further purchases
until it is paid. When dunning has given up, only the owner can start another charge.
"""

import contextlib
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from payments import jobs, purses
from payments.books import accounts, ledger
from payments.books.accounts import Kind
from payments.books.ledger import Move
from payments.models import Card, Charge, Purse
from payments.purses import PurseRefused

from . import charges, customers, mail, refunds, restored, saved_cards, stripe_api
from .facts import Intent, NoAnswer, StripeRefused

log = logging.getLogger(__name__)
_TRUSTED_TABS = 2
_TRUSTED_DAYS = 30
_REMINDER_DAYS = (1, 3, 5)
_GIVE_UP_DAYS = 7
_AT_ONCE = 200
# Of more guests' purses that were joined only the newest are asked about, each with a call.
_CUSTOMERS_MAX = 20
_PAID_OTHERWISE = "paid_otherwise"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a buyer agrees to who opens a tab: how much may be owed, and when which card is charged. Micros and days."""

    limit_micros: int
    charge_from_micros: int
    days: int
    card: Card

    @property
    def name(self) -> str:
        """These terms in a form: whoever sends it back has seen them."""
        return f"{self.limit_micros}-{self.charge_from_micros}-{self.days}-{self.card.pk}"


def terms(purse: Purse) -> Terms | None:
    """The terms on which the purse may have a tab now; None without a saved card."""
    limit = limit_micros(purse)
    return Terms(limit, charge_from_micros(limit), settings.TAB_DAYS, purse.card) if purse.card else None


def open_tab(purse: Purse, agreed: str) -> bool:
    """Let the purse go below zero on the terms of that name. False: they are others by now, or no card is there."""
    offered = terms(purse)
    if offered is None or offered.name != agreed:
        return False
    opened = Coalesce(F("tab_opened_at"), Now())
    mine = Purse.objects.filter(id=purse.id, card=offered.card, flag=Purse.Flag.NONE)
    return mine.update(tab_limit_micros=offered.limit_micros, tab_opened_at=opened) == 1


def close_tab(purse: Purse) -> None:
    """Let no purchase go below zero any more; what is owed is still charged."""
    Purse.objects.filter(id=purse.id).update(tab_limit_micros=0)
    purses.paid_up(purse.id)


def limit_micros(purse: Purse) -> int:
    """How much this buyer may owe, in micros: more after two paid tabs and thirty days."""
    paid = Charge.objects.filter(purse=purse, purpose=Charge.Purpose.TAB, state=Charge.State.SUCCEEDED)
    first = paid.order_by("decided_at").values_list("decided_at", flat=True).first()
    old = first is not None and first < timezone.now() - timedelta(days=_TRUSTED_DAYS)
    trusted = old and paid.count() >= _TRUSTED_TABS
    cents = settings.TAB_LIMIT_TRUSTED_CENTS if trusted else settings.TAB_LIMIT_CENTS
    return cents * charges.CENT


def charge_from_micros(limit: int) -> int:
    """The debt from which a tab is charged at once, in micros: the usual amount or 90% of the limit, if that is less.

    Not the whole limit: a debt rarely reaches the limit to the micro, and what remains below it rarely buys anything.
    """
    usual = settings.TAB_SETTLE_CENTS * charges.CENT
    return max(min(usual, limit - limit // 10), purses.CARD_FLOOR_MICROS) if limit else purses.CARD_FLOOR_MICROS


def next_charge_at(purse: Purse) -> datetime | None:
    """When the tab will be charged; None when more must be owed first."""
    owed = -purse.balance_micros
    if owed <= 0 or purse.owing_since is None:
        return None
    live = live_charge(purse)
    if live is not None:
        return live.retry_at or timezone.now()
    if owed >= charge_from_micros(purse.tab_limit_micros):
        return timezone.now()
    return purse.owing_since + timedelta(days=settings.TAB_DAYS) if owed >= purses.CARD_FLOOR_MICROS else None


def live_charge(purse: Purse) -> Charge | None:
    """The tab charge in progress, if any: the purse's own first, then one of a guest's purse that was joined to it."""
    live = Charge.objects.filter(purpose=Charge.Purpose.TAB, state__in=Charge.LIVE)
    return live.filter(purse=purse).first() or live.filter(purse__joined_to=purse).first()


def charge_due(now: datetime | None = None) -> list[Charge]:
    """Charge every tab that is due. Flagged purses are skipped: each new charge would start dunning again."""
    now = now or timezone.now()
    open_ones = Purse.objects.filter(flag=Purse.Flag.NONE, tab_opened_at__isnull=False).exclude(card=None)
    owing = open_ones.filter(balance_micros__lte=-purses.CARD_FLOOR_MICROS)
    old = Q(owing_since__lte=now - timedelta(days=settings.TAB_DAYS))
    enough = Q(balance_micros__lte=-settings.TAB_SETTLE_CENTS * charges.CENT) | Q(
        balance_micros__lte=F("tab_limit_micros") / 10 - F("tab_limit_micros")
    )
    due = owing.filter(old | enough).order_by("owing_since").values_list("id", flat=True)
    made = [_charged(purse_id) for purse_id in jobs.in_time(due[:_AT_ONCE])]
    return [charge for charge in made if charge]


def forgive_small(now: datetime | None = None) -> int:
    """Write off what closed tabs owe for long and no card can pay, up to TAB_FORGIVE_CENTS each. Returns how many."""
    old = (now or timezone.now()) - timedelta(days=settings.TAB_DAYS)
    smallest = -settings.TAB_FORGIVE_CENTS * charges.CENT
    closed = Purse.objects.filter(tab_limit_micros=0, flag=Purse.Flag.NONE, owing_since__lte=old)
    small = closed.filter(balance_micros__lt=0, balance_micros__gte=smallest)
    return sum(_forgive(small, purse_id) for purse_id in small.values_list("id", flat=True)[:_AT_ONCE])


def _forgive(small: QuerySet[Purse], purse_id: uuid.UUID) -> bool:
    with transaction.atomic(durable=True):
        purse = small.filter(id=purse_id).select_for_update().first()
        if purse is None or purse.owing_since is None:
            return False  # It was paid meanwhile.
        owed = -purse.balance_micros
        key = Kind.FORGIVEN.key(purse.id, int(purse.owing_since.timestamp() * 1_000_000))
        move = Move(accounts.FORGIVEN_DEBTS, accounts.balance(purse.id), owed)
        ledger.post(Kind.FORGIVEN, key, [move], asset=accounts.USD)
        purses.move(purse.id, owed)
        purses.paid_up(purse.id)
    log.info("wrote off %s micros of %s", owed, purse.id)
    return True


def _charged(purse_id: uuid.UUID) -> Charge | None:
    """Charge one due tab. One that cannot be charged must not keep the others waiting."""
    try:
        return charge_tab(purse_id)
    except Exception:
        log.exception("the tab of %s could not be charged", purse_id)
        return None


def charge_tab(purse_id: uuid.UUID, *, asked: bool = False) -> Charge | None:
    """Charge one tab for what is owed, in whole cents. None when nothing can be charged or a charge is in progress.

    `asked` means that the owner asked to pay, which is possible also when the tab is past due or closed. One
    database transaction locks the purse, looks for a live charge, reads the debt and records the charge: without the
    lock, a worker that read the debt before another worker's payment was posted would charge the debt again.
    """
    try:
        with transaction.atomic(durable=True):
            purse = Purse.objects.select_for_update().get(id=purse_id)
            cents = -purse.balance_micros // charges.CENT
            if live_charge(purse) or cents * charges.CENT < purses.CARD_FLOOR_MICROS or purse.card_id is None:
                return None
            if purse.flag and not (asked and purse.flag == Purse.Flag.PAST_DUE):
                return None
            if purse.tab_opened_at is None and not asked:
                return None
            charge = charges.begin(purse, Charge.Purpose.TAB, cents * charges.CENT)
    except IntegrityError:
        return None
    return drive(charge)


def drive(charge: Charge) -> Charge:
    """Create and confirm a tab's charge, if as much is still owed. Safe to call concurrently and after a crash."""
    try:
        if is_paid_otherwise(charge):
            return charge
    except NoAnswer as error:
        log.warning("%s waits, since it may be paid otherwise: %s", charge, error)
        return charge
    return charges.drive(charge)


def is_paid_otherwise(charge: Charge) -> bool:
    """Cancel a charge whose tab owes less by now. True if it was canceled. Raises NoAnswer.

    A restored backup has a debt again and may have forgotten what was paid for it. So the processor is asked first what
    the buyer has paid.
    """
    for name in _customers(charge):
        for found in restored.unknown(_newest_intents(name)):
            if charges.apply(found):
                refunds.look(found.id)
    charge.refresh_from_db()
    unsent = charge.state in (Charge.State.NEW, Charge.State.CREATED, Charge.State.CONFIRMING)
    return unsent and _too_much(charge) and _cancel(charge)


def _newest_intents(name: str) -> list[Intent]:
    try:
        return stripe_api.newest_intents(name)
    except StripeRefused as error:
        if error.is_gone("customer"):
            customers.forget(name)
            return []
        raise


def _customers(charge: Charge) -> set[str]:
    """Every name under which the processor knows who owes this charge."""
    purse = _purse(charge)
    mine = Purse.objects.filter(Q(id=purse.id) | Q(joined_to=purse)).exclude(customer="")
    names = set(mine.order_by("-made_at").values_list("customer", flat=True)[:_CUSTOMERS_MAX])
    if charge.card:
        # A card that a guest saved stays with the guest's customer, and the backup may lack the purse's.
        with contextlib.suppress(StripeRefused):
            names.add(stripe_api.card(charge.card.stripe_card_id).customer)
    return names - {""}


def pay_now(purse: Purse) -> Charge | None:
    """The owner asks to pay what is owed: charge the card chosen now, at once. Raises PurseRefused or NoAnswer."""
    charge = live_charge(purse)
    if charge is None:
        charge = charge_tab(purse.id, asked=True)
    elif charge.state == Charge.State.DECLINED:
        charge = retry(charge)
    elif charge.state == Charge.State.ACTION and _too_much(charge):
        charge = _what_is_left(charge)
    else:
        return charges.look(charge)
    if charge and charge.reason == _PAID_OTHERWISE:
        charge = charge_tab(purse.id, asked=True)  # For what is still owed, if that is enough.
    if charge is None:
        raise PurseRefused("nothing_owed", "You owe less than $0.50, so there is nothing to pay yet.")
    return charge


def retry(charge: Charge) -> Charge:
    """Retry a declined charge with the card chosen now and an idempotency key of its own. Raises NoAnswer."""
    if _too_much(charge):
        return _what_is_left(charge)
    purse = _purse(charge)
    again = {"state": Charge.State.CREATED, "attempt": F("attempt") + 1, "retry_at": None, "card": purse.card}
    if charges.step(charge, (Charge.State.DECLINED,), **again):
        return drive(charge)
    charge.refresh_from_db()
    return charge


def _purse(charge: Charge) -> Purse:
    """The purse that owes the charge now: its own, or the one that purse was joined to."""
    return Purse.objects.get(id=charge.purse.joined_to_id or charge.purse_id)


def _too_much(charge: Charge) -> bool:
    """Whether less is owed than the charge is for, after a top-up or a refund."""
    return -_purse(charge).balance_micros < charge.amount_micros


def _what_is_left(charge: Charge) -> Charge:
    """Cancel a charge that is for more than is owed, and charge only what is owed. Raises NoAnswer."""
    return (charge_tab(_purse(charge).id, asked=True) if _cancel(charge) else None) or charge


def _cancel(charge: Charge) -> bool:
    """Cancel a charge that is for more than is owed. False when that is not possible any more. Raises NoAnswer."""
    if charge.intent:
        try:
            stripe_api.cancel_intent(charge.intent)
        except StripeRefused as error:
            log.info("%s cannot be canceled any more: %s", charge, error)
        charges.look(charge)
    else:
        now = timezone.now()
        charges.step(charge, (Charge.State.NEW,), state=Charge.State.CANCELED, decided_at=now)
        charge.refresh_from_db()
    if charge.state != Charge.State.CANCELED:
        return False
    Charge.objects.filter(id=charge.id).update(reason=_PAID_OTHERWISE)
    charge.refresh_from_db()
    purses.paid_up(_purse(charge).id)
    return True


def use_card(card: Card) -> None:
    """Charge the tab to this card from now on, and retry a declined charge at once. Raises NoAnswer."""
    if card.removed_at is None:
        Purse.objects.filter(id=card.purse_id).update(card=card)
        charge = live_charge(card.purse)
        if charge and charge.state == Charge.State.DECLINED:
            retry(charge)


def remove_card(card: Card) -> None:
    """Remove a card here and at the processor. Raises PurseRefused while a debt depends on the card.

    It is removed here first, under the purse's lock: a purchase meanwhile is either before it, and then a debt, or
    after it, and then refused. Without an answer of the processor the sweeper removes the card there.
    """
    with transaction.atomic(durable=True):
        purse = purses.locked(card.purse_id)
        if purse.card_id == card.id and purse.balance_micros < 0:
            raise PurseRefused("tab_owed", "You still owe money on this card. Pay it or choose another card first.")
        saved_cards.remove(card)
    try:
        saved_cards.forget(card)
    except NoAnswer as error:
        log.warning("%s is removed at the processor later: %s", card.stripe_card_id, error)


def dun(now: datetime | None = None) -> None:
    """Dunning: retry declined tabs that are due, remind of unfinished authentications, and give up after seven days."""
    now = now or timezone.now()
    tab = Charge.objects.filter(purpose=Charge.Purpose.TAB).select_related("purse")
    for charge in jobs.in_time(
        tab.filter(state=Charge.State.DECLINED, retry_at__lte=now).order_by("retry_at")[:_AT_ONCE]
    ):
        _later(retry, charge)
    for charge in jobs.in_time(tab.filter(state=Charge.State.ACTION).order_by("decided_at")[:_AT_ONCE]):
        _later(lambda one: _what_is_left(one) if _too_much(one) else _remind(one, now), charge)


def _later(act: Callable[[Charge], object], charge: Charge) -> None:
    try:
        act(charge)
    except NoAnswer as error:
        log.warning("%s waits for the next round: %s", charge, error)
    except Exception:
        log.exception("%s could not be dunned", charge)


def _remind(charge: Charge, now: datetime) -> None:
    since = now - (charge.decided_at or charge.made_at)
    if since >= timedelta(days=_GIVE_UP_DAYS):
        try:
            stripe_api.cancel_intent(charge.intent)
        except StripeRefused:
            log.info("%s cannot be canceled any more", charge)
        charges.look(charge)
        return
    due = charge.reminders < len(_REMINDER_DAYS) and since >= timedelta(days=_REMINDER_DAYS[charge.reminders])
    reminded = Charge.objects.filter(id=charge.id, reminders=charge.reminders, state=Charge.State.ACTION)
    if due and reminded.update(reminders=F("reminders") + 1):
        mail.authenticate(charge)
