"""A person's purse: balance, tab, cards and every movement. Only ever the purse of the session that asks.

What changes something is a POST of this site's own form, and every answer is private.
"""

import uuid

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from payments import purses
from payments.cards import checkout, mail, refunds, tabs
from payments.cards.facts import NoAnswer
from payments.models import Card, CardRefund, Charge, Purse, Setup
from payments.money import format_usd
from publishers import csv_files

from . import joining, statement
from .card_pages import SeeOther, offered_amount, own_purse, to_card_page, topup_amounts, with_cards
from .purse import purse_of

_SHOWN = 50
_SHOWN_MAX = 1000
_UNSURE = "The card processor does not answer just now. Nothing is ever charged twice; please look again in a moment."


@require_safe
@with_cards
def overview(request: HttpRequest) -> HttpResponse:
    """Everything about the purse on one page; for who has none yet, how to begin."""
    purse = purse_of(request)
    amounts, guests = topup_amounts(0), joining.guests_of_the_address(request)
    if purse is None or purse.joined_to_id:
        return render(request, "reader/balance_empty.html", {"amounts": amounts, "guests": guests})
    shown = _SHOWN_MAX if request.GET.get("show") == "more" else _SHOWN
    lines = statement.lines(purse, 2 * shown + 4)  # A purchase has two lines in the books.
    live = tabs.live_charge(purse)
    context = {
        "purse": purse,
        "guests": guests,
        "amounts": amounts,
        "available_micros": max(purse.balance_micros, 0),
        "owed_micros": max(-purse.balance_micros, 0),
        "room_micros": max(purse.balance_micros + purse.tab_limit_micros, 0),
        "next_charge_at": tabs.next_charge_at(purse),
        "charge": live,
        "asks_bank": live is not None and live.state == Charge.State.ACTION,
        "past_due": purse.flag == Purse.Flag.PAST_DUE,
        "frozen": purse.flag not in (Purse.Flag.NONE, Purse.Flag.PAST_DUE),
        "cards": list(purse.cards.filter(removed_at=None).order_by("id")),
        "refundable": refunds.refundable(purse),
        "tab_days": settings.TAB_DAYS,
        "tab_offer_micros": tabs.limit_micros(purse),
        "lines": lines[:shown],
        "more": len(lines) > shown and shown < _SHOWN_MAX,
    }
    return render(request, "reader/balance.html", context)


@require_POST
@with_cards
def join(request: HttpRequest) -> HttpResponse:
    """The person says that a guest who named their address was them: what the guest paid and bought is theirs."""
    if joining.join_guests_of_the_address(request):
        messages.success(request, "It is yours now: what was paid is on your balance, what was bought in your library.")
    return SeeOther(reverse("purse"))


@require_safe
@with_cards
def movements_csv(request: HttpRequest) -> HttpResponse:
    """Every movement as a file."""
    rows = statement.csv_rows(own_purse(request))
    return csv_files.download("pennypress-balance.csv", statement.CSV_COLUMNS, rows)


@require_POST
@with_cards
def top_up(request: HttpRequest) -> HttpResponse:
    """To the hosted page that fills the balance."""
    cents = offered_amount(request.POST.get("amount", ""))
    if cents is None:
        messages.error(request, "Choose one of the amounts on offer. You were not charged.")
        return redirect("purse")
    return to_card_page(
        request,
        "/purse",
        lambda purse, here: checkout.top_up(purse, cents, "/purse", address=here),
    )


# --- The tab ----------------------------------------------------------------------------------------------------


@require_POST
@with_cards
def tab(request: HttpRequest) -> HttpResponse:
    """Open it, close it, or pay what is owed now."""
    purse = own_purse(request)
    wanted = request.POST.get("action", "")
    if wanted == "open" and request.user.is_authenticated and purse.card_id:
        tabs.open_tab(purse)
        messages.success(request, "Your tab is open.")
    elif wanted == "close":
        tabs.close_tab(purse)
        messages.success(request, "Your tab is closed. What is owed is still charged to your card.")
    elif wanted == "pay":
        return _pay_now(request, purse)
    else:
        messages.error(request, "Nothing was changed.")
    return SeeOther("/purse")


