"""Each guard of a card charge alone: old news, stale rows in somebody's hand, and two who come at once."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail as outbox
from django.utils import timezone

from payments.cards import charges, stripe_api, sweeper, tabs
from payments.cards.facts import CardFacts, Declined, Intent, ServerTrouble, Session, StripeRefused
from payments.models import Charge, Purse, Transaction
from tests import buyers
from tests.unit.meanwhile import overtaken

from .rows import OWED, charge, found, state

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nobody_is_asked")]
ENDED = ("failed", "canceled")


def elsewhere(of: Charge, where: str = "canceled") -> Any:
    """Somebody else has taken the charge there."""
    return lambda: Charge.objects.filter(id=of.id).update(state=where)


def declined(stripe_charge_id: str = "ch_2", **more: Any) -> Intent:
    return found("requires_payment_method", error="generic_decline", failed=stripe_charge_id, **more)


# --- News of an earlier attempt -----------------------------------------------------------------------------


@pytest.mark.parametrize("now", ["confirming", "action", "processing"])
@pytest.mark.parametrize(
    ("old", "what"),
    [
        (declined("ch_1"), "an attempt before"),
        (declined("ch_2", tried="pm_other"), "another card"),
        (found("requires_confirmation"), "nothing yet"),
        (found("requires_payment_method"), "nothing at all"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_an_old_copy_of_the_intent_is_no_news_of_this_attempt(now: str, old: Intent, what: str):
    attempt = charge(now)
    charges.apply(old)
    assert state(attempt) == now
    assert (attempt.retry_at, attempt.reason, outbox.outbox) == (None, "", [])
    assert Purse.objects.get().flag == ""


@pytest.mark.parametrize("now", ["confirming", "action", "processing"])
def test_what_came_of_this_attempt_is(now: str):
    attempt = charge(now)
    charges.apply(declined("ch_2", tried="pm_mine"))
    assert (state(attempt), attempt.declined_stripe_charge_id) == ("declined", "ch_2")
    assert Purse.objects.get().flag == "past_due"


OLD = [
    declined(),
    found("requires_action"),
    found("processing"),
    found("requires_confirmation"),
    found("canceled"),
    found("requires_payment_method"),
]


@pytest.mark.parametrize("old", OLD, ids=lambda one: one.status)
@pytest.mark.parametrize("now", ["succeeded", *ENDED])
def test_nothing_old_opens_what_is_ended(now: str, old: Intent):
    attempt = charge(now)
    if now == "succeeded":
        Charge.objects.update(state="confirming")
        charges.apply(found("succeeded", stripe_charge_id="ch_2"))
    before = Transaction.objects.count()
    charges.apply(old)
    assert state(attempt) == now
    assert Transaction.objects.count() == before
    assert outbox.outbox == []


@pytest.mark.parametrize("old", [declined(), found("requires_action"), found("processing")], ids=lambda one: one.status)
def test_nothing_old_is_news_of_what_waits_for_its_next_day(old: Intent):
    attempt = charge("declined", retry_at=timezone.now() + timedelta(days=1))
    charges.apply(old)
    assert (state(attempt), attempt.attempt, bool(attempt.retry_at)) == ("declined", 1, True)
    assert outbox.outbox == []


def test_that_the_holder_said_no_to_the_bank_ends_nothing_while_the_bank_asks():
    attempt = charge("action")
    gave_up = found("requires_payment_method", error="payment_intent_authentication_failure", failed="ch_2")
    charges.apply(gave_up)
    assert state(attempt) == "action"
    Charge.objects.update(state="confirming")
    charges.apply(gave_up)
    assert state(attempt) == "declined"


def test_a_bank_that_asks_is_told_of_once():
    attempt = charge("confirming")
    for _ in range(2):
        charges.apply(found("requires_action"))
    assert (state(attempt), len(outbox.outbox)) == ("action", 1)


# --- Success is once, and for ever ----------------------------------------------------------------------------


def test_success_is_booked_once_by_whoever_brings_it():
    attempt, paid = charge("confirming"), found("succeeded", stripe_charge_id="ch_2")
    stale = Charge.objects.get()
    charges.apply(paid)
    charges._succeeded(stale, paid)
    assert state(attempt) == "succeeded"
    assert (Purse.objects.get().balance_micros, attempt.purse.flag) == (0, "")
    assert Transaction.objects.filter(kind="card_paid").count() == 1


def test_a_second_success_of_a_charge_that_is_paid_moves_nothing():
    attempt = charge("confirming")
    charges.apply(found("succeeded", stripe_charge_id="ch_2"))
    charges.apply(found("succeeded", stripe_charge_id="ch_3"))
    assert (state(attempt), attempt.stripe_charge_id) == ("succeeded", "ch_2")
    assert Purse.objects.get().balance_micros == 0


@pytest.mark.parametrize(
    "how", [{"amount_cents": 601}, {"amount_cents": 599}, {"currency": "eur"}, {"stripe_charge_id": ""}]
)
def test_another_amount_or_a_success_without_a_payment_is_not_booked(how: dict[str, Any]):
    attempt = charge("confirming")
    charges.apply(
        Intent(**{"id": "pi_1", "status": "succeeded", "amount_cents": 600, "stripe_charge_id": "ch_2"} | how)
    )
    assert state(attempt) == "confirming"
    assert Purse.objects.get().balance_micros == -OWED


@pytest.mark.parametrize("now", [*ENDED, "declined", "action", "processing"])
def test_money_that_came_after_all_counts_wherever_the_charge_is(now: str):
    attempt = charge(now)
    charges.apply(found("succeeded", stripe_charge_id="ch_2"))
    assert (state(attempt), Purse.objects.get().balance_micros) == ("succeeded", 0)


# --- What is gone at the processor ----------------------------------------------------------------------------


def missing(parameter: str) -> Any:
    def refuse(*_: Any) -> Any:
        raise StripeRefused("resource_missing", "no such thing", parameter)

    return refuse


@pytest.mark.parametrize("parameter", ["payment_method", "intent"])
def test_a_card_that_is_gone_when_it_is_charged_is_removed_here(monkeypatch: pytest.MonkeyPatch, parameter: str):
    attempt = charge("created")
    monkeypatch.setattr(stripe_api, "confirm_intent", missing(parameter))
    monkeypatch.setattr(stripe_api, "intent", lambda _: found("requires_confirmation"))
    charges.drive(attempt)
    assert (state(attempt), attempt.reason) == ("failed", "resource_missing")
    assert (Purse.objects.get().card is None) is (parameter == "payment_method")


def test_a_card_is_not_removed_for_any_other_refusal(monkeypatch: pytest.MonkeyPatch):
    attempt = charge("new", intent="")
    monkeypatch.setattr(stripe_api, "card", declining("account_closed"))
    charges.drive(attempt)
    assert (state(attempt), attempt.reason) == ("failed", "account_closed")
    assert Purse.objects.get().card is not None


def declining(code: str) -> Any:
    def refuse(*_: Any) -> Any:
        raise StripeRefused(code, "no")

    return refuse


def test_an_intent_that_is_gone_after_its_confirmation_was_refused_ends_the_charge(monkeypatch: pytest.MonkeyPatch):
    attempt = charge("created")
    monkeypatch.setattr(stripe_api, "confirm_intent", missing("intent"))
    monkeypatch.setattr(stripe_api, "intent", missing("intent"))
    charges.drive(attempt)
    assert (state(attempt), attempt.reason) == ("failed", "gone")


# --- Hosted pages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("now", "after"), [("created", "created"), ("processing", "failed")])
def test_a_failure_ends_a_page_only_after_its_buyer_has_left_it(now: str, after: str):
    attempt = charge(now, session="cs_1", declined_stripe_charge_id="")
    charges.apply(declined())
    assert state(attempt) == after


@pytest.mark.parametrize("now", ["created", "processing"])
def test_a_page_that_expired_with_an_unpaid_intent_is_canceled_unless_the_bank_decides(
    now: str, monkeypatch: pytest.MonkeyPatch
):
    attempt = charge(now, session="cs_1")
    monkeypatch.setattr(stripe_api, "session", lambda name: Session(name, "expired", "", "pi_1", "", ""))
    monkeypatch.setattr(stripe_api, "intent", lambda _: found("requires_payment_method"))
    charges.look(attempt)
    assert state(attempt) == ("canceled" if now == "created" else "processing")


# --- Whose intent it is ---------------------------------------------------------------------------------------


def test_a_charge_that_has_its_intent_adopts_no_other():
    attempt = charge("confirming")
    other = Intent("pi_2", "succeeded", 600, charge_id=str(attempt.id), stripe_charge_id="ch_9")
    assert charges.apply(other) is None
    assert (state(attempt), attempt.intent) == ("confirming", "pi_1")
    assert Purse.objects.get().balance_micros == -OWED


@pytest.mark.parametrize(
    ("now", "session", "after"), [("new", "", "created"), ("new", "cs_1", "new"), ("canceled", "", "canceled")]
)
def test_an_intent_that_was_never_stored_is_adopted_and_moves_only_what_was_not_sent(
    now: str, session: str, after: str, monkeypatch: pytest.MonkeyPatch
):
    attempt = charge(now, intent="", session=session)
    monkeypatch.setattr(stripe_api, "session", lambda name: Session(name, "complete", "", "pi_1", "", ""))
    charges.apply(Intent("pi_1", "requires_confirmation", 600, charge_id=str(attempt.id)))
    assert (state(attempt), attempt.intent) == (after, "pi_1")


@pytest.mark.parametrize("said", ["", "not an id", "00000000-0000-4000-8000-000000000000"])
def test_an_intent_of_nobody_is_nobodys(said: str):
    charge("confirming")
    assert charges.apply(Intent("pi_2", "succeeded", 600, charge_id=said, stripe_charge_id="ch_9")) is None


# --- Who comes second -------------------------------------------------------------------------------------------

NEWS = [
    (found("processing"), "confirming"),
    (found("requires_action"), "confirming"),
    (declined(), "confirming"),
    (found("canceled"), "confirming"),
]


@pytest.mark.parametrize(("news", "now"), NEWS, ids=lambda one: getattr(one, "status", one))
def test_news_that_comes_second_changes_nothing_and_tells_nobody(news: Intent, now: str):
    attempt = charge(now)
    with overtaken(Charge, elsewhere(attempt, "failed")):
        charges.apply(news)
    assert (state(attempt), attempt.reason) == ("failed", "")
    assert (Purse.objects.get().flag, outbox.outbox) == ("", [])


def test_an_end_that_comes_second_is_none():
    attempt = charge("confirming")
    with overtaken(Charge, elsewhere(attempt)):
        charges._fail(attempt, "stolen_card", "confirming")
    assert state(attempt) == "canceled"
    assert (Purse.objects.get().flag, outbox.outbox) == ("", [])


def test_an_intent_that_is_made_second_does_not_bring_a_charge_back(monkeypatch: pytest.MonkeyPatch):
    """The sweeper gave it up while the processor took its time."""
    attempt = charge("new", intent="")
    monkeypatch.setattr(stripe_api, "card", lambda _: CardFacts("pm_mine", "visa", "4242", "12/40", "cus_1"))

    def slowly(*_: Any) -> Intent:
        elsewhere(attempt)()
        return found("requires_confirmation")

    monkeypatch.setattr(stripe_api, "create_intent", slowly)
    charges.drive(attempt)
    assert (state(attempt), attempt.intent) == ("canceled", "")


@pytest.mark.parametrize("where", ["confirming", "succeeded", "canceled"])
def test_of_two_who_would_confirm_the_second_sends_nothing(where: str):
    """It read the charge before the first one took it."""
    attempt = charge("created")
    elsewhere(attempt, where)()
    charges._confirm(attempt)
    Charge.objects.update(state="canceled")


def test_a_page_of_a_charge_is_not_confirmed_by_us():
    attempt = charge("created", intent="", session="cs_1")
    assert charges.drive(attempt).state == "created"


def test_of_two_who_would_try_again_one_does(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(charges, "drive", lambda one: one)
    attempt = charge("declined", retry_at=timezone.now())
    for stale in (Charge.objects.get(), Charge.objects.get()):
        stale.state = "declined"
        tabs.retry(stale)
    assert (state(attempt), attempt.attempt) == ("created", 2)


def test_one_answer_of_5xx_is_one_new_key(monkeypatch: pytest.MonkeyPatch):
    attempt = charge("confirming")
    stale = Charge.objects.get()
    charges._renew(attempt)
    charges._renew(stale)
    attempt.refresh_from_db()
    assert attempt.renewal == 1

    def trouble(*_: Any) -> Intent:
        raise ServerTrouble("500")

    monkeypatch.setattr(stripe_api, "confirm_intent", trouble)
    charges.send(attempt)
    attempt.refresh_from_db()
    assert (attempt.renewal, attempt.state) == (2, "confirming")


def test_a_refusal_ends_only_what_was_certainly_not_charged(monkeypatch: pytest.MonkeyPatch):
    """The call that was refused is not the one whose answer was lost: the intent says."""
    attempt = charge("confirming")

    def refused(*_: Any) -> Intent:
        raise StripeRefused("payment_intent_unexpected_state", "It has succeeded.")

    monkeypatch.setattr(stripe_api, "confirm_intent", refused)
    monkeypatch.setattr(stripe_api, "intent", lambda _: found("succeeded", stripe_charge_id="ch_2"))
    charges.send(attempt)
    assert (state(attempt), Purse.objects.get().balance_micros) == ("succeeded", 0)


def test_a_confirmation_that_never_arrived_is_sent_again_only_while_it_is_ours_to_send(monkeypatch: pytest.MonkeyPatch):
    attempt, sent = charge("confirming"), []
    monkeypatch.setattr(charges, "send", lambda one: sent.append(one.state))
    charges._never_confirmed(attempt, found("requires_confirmation"))
    assert sent == ["confirming"]
    stale = Charge.objects.get()
    elsewhere(attempt)()
    charges._never_confirmed(stale, found("requires_confirmation"))
    charges._never_confirmed(Charge.objects.get(), found("requires_confirmation"))
    Charge.objects.update(state="confirming")
    charges._never_confirmed(Charge.objects.get(), found("requires_payment_method", error="x", failed="ch_2"))
    charges._never_confirmed(Charge.objects.get(), found("processing"))
    assert sent == ["confirming"]


def test_an_expired_page_ends_nothing_that_was_paid_meanwhile(monkeypatch: pytest.MonkeyPatch):
    attempt = charge("created", intent="", session="cs_1")
    monkeypatch.setattr(stripe_api, "session", lambda _: Session("cs_1", "expired", "", "", "", ""))
    with overtaken(Charge, elsewhere(attempt, "failed")):
        charges.look(attempt)
    assert (state(attempt), attempt.reason) == ("failed", "")


def test_what_was_opened_meanwhile_is_not_given_up_by_the_sweeper():
    purse = buyers.purse()
    attempt = charges.begin(purse, Charge.Purpose.TOPUP, 5_000_000)
    with overtaken(Charge, elsewhere(attempt, "created"), skip=1):
        Charge.objects.update(look_at=timezone.now())
        sweeper._finish(attempt)
    assert state(attempt) == "created"
    Charge.objects.update(state="canceled")


def test_the_bank_saying_no_is_no_end_when_it_is_only_asked_first(monkeypatch: pytest.MonkeyPatch):
    attempt = charge("confirming")

    def asks(*_: Any) -> Intent:
        raise Declined("authentication_required", "", "ch_2")

    monkeypatch.setattr(stripe_api, "confirm_intent", asks)
    charges.send(attempt)
    assert (state(attempt), attempt.retry_at) == ("action", None)
