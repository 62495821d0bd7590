"""Dunning: a declined tab is tried again on its days, answers its bank, and takes what is still owed and no more."""

from datetime import timedelta

import pytest
from django.core import mail as outbox
from django.utils import timezone

from payments import gate, purses
from payments.cards import charges, checkout, tabs
from payments.models import Card, Charge, Purse
from tests import buyers
from tests.bank import Bank, newest, paid_once
from tests.buyers import balance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def test_a_declined_tab_is_tried_after_one_three_and_five_days_and_then_no_more(bank):
    purse = bank.owing(600, card="4000000000000341")
    charge = tabs.charge_tab(purse.id)
    now = timezone.now()
    seen = []
    for _ in range(4):
        charge.refresh_from_db()
        seen.append((charge.state, charge.attempt, (charge.retry_at - now).days if charge.retry_at else None))
        Charge.objects.filter(retry_at__isnull=False).update(retry_at=now)
        tabs.dun(now)
    assert seen == [("declined", 0, 0), ("declined", 1, 3), ("declined", 2, 5), ("failed", 3, None)]
    confirms = [one["key"] for one in bank.requests("/confirm")]
    assert len(set(confirms)) == len(confirms) == 4
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("past_due", -6_000_000)
    assert tabs.charge_due(now + timedelta(days=90)) == []  # Or dunning would begin anew for ever.
    with pytest.raises(gate.PaymentRequired) as refused:
        buyers.press(purse, buyers.offer(77))
    assert refused.value.word == "purse_past_due"
    letters = [letter.subject for letter in outbox.outbox]
    assert letters == ["Your card was declined"] * 3 + ["We could not charge your tab"]
    bank.agrees()


def test_paying_now_with_a_new_card_ends_it(bank):
    purse = bank.owing(600, card="4000000000000341")
    for _ in range(4):
        charge = newest(purse) if purse.charges.exists() else tabs.charge_tab(purse.id)
        Charge.objects.filter(id=charge.id, state="declined").update(retry_at=timezone.now())
        tabs.dun()
    assert newest(purse).state == "failed"
    bank.pay(checkout.save_card(purse, "/"))
    checkout.setup_returned(purse.setups.latest("made_at").id)
    purse.refresh_from_db()
    assert tabs.pay_now(purse).state == "succeeded"
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("", 0)
    with pytest.raises(purses.PurseRefused):
        tabs.pay_now(purse)
    bank.agrees()


def test_a_stolen_card_is_not_tried_again(bank):
    purse = bank.tab()
    lost = bank.do("payment_methods", card="4000000000009979", customer=purse.customer)
    purse.card.__class__.objects.filter(id=purse.card_id).update(stripe_card_id=lost["id"])
    buyers.press(purse, buyers.offer(1, 6_000_000))
    charge = tabs.charge_tab(purse.id)
    assert (charge.state, charge.reason) == ("failed", "stolen_card")
    tabs.dun(timezone.now() + timedelta(days=30))
    assert len(bank.requests("/confirm")) == 1
    assert balance(purse) == -6_000_000


def test_a_bank_that_wants_to_ask_is_answered_by_the_buyer_refused_once_then_accepted(bank):
    purse = bank.owing(600, card="4000002760003184")
    charge = tabs.charge_tab(purse.id)
    assert (charge.state, charge.reason) == ("action", "authentication_required")
    letter = outbox.outbox[-1]
    assert f"/purse/authenticate/{charge.id}?token=" in letter.body
    assert tabs.charge_tab(purse.id) is None
    tabs.dun(timezone.now() + timedelta(hours=1))
    assert len(outbox.outbox) == 1
    bank.do(f"payment_intents/{charge.intent}/authenticate", ok=False)
    assert charges.look(charge).state == "action"
    bank.do(f"payment_intents/{charge.intent}/authenticate", ok=True)
    assert charges.look(charge).state == "succeeded"
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("", 0)
    paid_once(bank, purse, 6_000_000)


