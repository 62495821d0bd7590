"""Hosted pages: top-up, one article, saving a card. Card numbers never reach this server.

A charge whose page could not be opened is given up at once: the buyer never got the page's address and cannot pay on
it. If money arrives all the same, the charge's id in its metadata identifies the charge.
"""

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from payments import purses
from payments.models import Charge, Purse, Setup
from payments.money import format_usd
from payments.offers import Offer
from payments.purses import CARD_FLOOR_MICROS, PurseRefused

from . import charges, customers, mail, restored, saved_cards, stripe_api, tabs
from .facts import CardFacts, NoAnswer, Sale, Session, StripeRefused, WayBack

log = logging.getLogger(__name__)
FLOOR_CENTS = CARD_FLOOR_MICROS // charges.CENT
# So many pages of all buyers within an hour: somebody tests stolen cards from many addresses. Nobody is shut out then,
# but each buyer and each address may open only a few.
_IN_ALL_PER_HOUR = 1000
_FEW_PER_HOUR = 2


def top_up(purse: Purse, cents: int, back_url: str, wants: Offer | None = None, *, address: str = "") -> str:
    """The address of a page that tops up the purse by `cents` and then buys `wants`. The card is not kept.

    Raises PurseRefused or NoAnswer; in both cases the buyer was not charged.
    """
    return _open(purse, Charge.Purpose.TOPUP, cents, _Page(_topup_title(cents), back_url, wants, address))


def top_up_keeping_card(purse: Purse, cents: int, back_url: str, *, address: str = "") -> str:
    """Like `top_up`, and the card is saved: only for a buyer who asked for it."""
    page = _Page(_topup_title(cents), back_url, None, address, keep_card=True)
    return _open(purse, Charge.Purpose.TOPUP, cents, page)


def _topup_title(cents: int) -> str:
    if cents not in settings.TOPUP_CENTS:
        raise PurseRefused("invalid_amount", "Choose one of the top-up amounts.")
    return f"Balance top-up of ${format_usd(cents * charges.CENT)}"


def direct(purse: Purse, wants: Offer, back_url: str, *, address: str = "") -> str:
    """The address of a page that charges the price of one article and what the purse owes.

    Raises PurseRefused or NoAnswer; in both cases the buyer was not charged.
    """
    cents = direct_cents(purse, wants)
    if cents is None:
        raise PurseRefused("below_card_minimum", "This price is too low for a card. Top up your balance instead.")
    return _open(purse, Charge.Purpose.DIRECT, cents, _Page(wants.title, back_url, wants, address))


def direct_cents(purse: Purse | None, wants: Offer) -> int | None:
    """The card charge for one article and what the purse owes, in whole cents. None: too little for a card."""
    balance = Purse.objects.values_list("balance_micros", flat=True).get(id=purse.id) if purse else 0
    return by_card_cents(wants.price.amount_micros - min(balance, 0))


