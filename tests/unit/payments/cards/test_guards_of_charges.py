"""Each guard of a card charge alone: old news, stale rows in somebody's hand, and two who come at once.

The processor is never asked here unless a test says what it answers.
"""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail as outbox
from django.utils import timezone

from payments import fulfilment, gate, purses
from payments.books import ledger
from payments.cards import charges, checkout, stripe_api, sweeper, tabs
from payments.cards.facts import CardFacts, Declined, Intent, ServerTrouble, Session, StripeRefused
from payments.models import Card, Charge, Payment, Purse, Setup, Transaction
from payments.purses import joining
from tests import buyers
from tests.unit.meanwhile import overtaken

pytestmark = pytest.mark.django_db
OWED = 6_000_000
ENDED = ("failed", "canceled")


@pytest.fixture(autouse=True)
def _nobody_is_asked(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.STRIPE_SECRET_KEY = "sk_test_of_the_tests"
    monkeypatch.setattr(stripe_api, "_call", lambda call: pytest.fail("the processor was asked"))


def debtor() -> Purse:
    """Somebody with a saved card who owes six dollars on a tab."""
    purse = buyers.purse(tab=20_000_000)
    buyers.press(purse, buyers.offer(1, OWED))
    card = Card.objects.create(purse=purse, stripe_card_id="pm_mine")
    Purse.objects.filter(id=purse.id).update(card=card, tab_opened_at=timezone.now(), email="reader@example.org")
    purse.refresh_from_db()
    return purse


def charge(state: str, purse: Purse | None = None, **more: Any) -> Charge:
    """A tab's charge in this state, as far as rows go: the second attempt, after one that was declined."""
    made = charges.begin(purse or debtor(), Charge.Purpose.TAB, OWED)
    given = {"intent": "pi_1", "attempt": 1, "declined_stripe_charge_id": "ch_1"} | more
    Charge.objects.filter(id=made.id).update(state=state, **given)
    made.refresh_from_db()
    return made


def found(status: str, **more: Any) -> Intent:
    """The charge's intent as somebody has read it, perhaps long ago."""
    return Intent("pi_1", status, OWED // charges.CENT, **more)


def state(of: Charge) -> str:
    of.refresh_from_db()
    return of.state


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


@pytest.mark.parametrize("how", [{"amount_cents": 601}, {"amount_cents": 599}, {"stripe_charge_id": ""}])
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
    now: str, session: str, after: str
):
    attempt = charge(now, intent="", session=session)
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


# --- Purses and cards of a charge -----------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["dispute", "fraud", "chargeback"])
def test_a_tab_that_fails_makes_no_freeze_softer(flag: str):
    attempt = charge("confirming")
    Purse.objects.update(flag=flag)
    charges._fail(attempt, "stolen_card", "confirming")
    assert (state(attempt), Purse.objects.get().flag) == ("failed", flag)


def test_a_top_up_that_fails_makes_nobody_late():
    purse = buyers.purse()
    attempt = charges.begin(purse, Charge.Purpose.TOPUP, 5_000_000)
    charges._fail(attempt, "card_declined", "new")
    purse.refresh_from_db()
    assert (state(attempt), purse.flag, outbox.outbox) == ("failed", "", [])


def test_of_two_names_at_the_processor_a_buyer_keeps_the_first(monkeypatch: pytest.MonkeyPatch):
    purse = buyers.purse()

    def slowly(*_: Any) -> str:
        Purse.objects.update(customer="cus_first")
        return "cus_second"

    monkeypatch.setattr(stripe_api, "create_customer", slowly)
    assert charges.customer(purse) == "cus_first"
    assert charges.customer(purse) == "cus_first"


def test_the_card_that_paid_replaces_none_that_was_chosen(monkeypatch: pytest.MonkeyPatch):
    attempt = charge("confirming")
    monkeypatch.setattr(stripe_api, "card", lambda name: CardFacts(name, "visa", "4444", "12/40"))
    charges.apply(found("succeeded", stripe_charge_id="ch_2", card="pm_new"))
    assert state(attempt) == "succeeded"
    assert Purse.objects.get().card.stripe_card_id == "pm_mine"
    assert Card.objects.filter(stripe_card_id="pm_new").exists()


def test_a_card_that_is_known_is_not_asked_about():
    attempt = charge("confirming")
    charges.apply(found("succeeded", stripe_charge_id="ch_2", card="pm_mine"))
    assert state(attempt) == "succeeded"


def test_when_the_money_is_let_go_of_is_said_once():
    attempt = charge("confirming")
    first, later = timezone.now(), timezone.now() + timedelta(days=3)
    for moment in (first, later):
        charges.apply(
            found("succeeded", stripe_charge_id="ch_2", transaction="txn_1", fee_cents=47, available_at=moment)
        )
    attempt.refresh_from_db()
    assert attempt.available_at == first
    assert ledger.balance("expense:processor", "USD") == -470_000


def test_a_fee_is_booked_once_and_said_once():
    """Who compares the books counts what it had to mend."""
    assert charges.post_fee("txn_1", 47)
    assert not charges.post_fee("txn_1", 47)
    assert not charges.post_fee("txn_2", 0)
    assert ledger.balance("expense:processor", "USD") == -470_000


def test_a_live_charge_of_a_guest_stays_the_guests_and_its_money_is_the_owners():
    guest, owner = debtor(), buyers.purse()
    attempt = charge("confirming", guest)
    Purse.objects.filter(id=guest.id).update(owner="guest:1")
    other = charge("confirming", _owing(owner), intent="pi_other")
    joining.join(guest, owner)
    charges.apply(found("succeeded", stripe_charge_id="ch_2"))
    attempt.refresh_from_db()
    assert attempt.purse == owner
    owner.refresh_from_db()
    assert owner.balance_micros == -OWED
    assert state(other) == "confirming"


def _owing(purse: Purse) -> Purse:
    Purse.objects.filter(id=purse.id).update(tab_limit_micros=20_000_000)
    buyers.press(purse, buyers.offer(2, OWED))
    return purse


def test_two_live_tabs_of_one_purse_are_never_made_of_a_guests_and_its_owners():
    guest, owner = debtor(), buyers.purse()
    first, second = charge("confirming", guest), charge("confirming", _owing(owner), intent="pi_other")
    joining.join(guest, owner)
    assert charges.owner(first.id).id == owner.id
    first.refresh_from_db()
    assert (first.purse, second.purse) == (guest, owner)


# --- What the money was for -------------------------------------------------------------------------------------


def filled(wants: Any = None, **more: Any) -> Charge:
    """A top-up that has succeeded, and what it was for."""
    made = buyers.fill(buyers.purse(), 5_000_000)
    Charge.objects.filter(id=made.id).update(wants=charges._by_value(wants), fulfilled_at=None, **more)
    made.refresh_from_db()
    return made


def test_what_the_money_was_for_is_bought_once():
    made = filled(buyers.offer())
    fulfilment.fulfil(made.id)
    fulfilment.fulfil(made.id)
    assert Payment.objects.count() == 1
    made.refresh_from_db()
    assert made.bought == Payment.objects.get()


def test_money_that_could_not_buy_its_article_buys_it_no_more():
    """It was refused once, and its buyer was told so."""
    made = filled(buyers.offer(1, 6_000_000))
    fulfilment.fulfil(made.id)
    buyers.fill(made.purse, 5_000_000)
    fulfilment.fulfil(made.id)
    made.refresh_from_db()
    assert (made.bought, bool(made.fulfilled_at), Payment.objects.count()) == (None, True, 0)


@pytest.mark.parametrize("now", ["created", "confirming", *ENDED])
def test_money_that_did_not_come_buys_nothing(now: str):
    made = charges.begin(buyers.purse(1_000_000), Charge.Purpose.TOPUP, 5_000_000, wants=buyers.offer())
    charges.step(made, ("new",), state=now)
    fulfilment.fulfil(made.id)
    assert not Payment.objects.exists()


def test_who_fulfils_second_writes_nothing():
    made = filled(buyers.offer())
    earlier = timezone.now() - timedelta(minutes=1)
    with overtaken(Charge, lambda: Charge.objects.update(fulfilled_at=earlier)):
        fulfilment.fulfil(made.id)
    made.refresh_from_db()
    assert (made.fulfilled_at, made.bought) == (earlier, None)


def test_an_article_that_was_given_back_is_not_bought_again_with_the_same_money():
    made = filled(buyers.offer())
    admitted = buyers.press(made.purse, buyers.offer())
    purses.refund(admitted.payment.id, made.purse)
    fulfilment.fulfil(made.id)
    assert Payment.objects.count() == 1
    with pytest.raises(gate.PaymentRequired):
        gate.verify(gate.Presented(purse=str(made.purse_id)), buyers.offer())


# --- A page that saves a card ------------------------------------------------------------------------------------


def complete(status: str = "complete") -> Session:
    return Session("cs_1", status, "", "", "seti_1", "typed@example.org")


@pytest.fixture
def saving(monkeypatch: pytest.MonkeyPatch) -> Setup:
    """A buyer before the page that saves a card."""
    monkeypatch.setattr(stripe_api, "saved_card", lambda _: CardFacts("pm_1", "visa", "4242", "12/40", "cus_1"))
    return Setup.objects.create(purse=buyers.purse(), session="cs_1", state="open")


def test_a_card_is_saved_once_and_replaces_none_that_was_chosen_since(saving: Setup):
    checkout.apply_setup(saving, complete())
    purse = Purse.objects.get()
    assert (purse.card.stripe_card_id, purse.email, purse.tab_limit_micros) == ("pm_1", "typed@example.org", 3_000_000)
    other = Card.objects.create(purse=purse, stripe_card_id="pm_2")
    Purse.objects.update(card=other, tab_limit_micros=0, tab_opened_at=None)
    checkout.apply_setup(saving, complete())
    checkout.setup_returned(saving.id)
    purse.refresh_from_db()
    assert (purse.card, purse.tab_limit_micros, purse.tab_opened_at) == (other, 0, None)


@pytest.mark.parametrize("before", ["done", "expired"])
def test_what_became_of_the_page_is_written_once(saving: Setup, before: str):
    Setup.objects.update(state=before)
    checkout.apply_setup(saving, complete("expired"))
    assert (Setup.objects.get().state, Purse.objects.get().card) == (before, None)


def test_of_two_who_bring_the_card_one_keeps_it(saving: Setup):
    with overtaken(Setup, lambda: Setup.objects.update(state="done")):
        checkout.apply_setup(saving, complete())
    assert Purse.objects.get().card is None


def test_an_address_that_is_known_is_not_replaced_by_what_was_typed(saving: Setup, monkeypatch: pytest.MonkeyPatch):
    Purse.objects.update(email="proven@example.org")
    checkout.apply_setup(saving, complete())
    monkeypatch.setattr(stripe_api, "session", lambda _: complete("open"))
    charges.look(charge("created", saving.purse, intent="", session="cs_1"))
    assert Purse.objects.get().email == "proven@example.org"


@pytest.mark.parametrize(
    ("flag", "allowed"), [("", True), ("past_due", True), ("dispute", False), ("fraud", False), ("chargeback", False)]
)
def test_a_frozen_purse_opens_no_page_though_none_was_opened_yet(flag: str, allowed: bool):
    purse = buyers.purse()
    purse.flag = flag
    if allowed:
        checkout.may_open(purse, "")
    else:
        with pytest.raises(checkout.PurseRefused, match="purse_frozen"):
            checkout.may_open(purse, "")


def test_the_bank_saying_no_is_no_end_when_it_is_only_asked_first(monkeypatch: pytest.MonkeyPatch):
    attempt = charge("confirming")

    def asks(*_: Any) -> Intent:
        raise Declined("authentication_required", "", "ch_2")

    monkeypatch.setattr(stripe_api, "confirm_intent", asks)
    charges.send(attempt)
    assert (state(attempt), attempt.retry_at) == ("action", None)
