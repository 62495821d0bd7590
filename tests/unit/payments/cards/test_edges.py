"""The numbers of cards and purses, each at the value it is shipped with: one less and one more."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from payments import gate, purses
from payments.cards import charges, checkout, holds, tabs
from payments.models import Card, Charge, Payment, PaymentState, Purse, Setup
from publishers.articles import catalogue
from tests import buyers, cast

pytestmark = pytest.mark.django_db
WORTH = 1_000_000


@pytest.fixture(autouse=True)
def _cards_are_on(settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = "sk_test_of_the_tests"


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """Our own clock stands still."""
    moment = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: moment)
    return moment


def with_card(**more: Any) -> Purse:
    """A purse with a saved card."""
    purse = buyers.purse(**more)
    Purse.objects.filter(id=purse.id).update(card=Card.objects.create(purse=purse, stripe_card_id=f"pm_{purse.id}"))
    purse.refresh_from_db()
    return purse


def with_tab() -> Purse:
    """A purse that may go below zero as far as its buyer is trusted."""
    purse = with_card()
    buyers.open_tab(purse)
    return purse


def word(purse: Purse, micros: int, number: int = 1) -> str:
    """Why a purse cannot buy something at this price; empty when it has."""
    try:
        buyers.press(purse, buyers.offer(number, micros))
    except gate.PaymentRequired as refused:
        return refused.word
    return ""


# --- Giving back --------------------------------------------------------------------------------------------


@pytest.mark.both_sides("REFUND_SECONDS")
def test_an_article_can_be_given_back_for_ten_minutes(now: datetime):
    purse = buyers.purse(WORTH)
    for number, seconds in ((1, 599), (2, 600)):
        payment = buyers.press(purse, buyers.offer(number)).payment
        Payment.objects.filter(id=payment.id).update(decided_at=now - timedelta(seconds=seconds))
    early, late = Payment.objects.order_by("resource")
    with pytest.raises(purses.PurseRefused, match="refund_too_late"):
        purses.refund(late.id, purse)
    assert purses.refund(early.id, purse) == early


@pytest.mark.both_sides("REFUND_SECONDS")
@pytest.mark.parametrize(("seconds", "offered"), [(599, True), (600, False)])
def test_the_library_offers_that_for_ten_minutes(now: datetime, seconds: int, offered: bool):
    reader = cast.person("reader")
    purse = buyers.purse(WORTH, owner=f"user:{reader.pk}")
    owls = cast.article(cast.publication(cast.person("alice")))
    payment = buyers.press(purse, catalogue.listing(owls.pk).offer("people", mime_type="text/html")).payment
    Payment.objects.filter(id=payment.id).update(decided_at=now - timedelta(seconds=seconds))
    browser: Client = cast.signed_in(reader)
    page = browser.get("/library", headers={"Accept": "text/html"}).content.decode()
    assert owls.current_version.title in page
    assert (f"{payment.id}" in page) is offered


# --- The hold -----------------------------------------------------------------------------------------------


@pytest.mark.both_sides("CLEARING_HOLD_SECONDS")
def test_a_card_sale_is_held_for_a_week(now: datetime):
    purse = buyers.purse(WORTH)
    Charge.objects.update(available_at=now)
    payment = buyers.press(purse, buyers.offer()).payment
    assert payment.decided_at
    week = timedelta(days=7)
    assert holds.clear(payment.decided_at + week - timedelta(seconds=1)) == 0
    assert holds.clear(payment.decided_at + week) == 1
    assert Payment.objects.get().state == PaymentState.FINAL


@pytest.mark.both_sides("CLEARING_HOLD_SECONDS")
def test_a_sale_that_is_due_does_not_take_along_the_next_one_of_its_purse(now: datetime):
    purse = buyers.purse(WORTH)
    Charge.objects.update(available_at=now)
    for number, seconds in ((1, 7 * 86_400 + 1), (2, 7 * 86_400 - 1)):
        payment = buyers.press(purse, buyers.offer(number)).payment
        Payment.objects.filter(id=payment.id).update(decided_at=now - timedelta(seconds=seconds))
    assert holds.clear() == 1
    assert list(Payment.objects.order_by("resource").values_list("state", flat=True)) == [
        PaymentState.FINAL,
        PaymentState.CONFIRMED,
    ]


# --- Hosted pages -------------------------------------------------------------------------------------------


def opened(purse: Purse, pages: int, setups: int = 0, address: str = "") -> None:
    for _ in range(pages):
        charge = charges.begin(purse, Charge.Purpose.TOPUP, 5_000_000, address=address)
        charges.step(charge, (Charge.State.NEW,), state=Charge.State.CANCELED)
    for _ in range(setups):
        Setup.objects.create(purse=purse, address=address or None)


def may_open(purse: Purse | None, address: str = "") -> bool:
    try:
        checkout.may_open(purse, address)
    except purses.PurseRefused as refused:
        return refused.word != "too_many_checkouts"
    return True


@pytest.mark.both_sides("CHECKOUTS_PER_HOUR")
@pytest.mark.parametrize(("pages", "setups"), [(5, 0), (0, 5), (3, 2)])
def test_a_buyer_opens_five_pages_in_an_hour_of_either_sort(now: datetime, pages: int, setups: int):
    purse = buyers.purse()
    opened(purse, max(pages - 1, 0), setups if pages else setups - 1)
    assert may_open(purse)
    opened(purse, bool(pages), not pages)
    assert not may_open(purse)
    assert may_open(buyers.purse())


@pytest.mark.both_sides("CHECKOUTS_PER_HOUR")
def test_an_address_opens_five_pages_in_an_hour_whoever_is_there(now: datetime):
    for number in range(5):
        assert may_open(None, "10.0.0.1")
        opened(buyers.purse(), number % 2, 1 - number % 2, address="10.0.0.1")
    assert not may_open(buyers.purse(), "10.0.0.1")
    assert not may_open(None, "10.0.0.1")
    assert may_open(buyers.purse(), "10.0.0.2")
    assert may_open(None)


@pytest.mark.both_sides("CHECKOUTS_PER_HOUR")
@pytest.mark.parametrize("model", [Charge, Setup])
def test_what_was_opened_an_hour_ago_does_not_count(now: datetime, model: Any):
    purse = buyers.purse()
    opened(purse, 5 * (model is Charge), 5 * (model is Setup))
    oldest = model.objects.filter(id=model.objects.first().id)
    for seconds, allowed in ((3599, False), (3601, True)):
        oldest.update(made_at=now - timedelta(seconds=seconds))
        assert may_open(purse) is allowed


@pytest.mark.both_sides("CHECKOUTS_PER_HOUR")
def test_a_flood_of_pages_slows_everybody_and_shuts_nobody_out(
    now: datetime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(checkout, "_IN_ALL_PER_HOUR", 4)
    purse = buyers.purse()
    opened(purse, 1, address="10.0.0.1")
    opened(buyers.purse(), 2)
    charges.begin(with_tab(), Charge.Purpose.TAB, 5_000_000)  # Opens no page.
    assert may_open(purse)
    assert not caplog.records
    opened(buyers.purse(), 1)
    assert may_open(purse, "10.0.0.1")
    assert may_open(buyers.purse(), "10.0.0.2")
    assert {record.levelname for record in caplog.records} == {"CRITICAL"}
    opened(purse, 1)
    assert not may_open(purse)


@pytest.mark.both_sides("TOPUP_CENTS")
def test_three_top_ups_are_on_offer_and_no_cent_more_or_less(monkeypatch: pytest.MonkeyPatch):
    purse, asked = buyers.purse(), []
    monkeypatch.setattr(checkout, "_open", lambda of, purpose, cents, *rest: asked.append(cents))
    for cents in (499, 501, 999, 1001, 1999, 2001, 0, -500):
        with pytest.raises(purses.PurseRefused, match="invalid_amount"):
            checkout.top_up(purse, cents, "/")
    for cents in (500, 1000, 2000):
        checkout.top_up(purse, cents, "/")
    assert asked == [500, 1000, 2000]


@pytest.mark.both_sides("DIRECT_FROM_CENTS")
@pytest.mark.parametrize(("micros", "cents"), [(2_990_000, None), (2_990_001, 300), (3_000_000, 300), (3_000_001, 301)])
def test_a_card_alone_pays_from_three_dollars(monkeypatch: pytest.MonkeyPatch, micros: int, cents: int | None):
    purse, asked = buyers.purse(), []
    monkeypatch.setattr(checkout, "_open", lambda of, purpose, cents, *rest: asked.append(cents))
    assert checkout.direct_cents(None, buyers.offer(1, micros)) == cents
    if cents is None:
        with pytest.raises(purses.PurseRefused, match="below_card_minimum"):
            checkout.direct(purse, buyers.offer(1, micros), "/")
    else:
        checkout.direct(purse, buyers.offer(1, micros), "/")
    assert asked == ([] if cents is None else [cents])


@pytest.mark.both_sides("DIRECT_FROM_CENTS")
@pytest.mark.parametrize(("owed", "cents"), [(9_999, 300), (10_000, 300), (10_001, 301)])
def test_what_is_owed_counts_towards_the_three_dollars(owed: int, cents: int):
    purse = buyers.purse(tab=WORTH)
    buyers.press(purse, buyers.offer(1, owed))
    assert checkout.direct_cents(purse, buyers.offer(2, 2_990_000)) == cents


# --- The tab ------------------------------------------------------------------------------------------------


@pytest.mark.both_sides("TAB_LIMIT_CENTS")
@pytest.mark.parametrize(("micros", "said"), [(3_000_000, ""), (3_000_001, "tab_limit_reached")])
def test_a_new_tab_goes_three_dollars_below_zero(micros: int, said: str):
    assert word(with_tab(), micros) == said


def paid_tabs(purse: Purse, number: int, first: datetime) -> None:
    for one in range(number):
        charge = buyers.fill(purse, 500_000)
        Charge.objects.filter(id=charge.id).update(purpose="tab", decided_at=first + timedelta(days=one))


@pytest.mark.both_sides("TAB_LIMIT_CENTS", "TAB_LIMIT_TRUSTED_CENTS")
@pytest.mark.parametrize(
    ("number", "seconds", "limit"),
    [(2, 30 * 86_400 + 1, 10_000_000), (2, 30 * 86_400 - 1, 3_000_000), (1, 30 * 86_400 + 1, 3_000_000)],
    ids=["trusted", "a second too early", "one tab"],
)
def test_two_paid_tabs_and_thirty_days_are_trusted_with_ten_dollars(
    now: datetime, number: int, seconds: int, limit: int
):
    purse = with_card()
    paid_tabs(purse, number, now - timedelta(seconds=seconds))
    buyers.open_tab(purse)
    assert word(purse, purse.balance_micros + limit + 1) == "tab_limit_reached"
    assert word(purse, purse.balance_micros + limit) == ""


@pytest.fixture
def charged(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What is charged, in micros, without a processor."""
    made: list[int] = []
    monkeypatch.setattr(tabs, "drive", lambda charge: made.append(charge.amount_micros) or charge)
    return made


