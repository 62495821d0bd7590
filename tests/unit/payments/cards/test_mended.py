"""What chaos and the thought behind it have found, each as the shortest story that shows it."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail as outbox
from django.utils import timezone

from payments import audit, gate
from payments.books import ledger
from payments.cards import charges, checkout, reconciliation, refunds, stripe_api, sweeper, tabs, webhooks
from payments.cards.facts import NoAnswer
from payments.models import CardRefund, Charge, Dispute, ProcessorEvent, Purse, Setup
from payments.offers import Offer, Presented
from payments.purses import joining
from tests import buyers
from tests.bank import Bank, newest

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def balance(purse: Purse) -> int:
    purse.refresh_from_db()
    return purse.balance_micros


def test_a_dispute_whose_loss_nobody_told_is_settled_by_reconciliation(bank: Bank):
    """The loss itself moves no money, so no balance transaction speaks of it."""
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    buyers.press(purse, buyers.offer(1, 5_000_000))
    made = bank.do("disputes", charge=charge.reference, kind="fraudulent")
    bank.bring()
    bank.do(f"disputes/{made['id']}/close", won=False)
    bank.lose()
    bank.agrees()
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("chargeback", 0)
    assert Dispute.objects.get().lost_at


@pytest.mark.parametrize("taken", ["refund", "dispute"])
def test_what_was_taken_back_of_a_payment_that_nobody_told_of_is_taken_from_its_buyer(bank: Bank, taken: str):
    """The processor lists the newest first: the money back before the money."""
    purse = buyers.purse()
    bank.pay(checkout.top_up(purse, 500, "/"))
    paid = next(iter(bank.state()["charge"].values()))
    if taken == "refund":
        bank.do("refund", payment_intent=paid["payment_intent"], amount=300)
    else:
        bank.do("disputes", charge=paid["id"], amount=300, kind="fraudulent")
    bank.lose()
    assert reconciliation.reconcile().unknown == []
    assert balance(purse) == 2_000_000
    assert ledger.balance("suspense:stripe", "USD") == 0
    bank.agrees()


def test_a_failure_while_a_buyer_is_introduced_locks_nobody_out_for_a_day(bank: Bank):
    """A 5xx stays under its key, and so do the parameters."""
    purse = buyers.purse()
    bank.fault("/v1/customers$", "500", "after")
    with pytest.raises(NoAnswer):
        checkout.top_up(purse, 500, "/")
    bank.pay(checkout.top_up(purse, 500, "/"))
    assert checkout.returned(newest(purse).id).state == "succeeded"
    other = buyers.purse()
    bank.fault("/v1/customers$", "drop", "after")
    with pytest.raises(NoAnswer):
        checkout.top_up(other, 500, "/")
    Purse.objects.filter(id=other.id).update(email="told@example.org")
    other.refresh_from_db()
    assert checkout.top_up(other, 500, "/")


def test_an_event_that_cannot_be_applied_keeps_no_other_waiting(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    """Whatever is wrong with it: it is tried again later, and the others are applied now."""
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    bank.bring()
    bank.do("disputes", charge=charge.reference, kind="fraudulent")
    bank.pay(checkout.top_up(buyers.purse(), 500, "/"))
    monkeypatch.setattr("payments.cards.disputes.apply", lambda facts: 1 // 0)
    for event in bank.post():
        webhooks.receive(event["payload"].encode(), event["signature"])
    webhooks.apply_waiting()
    assert {event.about[:3] for event in ProcessorEvent.objects.filter(failures__gt=0)} == {"du_"}
    assert Charge.objects.filter(state="succeeded").count() == 2
    monkeypatch.undo()
    ProcessorEvent.objects.update(received_at=timezone.now() - timedelta(minutes=1))
    webhooks.apply_waiting()
    assert not ProcessorEvent.objects.filter(applied_at=None).exists()
    assert balance(purse) == 0
    bank.agrees()


def test_a_guest_who_owes_and_joins_an_account_that_owes_is_joined(bank: Bank):
    """Both are being charged at this moment; only one of them can go on under one name."""
    owner, guest = bank.owing(600, "4000000000000341"), bank.owing(700, "4000000000000341")
    for purse in (owner, guest):
        assert tabs.settle(purse.id).state == "declined"
    joining.join(guest, owner)
    owner.refresh_from_db()
    assert owner.balance_micros == -13_000_000
    assert Charge.objects.filter(purse=owner, state__in=Charge.LIVE).count() == 1
    bank.pay(checkout.save_card(owner, "/"))
    checkout.setup_returned(owner.setups.latest("made_at").id)
    assert balance(owner) == -7_000_000  # The owner's own was tried with the new card at once.
    assert tabs.pay_now(owner).state == "failed"  # A card of another customer does not pay the guest's.
    assert tabs.pay_now(owner).state == "succeeded"
    assert balance(owner) == 0
    assert sum(Charge.objects.filter(state="succeeded").values_list("amount_micros", flat=True)) == 13_000_000
    bank.agrees()


def test_a_new_card_is_tried_even_if_the_answer_is_lost(bank: Bank):
    """What the old card's bank said is still on the intent, and is not about the new one."""
    purse = bank.owing(600, "4000000000000341")
    assert tabs.settle(purse.id).state == "declined"
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
        tabs.settle(purse.id)
    stripe_api.forget_card(purse.card.reference)
    charge = tabs.pay_now(purse)
    assert charge.state == "failed"
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("past_due", -6_000_000)
    bank.agrees()


