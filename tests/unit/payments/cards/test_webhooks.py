"""Webhooks after, before, never, often and in any order: each ends where the processor's own records end."""

import hashlib
import hmac
from datetime import timedelta

import pytest
from django.utils import timezone

from dev.standin import WEBHOOK_SECRET
from payments.cards import (
    charges,
    checkout,
    stripe_api,
    tabs,
    webhooks,
)
from payments.models import Charge, Dispute, ProcessorEvent, Transaction
from tests import buyers
from tests.bank import Bank, newest, paid_once
from tests.buyers import balance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def test_a_webhook_after_our_own_result_changes_nothing(bank):
    purse = buyers.purse()
    bank.top_up(purse, 500)
    before = Transaction.objects.count()
    bank.bring()
    assert Transaction.objects.count() - before <= 1  # The fee, if it was not known yet.
    assert balance(purse) == 5_000_000
    paid_once(bank, purse, 5_000_000)


def test_a_webhook_before_we_stored_the_intent_is_adopted_by_our_own_id(bank, monkeypatch):
    purse = bank.owing(600)
    monkeypatch.setattr(charges, "step", lambda *_, **__: False)  # The worker dies after the call.
    charge = tabs.charge_tab(purse.id)
    monkeypatch.undo()
    assert (charge.state, charge.intent) == ("new", "")
    made = next(iter(bank.state()["payment_intent"].values()))
    charges.apply(stripe_api.intent(made["id"]))
    charge.refresh_from_db()
    assert (charge.state, charge.intent) == ("created", made["id"])
    bank.later()
    paid_once(bank, purse, 6_000_000)


def test_without_any_webhook_the_sweeper_reaches_the_same_end(bank):
    purse = buyers.purse()
    url = checkout.top_up(purse, 500, "/", buyers.offer())
    assert bank.pay(url)["paid"]
    bank.lose()
    assert balance(purse) == 0
    bank.later()
    assert balance(purse) == 4_950_000
    assert newest(purse).bought.resource == "article:1"
    paid_once(bank, purse, 5_000_000)


def test_ten_copies_of_each_webhook_are_one_entry(bank):
    purse = buyers.purse()
    bank.pay(checkout.top_up(purse, 500, "/"))
    events = bank.post()
    assert len(events) >= 3
    bank.bring(events * 10)
    assert ProcessorEvent.objects.count() == len(events)
    paid_once(bank, purse, 5_000_000)


def test_failed_after_succeeded_and_a_new_card_during_dunning(bank):
    purse = bank.owing(600, card="4000000000000341")
    charge = tabs.charge_tab(purse.id)
    assert (charge.state, charge.reason) == ("declined", "generic_decline")
    declined = bank.post()
    url = checkout.save_card(purse, "/")
    bank.pay(url)
    checkout.setup_returned(purse.setups.latest("made_at").id)  # The new card is tried at once.
    charge.refresh_from_db()
    assert charge.state == "succeeded"
    bank.bring(bank.post() + declined)
    charge.refresh_from_db()
    assert charge.state == "succeeded"
    purse.refresh_from_db()
    assert (purse.balance_micros, purse.flag) == (0, "")
    paid_once(bank, purse, 6_000_000)


def test_a_refund_heard_of_before_its_payment(bank):
    purse = buyers.purse()
    bank.pay(checkout.top_up(purse, 500, "/"))
    bank.do("refund", payment_intent=next(iter(bank.state()["payment_intent"])), amount=200)
    bank.bring(bank.post()[::-1])
    assert balance(purse) in (3_000_000, 5_000_000)
    bank.agrees()
    assert balance(purse) == 3_000_000


def test_a_dispute_closed_before_it_was_opened(bank):
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    bank.bring()
    made = bank.do("disputes", charge=charge.stripe_charge_id, kind="fraudulent")
    bank.do(f"disputes/{made['id']}/close", won=True)
    bank.bring(bank.post()[::-1])
    purse.refresh_from_db()
    assert (purse.balance_micros, purse.flag) == (5_000_000, "")
    assert Dispute.objects.get().status == "won"
    bank.agrees()


def test_forged_stale_and_foreign_webhooks_are_refused_and_nothing_is_stored(bank):
    bank.top_up(buyers.purse(), 500)
    event = bank.post()[0]
    body, signature = event["payload"].encode(), event["signature"]
    stamp = int(signature.split(",")[0].removeprefix("t="))
    assert signature == signed(body, stamp)
    for wrong_body, wrong in (
        (body, signature[:-1] + ("0" if signature[-1] != "0" else "1")),
        (body, signature.replace(str(stamp), str(stamp - 1))),
        (body, signed(body, stamp - 301)),
        (body + b" ", signature),
        (b"{}", signature),
        (b"", ""),
        (b"\xff", signature),
        (body, "t=,v1="),
        (b"x" * (webhooks.MAX_BYTES + 1), signature),
    ):
        with pytest.raises(webhooks.Forged):
            webhooks.receive(wrong_body, wrong)
    bank.settings.STRIPE_WEBHOOK_SECRET = ""
    with pytest.raises(webhooks.Forged):
        webhooks.receive(body, signature)
    assert not ProcessorEvent.objects.exists()


def signed(body: bytes, stamp: int) -> str:
    """As the processor signs, at another time."""
    mark = hmac.new(WEBHOOK_SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={mark}"


def test_an_event_that_cannot_be_applied_keeps_no_other_waiting(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    """Whatever is wrong with it: it is tried again later, and the others are applied now."""
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    bank.bring()
    bank.do("disputes", charge=charge.stripe_charge_id, kind="fraudulent")
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
