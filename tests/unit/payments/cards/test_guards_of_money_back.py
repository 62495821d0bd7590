"""Each guard of refunds, disputes, tabs and holds alone. The processor is asked only if a test gives its answer."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail as outbox
from django.utils import timezone

from payments import purses
from payments.books import ledger
from payments.cards import charges, disputes, holds, refunds, saved_cards, stripe_api, tabs, webhooks
from payments.cards.facts import CardFacts, DisputeFacts, Event, Money, RefundFacts
from payments.models import Card, CardRefund, Charge, Dispute, Payment, PaymentState, ProcessorEvent, Purse, Transaction
from tests import buyers
from tests.unit.meanwhile import overtaken

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nobody_is_asked(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.STRIPE_SECRET_KEY = "sk_test_of_the_tests"
    monkeypatch.setattr(stripe_api, "_call", lambda call: pytest.fail("the processor was asked"))


def balance(purse: Purse) -> int:
    purse.refresh_from_db()
    return purse.balance_micros


def paid(purse: Purse, micros: int = 10_000_000, intent: str = "pi_1") -> Charge:
    """A charge that has succeeded."""
    made = buyers.fill(purse, micros)
    Charge.objects.filter(id=made.id).update(intent=intent)
    made.refresh_from_db()
    return made


# --- What may go back to a card -------------------------------------------------------------------------


@pytest.fixture
def unsent(monkeypatch: pytest.MonkeyPatch) -> list[CardRefund]:
    """Refunds that were asked for; nothing is sent."""
    asked: list[CardRefund] = []
    monkeypatch.setattr(refunds, "drive", lambda refund: asked.append(refund) or refund)
    return asked


def word(purse: Purse, charge: Charge, micros: int, **more: Any) -> str:
    """Why nothing goes back; empty when it does."""
    try:
        refunds.to_card(purse, charge, micros, **more)
    except purses.PurseRefused as refused:
        return refused.word
    return ""


def test_no_more_goes_back_than_the_card_has_paid_though_the_balance_has_it(unsent: list[CardRefund]):
    purse = buyers.purse()
    first, _ = paid(purse), paid(purse, intent="pi_2")
    assert word(purse, first, 10_010_000) == "refund_too_large"
    assert word(purse, first, 10_000_000) == ""
    assert word(purse, first, 10_000) == "refund_too_large"
    assert (balance(purse), len(unsent)) == (10_000_000, 1)


def test_what_was_refunded_before_counts_though_the_balance_has_it(unsent: list[CardRefund]):
    purse = buyers.purse()
    first, _ = paid(purse), paid(purse, intent="pi_2")
    refund = refunds.to_card(purse, first, 4_000_000)
    refunds.apply(facts(refund))
    first.refresh_from_db()
    assert first.refunded_micros == 4_000_000
    assert word(purse, first, 6_010_000) == "refund_too_large"
    assert word(purse, first, 6_000_000) == ""


def test_no_more_goes_back_than_is_unspent_though_the_card_has_paid_it(unsent: list[CardRefund]):
    purse = buyers.purse()
    charge = paid(purse)
    buyers.press(purse, buyers.offer(1, 1_000_000))
    assert word(purse, charge, 9_010_000) == "insufficient_balance"
    assert word(purse, charge, 9_000_000) == ""


def test_a_disputed_charge_does_not_go_back_though_its_purse_is_in_order(unsent: list[CardRefund]):
    purse = buyers.purse()
    charge = paid(purse)
    paid(purse, intent="pi_2")
    disputes.apply(disputed("needs_response", moved("txn_1", -300)))
    Purse.objects.update(flag="")
    charge.refresh_from_db()
    assert charge.disputed_micros == 3_000_000
    for frozen in (False, True):
        assert word(purse, charge, 10_000, frozen=frozen) == "charge_disputed"
    assert unsent == []
    assert refunds.refundable(purse) == [(Charge.objects.get(intent="pi_2"), 10_000_000)]
    Purse.objects.update(flag="dispute")


@pytest.mark.parametrize("flag", [flag.value for flag in Purse.Flag if flag.value])
def test_nothing_leaves_a_purse_that_is_not_in_order_though_nothing_is_disputed(unsent: list[CardRefund], flag: str):
    purse = buyers.purse()
    charge = paid(purse)
    assert refunds.refundable(purse) == [(charge, 10_000_000)]
    Purse.objects.update(flag=flag)
    assert refunds.refundable(purse) == []
    assert word(purse, charge, 10_000) == "charge_disputed"
    assert word(purse, charge, 10_000, frozen=True) == ""


def test_another_purses_charge_does_not_go_back_from_mine(unsent: list[CardRefund]):
    purse, other = buyers.purse(), buyers.purse()
    paid(purse)
    with pytest.raises(Charge.DoesNotExist):
        refunds.to_card(purse, paid(other, intent="pi_2"), 10_000)
    assert unsent == []


@pytest.mark.parametrize("micros", [0, -10_000, 5_000, 10_001])
def test_only_whole_cents_go_back(unsent: list[CardRefund], micros: int):
    purse = buyers.purse()
    assert word(purse, paid(purse), micros) == "invalid_amount"


# --- What became of it ----------------------------------------------------------------------------------


def facts(of: CardRefund, status: str = "succeeded") -> RefundFacts:
    return RefundFacts("re_1", status, of.amount_micros // charges.CENT, of.charge.intent, str(of.id))


@pytest.fixture
def refund(unsent: list[CardRefund]) -> CardRefund:
    """Four of ten dollars, asked for."""
    purse = buyers.purse()
    return refunds.to_card(purse, paid(purse), 4_000_000)


def test_a_refund_is_booked_once_by_whoever_brings_it(refund: CardRefund):
    stale = CardRefund.objects.select_related("charge").get()
    refunds.apply(facts(refund))
    refunds._done(stale, facts(refund))
    assert (Charge.objects.get().refunded_micros, CardRefund.objects.get().state) == (4_000_000, "done")
    assert ledger.balance("world:stripe", "USD") == -6_000_000


def test_a_refund_that_came_back_comes_back_once(refund: CardRefund):
    refunds.apply(facts(refund))
    stale = CardRefund.objects.select_related("charge").get()
    for _ in range(2):
        refunds._failed(stale, facts(refund, "failed"))
    assert (Charge.objects.get().refunded_micros, CardRefund.objects.get().state) == (0, "failed")
    assert balance(refund.charge.purse) == 10_000_000
    refunds.apply(facts(refund))
    assert (CardRefund.objects.get().state, balance(refund.charge.purse)) == ("failed", 10_000_000)


def test_old_news_that_it_failed_does_not_undo_what_went_meanwhile(refund: CardRefund):
    """Whoever brings it read the row while it was only asked for."""
    stale = CardRefund.objects.select_related("charge").get()
    refunds.apply(facts(refund))
    refunds._failed(stale, facts(refund, "failed"))
    assert CardRefund.objects.get().state == "done"
    assert balance(refund.charge.purse) == 6_000_000


def test_what_was_put_aside_comes_back_once(refund: CardRefund):
    stale = CardRefund.objects.select_related("charge").get()
    for _ in range(2):
        refunds._release(stale, "refused")
    assert (CardRefund.objects.get().state, balance(refund.charge.purse)) == ("refused", 10_000_000)
    refunds.apply(facts(refund))
    assert (CardRefund.objects.get().state, balance(refund.charge.purse)) == ("refused", 10_000_000)


def test_a_refund_that_is_decided_is_not_sent_again(refund: CardRefund, monkeypatch: pytest.MonkeyPatch):
    refunds.apply(facts(refund))
    monkeypatch.undo()
    assert refund.state == "asked"
    monkeypatch.setattr(stripe_api, "_call", lambda call: pytest.fail("the processor was asked"))
    assert refunds.drive(refund).state == "done"


def test_a_refund_made_by_hand_is_one_row_whoever_sees_it():
    purse = buyers.purse()
    paid(purse)
    by_hand = RefundFacts("re_hand", "succeeded", 300, "pi_1", "")
    for _ in range(2):
        refunds.apply(by_hand)
    assert (CardRefund.objects.count(), balance(purse)) == (1, 7_000_000)


def test_a_refund_of_what_was_never_paid_is_nobodys():
    charges.begin(buyers.purse(), Charge.Purpose.TOPUP, 5_000_000)
    Charge.objects.update(intent="pi_1", state="canceled")
    refunds.apply(RefundFacts("re_hand", "succeeded", 300, "pi_1", ""))
    assert not CardRefund.objects.exists()


# --- Disputes -------------------------------------------------------------------------------------------


def moved(name: str, cents: int, fee: int = 0) -> Money:
    return Money(name, "adjustment", "dp_1", cents, fee)


def disputed(status: str, *money: Money, intent: str = "pi_1", name: str = "dp_1") -> DisputeFacts:
    return DisputeFacts(name, status, "fraudulent", 1000, intent, money)


@pytest.fixture
def spender() -> Purse:
    """Ten dollars came, four were spent: three that are cleared and one that is not."""
    purse = buyers.purse()
    paid(purse)
    buyers.press(purse, buyers.offer(1, 3_000_000))
    Payment.objects.update(decided_at=timezone.now() - timedelta(days=20))
    Charge.objects.update(available_at=timezone.now() - timedelta(days=1))
    assert holds.clear() == 1
    buyers.press(purse, buyers.offer(2, 1_000_000))
    return purse


OUT, BACK = moved("txn_out", -1000, 1500), moved("txn_back", 1000, -1500)


def test_each_movement_of_a_dispute_is_booked_once(spender: Purse):
    for _ in range(2):
        disputes.apply(disputed("needs_response", OUT))
    assert (balance(spender), Dispute.objects.get().withdrawn_micros) == (-4_000_000, 10_000_000)
    assert ledger.balance("loss:dispute_fee", "USD") == -15_000_000


def test_a_fee_without_a_movement_is_booked_once(spender: Purse):
    for _ in range(2):
        disputes.apply(disputed("needs_response", moved("txn_fee", 0, 1500)))
    assert ledger.balance("loss:dispute_fee", "USD") == -15_000_000


def test_a_loss_is_taken_once(spender: Purse):
    for _ in range(2):
        disputes.apply(disputed("lost", OUT))
    assert (balance(spender), ledger.balance("loss:chargeback", "USD")) == (0, -3_000_000)
    assert Payment.objects.filter(state=PaymentState.REFUNDED).count() == 1
    Dispute.objects.update(status="needs_response")
    disputes.apply(disputed("lost", OUT))
    assert ledger.balance("loss:chargeback", "USD") == -3_000_000


def test_a_loss_that_is_told_again_takes_nothing_of_what_is_owed_since(spender: Purse):
    """Staff has trusted the buyer again, who has read on a tab: that is no part of what was lost."""
    disputes.apply(disputed("lost", OUT))
    assert disputes.unfreeze(spender)
    Purse.objects.update(tab_limit_micros=20_000_000)
    bought = buyers.press(spender, buyers.offer(3, 2_000_000)).payment
    disputes.apply(disputed("lost", OUT))
    assert (balance(spender), ledger.balance("loss:chargeback", "USD")) == (-2_000_000, -3_000_000)
    bought.refresh_from_db()
    assert bought.state == PaymentState.CONFIRMED
    assert spender.flag == ""


def test_a_loss_takes_nothing_before_money_has_gone(spender: Purse):
    """Otherwise sales were taken back for a debt that is not there; until then the dispute is open."""
    disputes.apply(disputed("lost"))
    spender.refresh_from_db()
    assert (spender.flag, spender.balance_micros, Dispute.objects.get().lost_at) == ("dispute", 6_000_000, None)
    assert not disputes.unfreeze(spender)
    disputes.apply(disputed("lost", OUT))
    spender.refresh_from_db()
    assert (spender.flag, spender.balance_micros) == ("chargeback", 0)


def test_a_loss_takes_no_more_than_was_withdrawn(spender: Purse):
    """What is owed otherwise is no part of it."""
    Purse.objects.update(tab_limit_micros=20_000_000)
    buyers.press(spender, buyers.offer(3, 9_000_000))
    disputes.apply(disputed("lost", moved("txn_out", -300)))
    assert (balance(spender), ledger.balance("loss:chargeback", "USD")) == (-3_000_000, -2_000_000)


def test_what_was_lost_and_came_back_is_paid_back_once_and_only_when_all_of_it_is_there(spender: Purse):
    disputes.apply(disputed("lost", OUT))
    assert ledger.balance("loss:chargeback", "USD") == -3_000_000
    disputes.apply(disputed("won", OUT, moved("txn_part", 400)))
    assert ledger.balance("loss:chargeback", "USD") == -3_000_000
    for _ in range(2):
        disputes.apply(disputed("won", OUT, moved("txn_part", 400), moved("txn_rest", 600)))
    assert ledger.balance("loss:chargeback", "USD") == 0
    assert balance(spender) == 7_000_000
    assert Dispute.objects.get().lost_at is None


def test_a_loss_that_the_buyer_has_paid_whole_is_no_loss_of_the_platforms_to_pay_back():
    purse = buyers.purse()
    paid(purse)
    disputes.apply(disputed("lost", OUT))
    assert (balance(purse), bool(Dispute.objects.get().lost_at)) == (0, True)
    disputes.apply(disputed("won", OUT, BACK))
    assert (balance(purse), Dispute.objects.get().lost_at) == (10_000_000, None)
    assert not Transaction.objects.filter(kind__in=("dispute_lost", "dispute_recovered")).exists()


def test_a_dispute_that_was_never_lost_recovers_nothing(spender: Purse):
    disputes.apply(disputed("won", OUT, BACK))
    assert not Transaction.objects.filter(kind="dispute_recovered").exists()
    assert balance(spender) == 6_000_000


def test_a_dispute_of_what_was_never_paid_is_nobodys(spender: Purse):
    charge = charges.begin(spender, Charge.Purpose.TOPUP, 5_000_000)
    Charge.objects.filter(id=charge.id).update(intent="pi_9", state="canceled")
    assert disputes.apply(disputed("needs_response", OUT, intent="pi_9")) is None
    disputes.warned("pi_9")
    spender.refresh_from_db()
    assert (spender.flag, Dispute.objects.count()) == ("", 0)


FLAGS = ["", "past_due", "dispute", "fraud", "chargeback"]


@pytest.mark.parametrize(
    ("status", "money", "after"),
    [
        ("needs_response", (OUT,), ["dispute", "dispute", "dispute", "fraud", "chargeback"]),
        ("won", (OUT, BACK), ["", "past_due", "", "fraud", "chargeback"]),
        ("warning_needs_response", (), ["", "past_due", "", "fraud", "chargeback"]),
        ("lost", (OUT,), ["chargeback"] * 5),
    ],
)
@pytest.mark.parametrize("before", FLAGS)
def test_a_flag_is_only_ever_made_graver_or_lifted_by_its_own_end(
    spender: Purse, status: str, money: tuple[Money, ...], after: list[str], before: str
):
    Purse.objects.update(flag=before)
    disputes.apply(disputed(status, *money))
    spender.refresh_from_db()
    assert spender.flag == after[FLAGS.index(before)]


def test_a_second_open_dispute_keeps_the_purse_frozen_when_the_first_is_won(spender: Purse):
    paid(spender, intent="pi_2")
    disputes.apply(disputed("needs_response", OUT))
    disputes.apply(disputed("needs_response", moved("txn_2", -100), intent="pi_2", name="dp_2"))
    disputes.apply(disputed("won", OUT, BACK))
    spender.refresh_from_db()
    assert spender.flag == "dispute"


@pytest.mark.parametrize(
    ("flag", "lifted"), [("", False), ("past_due", False), ("dispute", False), ("fraud", True), ("chargeback", True)]
)
def test_staff_lifts_what_is_staffs_to_lift(spender: Purse, flag: str, lifted: bool):
    Purse.objects.update(flag=flag)
    assert disputes.unfreeze(spender) is lifted
    spender.refresh_from_db()
    assert spender.flag == ("" if lifted else flag)


def test_staff_lifts_nothing_while_a_dispute_is_open_whatever_the_flag_says(spender: Purse):
    disputes.apply(disputed("needs_response", OUT))
    Purse.objects.update(flag="fraud")
    assert not disputes.unfreeze(spender)
    spender.refresh_from_db()
    assert spender.flag == "fraud"


@pytest.mark.parametrize(
    ("flag", "after"),
    [("", "fraud"), ("past_due", "fraud"), ("dispute", "dispute"), ("fraud", "fraud"), ("chargeback", "chargeback")],
)
def test_a_warning_makes_no_flag_softer(unsent: list[CardRefund], spender: Purse, flag: str, after: str):
    Purse.objects.update(flag=flag)
    disputes.warned("pi_1")
    spender.refresh_from_db()
    assert (spender.flag, [refund.amount_micros for refund in unsent]) == (after, [6_000_000])


# --- Tabs -----------------------------------------------------------------------------------------------


@pytest.fixture
def charged(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    made: list[int] = []
    monkeypatch.setattr(charges, "drive", lambda charge: made.append(charge.amount_micros) or charge)
    return made


def debtor(owed: int = 6_000_000) -> Purse:
    """Somebody with an open tab and a saved card."""
    purse = buyers.purse(tab=20_000_000)
    if owed:
        buyers.press(purse, buyers.offer(1, owed))
    card = Card.objects.create(purse=purse, stripe_card_id=f"pm_{purse.id}")
    Purse.objects.filter(id=purse.id).update(card=card, tab_opened_at=timezone.now(), email="reader@example.org")
    purse.refresh_from_db()
    return purse


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
    tabs.open_tab(purse)
    purse.refresh_from_db()
    assert (purse.tab_limit_micros, purse.tab_opened_at) == (0, None)


def test_a_tab_was_opened_when_it_was_opened_first():
    purse = debtor(0)
    first = purse.tab_opened_at
    tabs.open_tab(purse)
    purse.refresh_from_db()
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


# --- The hold -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", FLAGS)
def test_a_hold_ends_only_if_the_purse_allows_it_at_that_moment(flag: str):
    """A dispute may have come since the purses were chosen."""
    purse = buyers.purse(1_000_000)
    buyers.press(purse, buyers.offer())
    Charge.objects.update(available_at=timezone.now())
    Purse.objects.update(flag=flag)
    later = timezone.now() + timedelta(days=30)
    assert holds._clear_purse(purse.id, later, later) == (flag in ("", "past_due", "chargeback"))


@pytest.mark.parametrize(
    "change",
    [{"available_at": None}, {"available_at": timezone.now() + timedelta(days=99)}, {"refunded_micros": 960_000}],
)
@pytest.mark.planted
def test_a_sale_is_cleared_by_money_that_is_there_and_stays(change: dict[str, Any]):
    purse = buyers.purse(1_000_000)
    buyers.press(purse, buyers.offer())
    Charge.objects.update(available_at=timezone.now())
    Charge.objects.update(**change)
    assert holds.clear(timezone.now() + timedelta(days=30)) == 0


def test_what_is_cleared_is_not_cleared_by_the_same_money_again():
    purse = buyers.purse(1_000_000, tab=1_000_000)
    Charge.objects.update(available_at=timezone.now())
    buyers.press(purse, buyers.offer(1, 600_000))
    later = timezone.now() + timedelta(days=30)
    assert holds.clear(later) == 1
    buyers.press(purse, buyers.offer(2, 600_000))
    assert holds.clear(later) == 0


# --- The inbox ------------------------------------------------------------------------------------------


def test_an_event_is_applied_once_and_its_moment_stands(monkeypatch: pytest.MonkeyPatch):
    looked: list[str] = []
    monkeypatch.setattr(stripe_api, "card", lambda about: looked.append(about) or CardFacts(about, "visa", "1", "1/30"))
    event = Event("evt_1", "payment_method.updated", "pm_1", "{}")
    assert webhooks.store(event)
    assert not webhooks.store(event)
    stale = ProcessorEvent.objects.get()
    assert webhooks.apply_waiting() == 1
    assert webhooks.apply_waiting() == 0
    assert looked == ["pm_1"]
    first = timezone.now() - timedelta(days=1)
    ProcessorEvent.objects.update(applied_at=first)
    assert not webhooks._apply(stale)
    assert ProcessorEvent.objects.get().applied_at == first
