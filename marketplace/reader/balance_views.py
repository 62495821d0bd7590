"""A person's purse: balance, tab, cards and activity. Every view acts on the session's own purse only.

Every change is a POST from a form of this site, and every response is private.
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
from payments.cards.facts import NoAnswer, StripeRefused
from payments.models import Card, CardRefund, Charge, Purse, Setup
from payments.money import dollars
from publishers import csv_files

from . import joining, statement
from .card_pages import SeeOther, offered_amount, own_purse, to_card_page, topup_amounts, with_cards
from .purse import purse_of

_SHOWN = 50
_SHOWN_MAX = 1000
_UNSURE = "The card processor isn't responding. You won't be charged twice. Please check again in a moment."


@require_safe
@with_cards
def overview(request: HttpRequest) -> HttpResponse:
    """The purse on one page. A visitor without a purse sees how to start."""
    purse = purse_of(request)
    amounts, guests = topup_amounts(0), joining.waiting_guests(request)
    if purse is None or purse.joined_to_id:
        return render(request, "reader/balance_empty.html", {"amounts": amounts, "guests": guests})
    shown = _SHOWN_MAX if request.GET.get("show") == "more" else _SHOWN
    lines = statement.lines(purse, shown + 1)
    live = tabs.live_charge(purse)
    context = {
        "purse": purse,
        "guests": guests,
        "amounts": amounts,
        "available_micros": max(purse.balance_micros, 0),
        "owed_micros": max(-purse.balance_micros, 0),
        "too_little_for_a_card": 0 < -purse.balance_micros < purses.CARD_FLOOR_MICROS,
        "card_floor_micros": purses.CARD_FLOOR_MICROS,
        "room_micros": max(purse.balance_micros + purse.tab_limit_micros, 0),
        "next_charge_at": tabs.next_charge_at(purse),
        "charge": live,
        "asks_bank": live is not None and live.state == Charge.State.ACTION,
        "past_due": purse.flag == Purse.Flag.PAST_DUE,
        "frozen": purse.flag not in (Purse.Flag.NONE, Purse.Flag.PAST_DUE),
        "cards": list(purse.cards.filter(removed_at=None).order_by("id")),
        "refundable": refunds.refundable(purse),
        "tab_days": settings.TAB_DAYS,
        "tab_terms": tabs.terms(purse),
        "tab_offer_micros": tabs.limit_micros(purse),
        "lines": lines[:shown],
        "more": len(lines) > shown and shown < _SHOWN_MAX,
    }
    return render(request, "reader/balance.html", context)


@require_POST
@with_cards
def join(request: HttpRequest) -> HttpResponse:
    """The person claims guest purses with their address: the guest's money and purchases move to their account."""
    if joining.claim_waiting(request):
        messages.success(request, "Done. The money is in your balance, and the articles are in your library.")
    return SeeOther(reverse("purse"))


@require_safe
@with_cards
def movements_csv(request: HttpRequest) -> HttpResponse:
    """The whole activity as a CSV file."""
    rows = statement.csv_rows(own_purse(request))
    return csv_files.download("pennypress-balance.csv", statement.CSV_COLUMNS, rows)


@require_POST
@with_cards
def top_up(request: HttpRequest) -> HttpResponse:
    """Redirect to the hosted top-up page."""
    cents = offered_amount(request.POST.get("amount", ""))
    if cents is None:
        messages.error(request, "Choose one of the top-up amounts. You have not been charged.")
        return redirect("purse")
    keep_card = request.user.is_authenticated and request.POST.get("keep_card") == "1"
    open_page = checkout.top_up_keeping_card if keep_card else checkout.top_up
    back = reverse("purse_canceled")
    return to_card_page(request, "/purse", lambda purse, here: open_page(purse, cents, back, address=here))


# --- The tab ----------------------------------------------------------------------------------------------------


@require_POST
@with_cards
def tab(request: HttpRequest) -> HttpResponse:
    """Open the tab, close it, or pay what is owed now."""
    purse = own_purse(request)
    wanted = request.POST.get("action", "")
    if wanted == "open" and request.user.is_authenticated:
        if tabs.open_tab(purse, request.POST.get("terms", "")):
            messages.success(request, "Your tab is open.")
        else:
            messages.error(request, "Your tab is not open: its terms have changed. Check them and try again.")
    elif wanted == "close":
        tabs.close_tab(purse)
        messages.success(request, "Your tab is closed. We will still charge what you owe to your card.")
    elif wanted == "pay":
        return _pay_now(request, purse)
    else:
        messages.error(request, "Nothing was changed.")
    return SeeOther("/purse")


