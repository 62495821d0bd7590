"""Each guard of a tab and of the card that pays it, alone."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail as outbox
from django.utils import timezone

from payments import purses
from payments.cards import charges, saved_cards, stripe_api, tabs
from payments.models import Card, Charge, Purse
from tests import buyers
from tests.unit.meanwhile import overtaken

from .rows import FLAGS, debtor

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nobody_is_asked")]


@pytest.fixture
def charged(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    made: list[int] = []
    monkeypatch.setattr(charges, "drive", lambda charge: made.append(charge.amount_micros) or charge)
    return made


WRONG = [
    ({"card": None}, "no card"),
    ({"flag": "past_due"}, "past due"),
    ({"flag": "dispute"}, "disputed"),
    ({"flag": "fraud"}, "fraud"),
    ({"flag": "chargeback"}, "lost"),
    ({"tab_opened_at": None}, "no word of the buyer's"),
]


@pytest.mark.parametrize(("change", "what"), WRONG, ids=[what for _, what in WRONG])
def test_the_last_word_on_a_tab_charges_nobody_who_may_not_be(charged: list[int], change: dict[str, Any], what: str):
    purse = debtor()
    Purse.objects.update(**change)
    assert tabs.charge_tab(purse.id) is None
    assert charged == []


@pytest.mark.parametrize(("change", "what"), WRONG, ids=[what for _, what in WRONG])
def test_nor_does_the_first_look_choose_them(monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], what: str):
    debtor()
    chosen: list[Any] = []
    monkeypatch.setattr(tabs, "charge_tab", chosen.append)
    tabs.charge_due()
    assert len(chosen) == 1
    Purse.objects.update(**change)
    tabs.charge_due()
    assert len(chosen) == 1


@pytest.mark.parametrize(("owed", "due"), [(499_999, []), (500_000, [500_000]), (509_999, [500_000])])
def test_no_card_is_charged_less_than_half_a_dollar_or_a_part_of_a_cent(charged: list[int], owed: int, due: list[int]):
    purse = debtor(owed)
    tabs.charge_tab(purse.id)
    assert charged == due


@pytest.mark.parametrize("flag", FLAGS)
def test_who_asks_to_pay_may_when_late_and_not_when_frozen(charged: list[int], flag: str):
    purse = debtor()
    Purse.objects.update(flag=flag, tab_opened_at=None)
    tabs.charge_tab(purse.id, asked=True)
    assert charged == ([6_000_000] if flag in ("", "past_due") else [])


@pytest.mark.parametrize("state", [state.value for state in Charge.LIVE])
def test_a_tab_that_is_being_charged_is_not_charged_beside_it(charged: list[int], state: str):
    purse = debtor()
    charge = charges.begin(purse, Charge.Purpose.TAB, 6_000_000)
    Charge.objects.filter(id=charge.id).update(state=state)
    assert tabs.charge_tab(purse.id) is None
    assert charged == []


def test_a_guests_charge_that_is_under_way_is_the_owners(charged: list[int]):
    guest, owner = buyers.purse(), debtor()
    charges.begin(guest, Charge.Purpose.TAB, 6_000_000)
    Purse.objects.filter(id=guest.id).update(joined_to=owner)
    assert tabs.charge_tab(owner.id) is None


def test_without_a_saved_card_no_tab_is_opened():
    purse = buyers.purse()
    assert tabs.terms(purse) is None
    assert not tabs.open_tab(purse, "3000000-2700000-7-1")
    purse.refresh_from_db()
    assert (purse.tab_limit_micros, purse.tab_opened_at) == (0, None)


@pytest.mark.parametrize("changed", ["limit", "card", "flag", "days"])
def test_a_tab_opens_on_the_terms_that_were_shown_and_on_no_others(changed: str, settings: Any):
    purse = debtor(0)
    Purse.objects.filter(id=purse.id).update(tab_limit_micros=0, tab_opened_at=None)
    purse.refresh_from_db()
    shown = tabs.terms(purse)
    assert shown
    if changed == "card":
        Purse.objects.filter(id=purse.id).update(card=other_card(purse))
    elif changed == "flag":
        Purse.objects.filter(id=purse.id).update(flag="dispute")
    else:
        setattr(settings, {"limit": "TAB_LIMIT_CENTS", "days": "TAB_DAYS"}[changed], 9)
    assert not tabs.open_tab(Purse.objects.get(id=purse.id), shown.name)
    purse.refresh_from_db()
    assert (purse.tab_limit_micros, purse.tab_opened_at) == (0, None)


def test_a_tab_was_opened_when_it_was_opened_first():
    purse = debtor(0)
    first = purse.tab_opened_at
    buyers.open_tab(purse)
    assert purse.tab_opened_at == first


def other_card(purse: Purse) -> Card:
    return Card.objects.create(purse=purse, stripe_card_id="pm_other")


def test_to_forget_another_card_closes_no_tab(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stripe_api, "forget_card", lambda stripe_card_id: None)
    purse = debtor()
    mine, other = purse.card, other_card(purse)
    tabs.remove_card(other)
    purse.refresh_from_db()
    assert (purse.card, purse.tab_limit_micros, bool(purse.tab_opened_at)) == (mine, 20_000_000, True)
    with pytest.raises(purses.PurseRefused, match="tab_owed"):
        tabs.remove_card(mine)


@pytest.mark.parametrize("mine", [True, False])
def test_a_card_that_was_removed_there_closes_its_own_tab_only(mine: bool):
    purse = debtor()
    other_card(purse)
    saved_cards.detached(purse.card.stripe_card_id if mine else "pm_other")
    purse.refresh_from_db()
    assert (purse.card is None, purse.tab_limit_micros == 0, purse.tab_opened_at is None) == (mine, mine, mine)


def test_a_card_is_removed_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stripe_api, "forget_card", lambda stripe_card_id: None)
    purse = debtor(0)
    other = other_card(purse)
    tabs.remove_card(other)
    first = timezone.now() - timedelta(days=1)
    Card.objects.filter(id=other.id).update(removed_at=first)
    tabs.remove_card(other)
    saved_cards.detached("pm_other")
    other.refresh_from_db()
    assert other.removed_at == first
    tabs.use_card(other)
    purse.refresh_from_db()
    assert purse.card != other


@pytest.mark.parametrize("change", [{"reminders": 1}, {"state": "succeeded"}])
def test_of_two_who_would_remind_one_does(change: dict[str, Any]):
    purse = debtor()
    charge = charges.begin(purse, Charge.Purpose.TAB, 6_000_000)
    Charge.objects.update(state="action", decided_at=timezone.now() - timedelta(days=2))
    charge.refresh_from_db()
    with overtaken(Charge, lambda: Charge.objects.update(**change)):
        tabs.dun()
    assert outbox.outbox == []
    Charge.objects.update(state="canceled")