@pytest.mark.both_sides("TAB_SETTLE_CENTS")
@pytest.mark.parametrize(("owed", "due"), [(4_999_999, []), (5_000_000, [5_000_000]), (5_000_001, [5_000_000])])
def test_a_tab_is_charged_when_five_dollars_are_owed(charged: list[int], owed: int, due: list[int]):
    purse = with_tab()
    Purse.objects.update(tab_limit_micros=20_000_000)
    assert word(purse, owed) == ""
    purse.refresh_from_db()
    assert (tabs.next_charge_at(purse) <= timezone.now()) is bool(due)
    tabs.charge_due()
    assert charged == due


@pytest.mark.both_sides("TAB_SETTLE_CENTS", "TAB_LIMIT_CENTS")
@pytest.mark.parametrize(("owed", "due"), [(2_699_999, []), (2_700_000, [2_700_000])])
def test_or_when_nine_tenths_of_its_limit_are(charged: list[int], owed: int, due: list[int]):
    purse = with_tab()
    assert word(purse, owed) == ""
    purse.refresh_from_db()
    assert (tabs.next_charge_at(purse) <= timezone.now()) is bool(due)
    tabs.charge_due()
    assert charged == due


@pytest.mark.both_sides("TAB_DAYS")
def test_or_after_a_week(charged: list[int]):
    purse = with_tab()
    assert word(purse, 500_000) == ""
    purse.refresh_from_db()
    week = purse.owing_since + timedelta(days=7)
    assert tabs.next_charge_at(purse) == week
    assert tabs.charge_due(week - timedelta(seconds=1)) == []
    tabs.charge_due(week + timedelta(seconds=1))
    assert charged == [500_000]
