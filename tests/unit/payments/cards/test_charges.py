"""Charges of a saved card: whatever answer is lost, the processor takes the money once."""

import pytest
from django.core import mail as outbox

from payments.cards import charges, checkout, customers, facts, stripe_api, tabs
from payments.models import Charge
from tests.bank import FAULTS, Bank, newest, paid_once
from tests.buyers import balance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


@pytest.mark.parametrize(("kind", "when"), FAULTS)
@pytest.mark.parametrize("path", [r"/v1/payment_intents$", "/confirm$"], ids=["create", "confirm"])
def test_an_answer_that_is_lost_charges_once(bank, path, kind, when):
    purse = bank.owing(600)
    bank.fault(path, kind, when, method="POST")
    charge = tabs.charge_tab(purse.id)
    assert charge.state in ("new", "created", "confirming")
    bank.lose()
    for _ in range(3):
        bank.later()
    charge.refresh_from_db()
    assert charge.state == "succeeded", (charge.state, charge.reason)
    assert balance(purse) == 0
    paid_once(bank, purse, 6_000_000)


def test_one_key_for_other_parameters_is_refused_and_charges_nothing(bank):
    purse = bank.owing(600)
    charge = charges.begin(purse, "tab", 6_000_000)
    another = facts.Origin("another", "", "", "")
    stripe_api.create_intent(another, customers.customer(purse), 700, f"cc-{charge.id}-create-0")
    charges.drive(charge)
    charge.refresh_from_db()
    assert (charge.state, charge.reason) == ("failed", "idempotency_error")
    assert balance(purse) == -6_000_000


def test_a_new_card_is_tried_even_if_the_answer_is_lost(bank: Bank):
    """What the old card's bank said is still on the intent, and is not about the new one."""
    purse = bank.owing(600, "4000000000000341")
    assert tabs.charge_tab(purse.id).state == "declined"
    bank.pay(checkout.save_card(purse, "/"))
    bank.fault("/confirm$", "drop", "before")
    checkout.setup_returned(purse.setups.latest("made_at").id)
    assert newest(purse).state == "confirming"
    bank.later()
    assert newest(purse).state == "succeeded"
    bank.agrees()


@pytest.mark.parametrize("sent", [False, True], ids=["before it was sent", "when it is tried again"])
def test_a_card_that_was_removed_at_the_processor_ends_the_charge(bank: Bank, sent: bool):
    """Being refused is an end: to send the same again for ever is none."""
    purse = bank.owing(600, "4000000000000341")
    if sent:
        tabs.charge_tab(purse.id)
    stripe_api.forget_card(purse.card.stripe_card_id)
    charge = tabs.pay_now(purse)
    assert charge.state == "failed"
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("past_due", -6_000_000)
    bank.agrees()


def test_what_is_said_of_an_attempt_again_is_no_news_of_the_next(bank: Bank):
    """The same card; the event of the first refusal is late, and the confirmation of the last attempt is on its way."""
    purse = bank.owing(600, "4000000000000341")
    charge = tabs.charge_tab(purse.id)
    late = bank.post()
    Charge.objects.filter(id=charge.id).update(attempt=charges.ATTEMPTS - 2)
    bank.fault("/confirm$", "drop", "before")
    assert tabs.pay_now(purse).state == "confirming"
    letters = len(outbox.outbox)
    bank.bring(late)
    assert newest(purse).state == "confirming"
    assert len(outbox.outbox) == letters
    bank.later()
    assert newest(purse).state == "failed"
    assert len([one for one in bank.state()["charge"].values() if one["status"] == "failed"]) == 2
    bank.agrees()