def test_nobody_answers_the_bank_reminded_thrice_given_up_after_a_week(bank):
    purse = bank.owing(600, card="4000002760003184")
    charge = tabs.charge_tab(purse.id)
    for day in range(1, 9):
        tabs.dun(timezone.now() + timedelta(days=day, minutes=1))
    charge.refresh_from_db()
    assert charge.state == "canceled"
    assert len(outbox.outbox) == 4
    assert tabs.charge_due(timezone.now() + timedelta(days=60)) == []
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("past_due", -6_000_000)
    assert bank.state()["payment_intent"][charge.intent]["status"] == "canceled"


def paid(bank) -> list[int]:
    return [one["amount"] for one in bank.state().get("charge", {}).values() if one["paid"]]


def mend(bank, purse: Purse) -> None:
    """The card has money again."""
    good = bank.do("payment_methods", card="4242424242424242", customer=purse.customer)
    Card.objects.filter(id=purse.card_id).update(stripe_card_id=good["id"])


def due_again(charge: Charge) -> None:
    Charge.objects.filter(id=charge.id).update(retry_at=timezone.now())
    tabs.dun()
    charge.refresh_from_db()


def test_a_declined_tab_that_was_paid_by_a_top_up_is_not_charged_again(bank):
    purse = bank.owing(600, card="4000000000000341")
    charge = tabs.charge_tab(purse.id)
    assert charge.state == "declined"
    bank.top_up(purse, 1000)
    assert balance(purse) == 4_000_000
    mend(bank, purse)
    due_again(charge)
    assert (charge.state, paid(bank), balance(purse)) == ("canceled", [1000], 4_000_000)
    assert bank.state()["payment_intent"][charge.intent]["status"] == "canceled"
    bank.agrees()


def test_a_declined_tab_of_which_a_part_was_paid_is_charged_for_the_rest(bank):
    purse = bank.owing(600, card="4000000000000341")
    charge = tabs.charge_tab(purse.id)
    bank.top_up(purse, 500)
    mend(bank, purse)
    due_again(charge)
    assert (charge.state, paid(bank), balance(purse)) == ("canceled", [500, 100], 0)
    assert purse.flag == ""
    bank.agrees()


def test_paying_now_never_charges_more_than_is_owed_now(bank):
    purse = bank.owing(600, card="4000000000000341")
    tabs.charge_tab(purse.id)
    bank.top_up(purse, 500)
    mend(bank, purse)
    assert tabs.pay_now(purse).amount_micros == 1_000_000
    assert (paid(bank), balance(purse)) == ([500, 100], 0)


def test_a_bank_is_not_asked_any_more_about_what_was_paid_otherwise(bank):
    purse = bank.owing(600, card="4000002760003184")
    charge = tabs.charge_tab(purse.id)
    assert charge.state == "action"
    bank.top_up(purse, 1000)
    tabs.dun()
    charge.refresh_from_db()
    assert (charge.state, balance(purse)) == ("canceled", 4_000_000)


def test_giving_back_what_was_owed_for_opens_the_purse_again(bank):
    purse = bank.tab(card="4000000000000341")
    bought = buyers.press(purse, buyers.offer(1, 6_000_000)).payment
    assert tabs.charge_tab(purse.id).state == "declined"
    purses.refund(bought.id, purse)
    assert (balance(purse), purse.flag) == (0, "")


def test_a_buyer_whose_processor_does_not_answer_keeps_no_other_from_being_dunned(bank: Bank):
    purses_ = [bank.owing(600, "4000002760003184") for _ in range(2)]
    for purse in purses_:
        assert tabs.charge_tab(purse.id).state == "action"
    bank.fault("/v1/payment_intents/pi_", "drop", method="GET")
    tabs.dun(timezone.now() + timedelta(days=8))
    tabs.dun(timezone.now() + timedelta(days=8))
    assert [newest(purse).state for purse in purses_] == ["canceled", "canceled"]


def test_a_bank_that_asks_again_has_its_reminders_again(bank: Bank):
    purse = bank.owing(600, "4000002760003184")
    charge = tabs.charge_tab(purse.id)
    Charge.objects.filter(id=charge.id).update(state="processing", reminders=3)
    assert charges.look(charge).state == "action"
    tabs.dun(timezone.now() + timedelta(days=1, minutes=1))
    assert newest(purse).reminders == 1