def _pay_now(request: HttpRequest, purse: Purse) -> HttpResponse:
    try:
        charge = tabs.pay_now(purse)
    except purses.PurseRefused as refusal:
        messages.error(request, f"{refusal.sentence} You were not charged.")
        return SeeOther("/purse")
    except NoAnswer:
        messages.warning(request, _UNSURE)
        return SeeOther("/purse")
    amount = f"${format_usd(charge.amount_micros)}"
    if charge.state == Charge.State.ACTION:
        return SeeOther(mail.link(charge))
    if charge.state == Charge.State.SUCCEEDED:
        messages.success(request, f"Thank you: {amount} was charged to your card.")
    elif charge.state in (Charge.State.DECLINED, Charge.State.FAILED, Charge.State.CANCELED):
        messages.error(request, f"Your card was declined for {amount}. You were not charged. Try another card.")
    else:
        messages.warning(request, f"{amount} is being charged. Look again in a moment; it is charged only once.")
    return SeeOther("/purse")


# --- Saved cards ------------------------------------------------------------------------------------------------


@require_POST
@with_cards
def add_card(request: HttpRequest) -> HttpResponse:
    """To the hosted page that saves a card and charges nothing. For accounts only: a tab is a small credit."""
    if not request.user.is_authenticated:
        messages.error(request, "Sign in first: a card can only be saved for an account. You were not charged.")
        return redirect("account_login")
    return to_card_page(request, "/purse", lambda purse, here: checkout.save_card(purse, "/purse", address=here))


@require_POST
@with_cards
def card(request: HttpRequest, card_id: int) -> HttpResponse:
    """Charge the tab to this card from now on, or forget it."""
    found = get_object_or_404(Card, pk=card_id, purse=own_purse(request), removed_at=None)
    try:
        if request.POST.get("action") == "use":
            tabs.use_card(found)
            messages.success(request, f"Your tab is charged to your {found} from now on.")
        elif request.POST.get("action") == "remove":
            tabs.remove_card(found)
            messages.success(request, f"Your {found} was removed.")
    except purses.PurseRefused as refusal:
        messages.error(request, refusal.sentence)
    except NoAnswer:
        messages.warning(request, "The card processor does not answer just now. The card was not changed.")
    return SeeOther("/purse")


@require_safe
@with_cards
def card_returned(request: HttpRequest, setup_id: uuid.UUID) -> HttpResponse:
    """Back from saving a card."""
    setup = get_object_or_404(Setup, pk=setup_id, purse=own_purse(request))
    try:
        setup = checkout.setup_returned(setup.pk)
    except NoAnswer:
        messages.warning(request, "The card processor does not answer just now. Your card appears here in a moment.")
        return SeeOther("/purse")
    if setup.state == "done":
        messages.success(request, "Your card is saved, and your tab is open. You were not charged.")
    else:
        messages.warning(request, "No card was saved. You were not charged.")
    return SeeOther("/purse")


# --- Money and articles back --------------------------------------------------------------------------------------


@require_POST
@with_cards
def give_back(request: HttpRequest, payment_id: uuid.UUID) -> HttpResponse:
    """An article back for its price, to the balance."""
    try:
        payment = purses.refund(payment_id, own_purse(request))
    except purses.PurseRefused as refusal:
        messages.error(request, refusal.sentence)
    else:
        messages.success(request, f"Given back: ${format_usd(payment.amount_micros)} is on your balance again.")
    return SeeOther("/library")


@require_POST
@with_cards
def withdraw(request: HttpRequest) -> HttpResponse:
    """Unspent money back to the card it came from; never more than the page offered."""
    purse = own_purse(request)
    offered = {str(charge.pk): (charge, micros) for charge, micros in refunds.refundable(purse)}
    charge, micros = offered.get(request.POST.get("charge", ""), (None, 0))
    if charge is None or request.POST.get("micros") != str(micros):
        messages.error(request, "What can be refunded has changed. Nothing was moved; look at the amounts again.")
        return SeeOther("/purse")
    try:
        refund = refunds.to_card(purse, charge, micros)
    except purses.PurseRefused as refusal:
        messages.error(request, f"{refusal.sentence} Nothing was moved.")
        return SeeOther("/purse")
    amount = f"${format_usd(micros)}"
    if refund.state in (CardRefund.State.ASKED, CardRefund.State.DONE):
        messages.success(request, f"{amount} is on its way back to your card. That can take some days.")
    else:
        messages.error(request, f"The card processor did not refund {amount}. It is on your balance, as before.")
    return SeeOther("/purse")