def _pay_now(request: HttpRequest, purse: Purse) -> HttpResponse:
    try:
        charge = tabs.pay_now(purse)
    except purses.PurseRefused as refusal:
        messages.error(request, f"{refusal.sentence} You have not been charged.")
        return SeeOther("/purse")
    except NoAnswer:
        messages.warning(request, _UNSURE)
        return SeeOther("/purse")
    amount = dollars(charge.amount_micros)
    if charge.state == Charge.State.ACTION:
        return SeeOther(mail.link(charge))
    if charge.state == Charge.State.SUCCEEDED:
        messages.success(request, f"Thank you. We charged {amount} to your card.")
    elif charge.state in (Charge.State.DECLINED, Charge.State.FAILED, Charge.State.CANCELED):
        messages.error(request, f"Your card was declined for {amount}. You have not been charged. Try another card.")
    else:
        messages.warning(
            request, f"Your {amount} payment is being processed. Check again in a moment. You won't be charged twice."
        )
    return SeeOther("/purse")


# --- Saved cards ------------------------------------------------------------------------------------------------


@require_POST
@with_cards
def add_card(request: HttpRequest) -> HttpResponse:
    """Redirect to the hosted page that saves a card and charges nothing. Accounts only."""
    if not request.user.is_authenticated:
        messages.error(request, "Sign in to save a card. You have not been charged.")
        return redirect("account_login")
    leaving = reverse("card_canceled")
    return to_card_page(request, "/purse", lambda purse, here: checkout.save_card(purse, leaving, address=here))


@require_POST
@with_cards
def card(request: HttpRequest, card_id: int) -> HttpResponse:
    """Charge the tab to this card from now on, or remove the card."""
    found = get_object_or_404(Card, pk=card_id, purse=own_purse(request), removed_at=None)
    try:
        if request.POST.get("action") == "use":
            tabs.use_card(found)
            messages.success(request, f"We will charge your tab to your {found} from now on.")
        elif request.POST.get("action") == "remove":
            tabs.remove_card(found)
            messages.success(request, f"We removed your {found}.")
    except purses.PurseRefused as refusal:
        messages.error(request, refusal.sentence)
    except NoAnswer:
        messages.warning(request, "The card processor isn't responding. Please check again in a moment.")
    return SeeOther("/purse")


@require_safe
@with_cards
def card_returned(request: HttpRequest, setup_id: uuid.UUID) -> HttpResponse:
    """The return from the hosted page that saves a card."""
    setup = get_object_or_404(Setup, pk=setup_id, purse=own_purse(request))
    try:
        setup = checkout.setup_returned(setup.pk)
    except (NoAnswer, StripeRefused):
        messages.warning(request, "The card processor isn't responding. Your card will appear here in a moment.")
        return SeeOther("/purse")
    if setup.state == "done":
        messages.success(request, "Your card is saved. You have not been charged.")
    elif setup.state == "failed":
        messages.error(request, "We could not save that, because it is not a card. You have not been charged.")
    else:
        messages.warning(request, "No card was saved. You have not been charged.")
    return SeeOther("/purse")


@require_safe
@with_cards
def card_canceled(request: HttpRequest) -> HttpResponse:
    """The way back from that page without a card: like the return, which says what became of it."""
    purse = purse_of(request)
    setup = Setup.objects.filter(purse=purse).order_by("-made_at").first() if purse else None
    return SeeOther(reverse("card_return", args=[setup.pk]) if setup else reverse("purse"))


# --- Refunds ----------------------------------------------------------------------------------------------------


@require_POST
@with_cards
def give_back(request: HttpRequest, payment_id: uuid.UUID) -> HttpResponse:
    """Refund an article to the balance. Access ends."""
    try:
        payment = purses.refund(payment_id, own_purse(request))
    except purses.PurseRefused as refusal:
        messages.error(request, refusal.sentence)
    else:
        messages.success(request, f"We refunded {dollars(payment.amount_micros)} to your balance.")
    return SeeOther("/library")


@require_POST
@with_cards
def withdraw(request: HttpRequest) -> HttpResponse:
    """Refund unspent money to the card that paid it, for exactly the amount the page offered."""
    purse = own_purse(request)
    offered = {str(found.charge.pk): found for found in refunds.refundable(purse)}
    wanted = offered.get(request.POST.get("charge", ""))
    if wanted is None or request.POST.get("micros") != str(wanted.to_card_micros):
        messages.error(
            request, "The refundable amounts have changed, so nothing was refunded. Check the amounts and try again."
        )
        return SeeOther("/purse")
    try:
        refund = refunds.to_card(purse, wanted.charge, wanted.micros)
    except purses.PurseRefused as refusal:
        messages.error(request, f"{refusal.sentence} Nothing was refunded.")
        return SeeOther("/purse")
    amount = dollars(refund.amount_micros)
    if refund.state in (CardRefund.State.ASKED, CardRefund.State.DONE):
        messages.success(request, f"We are refunding {amount} to your card. It usually takes a few days to arrive.")
    else:
        messages.error(request, f"The card processor refused to refund {amount}. The money is still in your balance.")
    return SeeOther("/purse")