def by_card_cents(micros: int) -> int | None:
    """The amount rounded up to whole cents, as a card pays it; the difference stays in the purse.

    None when the amount is too little for a card.
    """
    cents = -(-micros // charges.CENT)
    return cents if cents >= max(settings.DIRECT_FROM_CENTS, FLOOR_CENTS) else None


def save_card(purse: Purse, back_url: str, *, address: str = "") -> str:
    """The address of a page that saves a card and charges nothing. Raises PurseRefused or NoAnswer."""
    may_open(purse, address)
    first_look = timezone.now() + charges.FIRST_LOOK
    setup = Setup.objects.create(purse=purse, address=address or None, look_at=first_look)
    back = WayBack(f"{settings.BASE_URL}/purse/cards/return/{setup.id}", _absolute(back_url))
    try:
        page = customers.with_customer(
            purse, lambda name: stripe_api.open_setup(str(setup.id), name, back, f"cs-{setup.id}-{name}")
        )
    except StripeRefused as error:
        raise PurseRefused("card_page_refused", "We could not open the card page.") from error
    Setup.objects.filter(id=setup.id).update(session=page.id, state="open")
    return page.url


def setup_returned(setup_id: uuid.UUID) -> Setup:
    """The buyer is back from saving a card: keep the card. Raises NoAnswer."""
    setup = Setup.objects.select_related("purse").get(id=setup_id)
    if setup.state == "open" and setup.session:
        try:
            apply_setup(setup, stripe_api.session(setup.session))
        except StripeRefused as error:
            if not error.is_gone():
                raise
            _ended(setup, "expired")
        setup.refresh_from_db()
    return setup


def apply_setup(setup: Setup, found: Session) -> None:
    """Record what became of the page that saves a card. Idempotent: buyers, webhooks and the sweeper all lead here."""
    if found.status == "expired":
        _ended(setup, "expired")
    facts = _saved(setup, found) if found.status == "complete" and found.setup_intent else None
    if facts is None:
        return
    with transaction.atomic(durable=True):
        purse = purses.locked(setup.purse_id)
        if not Setup.objects.filter(id=setup.id, state="open").update(state="done"):
            return
        setup.refresh_from_db()
        card = saved_cards.add(purse, facts)
        Purse.objects.filter(id=purse.id, card=None).update(card=card)
        if found.email:
            Purse.objects.filter(id=purse.id, email="").update(email=found.email)
    if Purse.objects.filter(id=purse.id, flag=Purse.Flag.PAST_DUE).exists():
        tabs.use_card(card)  # The tab waits for another card.


def _saved(setup: Setup, found: Session) -> CardFacts | None:
    """The card of a completed page, or None: it is still being checked, or the page ended without one."""
    try:
        return stripe_api.saved_card(found.setup_intent)
    except StripeRefused as error:
        if error.code not in ("no_card", "not_a_card") and not error.is_gone():
            raise  # For instance a key without this right: the card may be there.
        log.warning("%s saved no card: %s", setup, error)
        if _ended(setup, "failed"):
            mail.no_card_saved(setup.purse)
        return None


def _ended(setup: Setup, state: str) -> bool:
    return Setup.objects.filter(id=setup.id, state="open").update(state=state) == 1


@dataclass(frozen=True, slots=True)
class _Page:
    """What a hosted page says, where it leads, what is bought then, and the buyer's IP address."""

    title: str
    back_url: str
    wants: Offer | None
    address: str
    keep_card: bool = False


def _open(purse: Purse, purpose: str, cents: int, page: _Page) -> str:
    may_open(purse, page.address)
    micros, asked_by = cents * charges.CENT, page.address or None
    charge = charges.begin(purse, purpose, micros, page.wants, keep_card=page.keep_card, address=asked_by)
    back = WayBack(f"{settings.BASE_URL}/purse/return/{charge.id}", _absolute(page.back_url))
    origin, sale = restored.origin(charge), Sale(page.title, cents, page.keep_card)
    try:
        opened = customers.with_customer(
            purse, lambda name: stripe_api.open_checkout(origin, name, sale, back, f"cc-{charge.id}-session-{name}")
        )
    except NoAnswer:
        _give_up(charge, "no_answer")
        raise
    except StripeRefused as error:
        _give_up(charge, error.code)
        raise PurseRefused("card_page_refused", "We could not open the card page.") from error
    if not charges.step(charge, (Charge.State.NEW,), state=Charge.State.CREATED, session=opened.id):
        raise PurseRefused("card_page_refused", "The card page took too long to open.")  # The sweeper gave up.
    return opened.url


def _give_up(charge: Charge, reason: str) -> None:
    charges.step(
        charge, (Charge.State.NEW,), state=Charge.State.CANCELED, reason=reason[:64], decided_at=timezone.now()
    )


def may_open(purse: Purse | None, address: str) -> None:
    """Limit the pages opened per hour, by buyer and by address (places.first_address). Raises PurseRefused.

    Thieves test stolen cards by opening many such pages. So many of all buyers together make the limit lower.
    """
    if purse and purse.flag not in (Purse.Flag.NONE, Purse.Flag.PAST_DUE):
        raise PurseRefused("purse_frozen", "This balance is frozen because a card payment is disputed.")
    since = timezone.now() - timedelta(hours=1)
    of_this = (Q(purse=purse) if purse else Q(pk=None)) | (Q(address=address) if address else Q(pk=None))
    limit = settings.CHECKOUTS_PER_HOUR
    if _opened(Q(), since) >= _IN_ALL_PER_HOUR:
        log.critical("%s payment pages within an hour: each buyer may open %s", _IN_ALL_PER_HOUR, _FEW_PER_HOUR)
        limit = min(limit, _FEW_PER_HOUR)
    if _opened(of_this, since) >= limit:
        raise PurseRefused("too_many_checkouts", "You opened too many payment pages. Try again in an hour.")


def _opened(who: Q, since: datetime) -> int:
    pages = Charge.objects.exclude(purpose=Charge.Purpose.TAB), Setup.objects
    return sum(rows.filter(who, made_at__gt=since).count() for rows in pages)


def _absolute(path: str) -> str:
    return path if path.startswith(settings.BASE_URL) else f"{settings.BASE_URL}{path}"