def test_a_guests_card_pays_what_the_account_owes_that_it_came_to(bank: Bank):
    """It stays with the customer under whom it was saved."""
    owner, guest = bank.owing(600), buyers.purse(holder="guest:9")
    bank.top_up(guest, 500, card="5555555555554444")
    guest.refresh_from_db()
    card = guest.card
    joining.join(guest, owner)
    buyers.press(owner, buyers.offer(8, 6_000_000))
    card.refresh_from_db()
    assert card.purse_id == owner.id
    tabs.use_card(card)
    assert tabs.pay_now(owner).state == "succeeded"
    assert balance(owner) == 0
    bank.agrees()


def test_money_of_a_guest_who_joins_at_this_moment_still_buys_what_it_was_for(bank: Bank, monkeypatch: Any):
    """The purse that was asked has nothing more, and the one that has the money was not asked."""
    guest, owner = buyers.purse(holder="guest:8"), buyers.purse()
    bank.pay(checkout.top_up(guest, 500, "/", buyers.offer()))
    verify = gate.verify

    def verify_late(presented: Presented, offer: Offer) -> gate.Admission:
        joining.join(guest, owner)
        return verify(presented, offer)

    monkeypatch.setattr(gate, "verify", verify_late)
    assert checkout.returned(newest(guest).id).bought is None
    monkeypatch.undo()
    bank.later()
    assert newest(owner).bought.resource == "article:1"
    assert balance(owner) == 4_950_000
    bank.agrees()


def test_a_buyer_whose_processor_does_not_answer_keeps_no_other_from_being_dunned(bank: Bank):
    purses_ = [bank.owing(600, "4000002760003184") for _ in range(2)]
    for purse in purses_:
        assert tabs.settle(purse.id).state == "action"
    bank.fault("/v1/payment_intents/pi_", "drop", method="GET")
    tabs.dun(timezone.now() + timedelta(days=8))
    tabs.dun(timezone.now() + timedelta(days=8))
    assert [newest(purse).state for purse in purses_] == ["canceled", "canceled"]


def test_what_is_said_of_an_attempt_again_is_no_news_of_the_next(bank: Bank):
    """The same card; the event of the first refusal is late, and the confirmation of the last attempt is on its way."""
    purse = bank.owing(600, "4000000000000341")
    charge = tabs.settle(purse.id)
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


def test_a_bank_that_asks_again_has_its_reminders_again(bank: Bank):
    purse = bank.owing(600, "4000002760003184")
    charge = tabs.settle(purse.id)
    Charge.objects.filter(id=charge.id).update(state="processing", reminders=3)
    assert charges.look(charge).state == "action"
    tabs.dun(timezone.now() + timedelta(days=1, minutes=1))
    assert newest(purse).reminders == 1


def test_a_page_that_saves_a_card_is_looked_at_less_and_less_often_and_to_the_end(bank: Bank):
    purse = buyers.purse()
    url = checkout.save_card(purse, "/")

    def looks(passed: timedelta) -> int:
        """How often it is asked about by a sweeper that comes twice, so long after the page was opened."""
        Setup.objects.update(look_at=timezone.now(), made_at=timezone.now() - passed)
        before = len(bank.requests("/v1/checkout/sessions/"))
        sweeper.sweep()
        sweeper.sweep()
        return len(bank.requests("/v1/checkout/sessions/")) - before

    sweeper.sweep()
    assert bank.requests("/v1/checkout/sessions/") == []
    assert looks(timedelta(minutes=3)) == 1
    assert Setup.objects.get().look_at > timezone.now() + timedelta(minutes=2)
    assert bank.pay(url)["paid"]
    assert looks(timedelta(days=3)) == 1
    assert Setup.objects.get().state == "done"


@pytest.mark.parametrize("there", [True, False])
def test_a_payment_that_was_learnt_of_late_is_not_missing(bank: Bank, monkeypatch: pytest.MonkeyPatch, there: bool):
    """The processor booked it before the days that are looked at."""
    charge = bank.top_up(buyers.purse(), 500)
    Charge.objects.update(decided_at=timezone.now() - timedelta(hours=1))
    if not there:
        Charge.objects.update(intent="pi_of_nobody")
    monkeypatch.setattr(stripe_api, "money_since", lambda _: iter(()))
    assert reconciliation.reconcile().missing == ([] if there else [charge.reference])


def test_a_second_dispute_that_is_heard_of_before_the_end_of_the_first_is_booked(bank: Bank):
    """For a while more than the payment seems to be withdrawn: the books say what the processor took and gave."""
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    first = bank.do("disputes", charge=charge.reference, kind="fraudulent")
    bank.bring()
    bank.do(f"disputes/{first['id']}/close", won=True)
    late = bank.post()
    second = bank.do("disputes", charge=charge.reference, kind="fraudulent")
    bank.bring()
    charge.refresh_from_db()
    assert (charge.disputed_micros, balance(purse)) == (5_000_000, -5_000_000)
    assert [str(finding) for finding in audit.findings()] == []
    bank.bring(late)
    assert balance(purse) == 0
    bank.do(f"disputes/{second['id']}/close", won=True)
    bank.bring()
    charge.refresh_from_db()
    assert (charge.disputed_micros, balance(purse)) == (0, 5_000_000)
    bank.agrees()


def test_the_sweeper_goes_on_after_what_it_cannot_understand(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    purse = buyers.purse()
    charge = bank.top_up(purse, 1000)
    bank.fault("/v1/refunds$", "drop", "before", method="POST")
    refunds.to_card(purse, charge, 1_000_000)
    CardRefund.objects.update(made_at=timezone.now() - timedelta(hours=1))
    bank.pay(checkout.top_up(buyers.purse(), 500, "/"))
    Charge.objects.update(look_at=timezone.now())
    monkeypatch.setattr("payments.cards.charges.look", lambda charge: 1 // 0)
    sweeper.sweep()
    assert CardRefund.objects.get().state == "done"
    monkeypatch.undo()
    bank.later()
    bank.agrees()
