"""The scenarios of a card charge: every order and loss of webhooks, lost answers, dunning, disputes, refunds, races."""

import hashlib
import hmac
import threading
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.core import mail as outbox
from django.db import connection
from django.utils import timezone

from dev.standin import WEBHOOK_SECRET
from marketplace.accounts.models import User
from payments import gate, purses
from payments.books import ledger
from payments.cards import charges, checkout, disputes, holds, reconciliation, refunds, stripe_api, tabs, webhooks
from payments.cards.facts import NoAnswer
from payments.models import CardRefund, Charge, Dispute, Payment, ProcessorEvent, Purse, State, Transaction
from tests.publishers import cast

from . import till
from .bank import CENT, Bank, newest

pytestmark = pytest.mark.django_db(transaction=True)


def balance(purse: Purse) -> int:
    purse.refresh_from_db()
    return purse.balance_micros


def paid_once(bank: Bank, purse: Purse, micros: int) -> None:
    """One success, one entry, one amount; and the processor's books say the same."""
    rows = Charge.objects.filter(purse=purse, state="succeeded")
    assert [row.amount_micros for row in rows] == [micros]
    succeeded = [one for one in bank.state().get("charge", {}).values() if one["paid"]]
    assert sum(one["amount"] for one in succeeded) * CENT == micros
    assert Transaction.objects.filter(kind="card_paid").count() == 1
    bank.agrees()


# --- Webhooks: after, before, never, often, in any order (s01 to s08) ----------------------------------------


def test_s01_a_webhook_after_our_own_result_changes_nothing(bank):
    purse = till.purse()
    bank.top_up(purse, 500)
    before = Transaction.objects.count()
    bank.bring()
    assert Transaction.objects.count() - before <= 1  # The fee, if it was not known yet.
    assert balance(purse) == 5_000_000
    paid_once(bank, purse, 5_000_000)


def test_s02_a_webhook_before_we_stored_the_intent_is_adopted_by_our_own_id(bank, monkeypatch):
    purse = bank.owing(600)
    monkeypatch.setattr(charges, "step", lambda *_, **__: False)  # The worker dies after the call.
    charge = tabs.settle(purse.id)
    monkeypatch.undo()
    assert (charge.state, charge.intent) == ("new", "")
    made = next(iter(bank.state()["payment_intent"].values()))
    charges.apply(stripe_api.intent(made["id"]))
    charge.refresh_from_db()
    assert (charge.state, charge.intent) == ("created", made["id"])
    bank.later()
    paid_once(bank, purse, 6_000_000)


def test_s03_without_any_webhook_the_sweeper_reaches_the_same_end(bank):
    purse = till.purse()
    url = checkout.top_up(purse, 500, "/", till.offer())
    assert bank.pay(url)["paid"]
    bank.lose()
    assert balance(purse) == 0
    bank.later()
    assert balance(purse) == 4_950_000
    assert newest(purse).bought.resource == "article:1"
    paid_once(bank, purse, 5_000_000)


def test_s04_ten_copies_of_each_webhook_are_one_entry(bank):
    purse = till.purse()
    bank.pay(checkout.top_up(purse, 500, "/"))
    events = bank.post()
    assert len(events) >= 3
    bank.bring(events * 10)
    assert ProcessorEvent.objects.count() == len(events)
    paid_once(bank, purse, 5_000_000)


def test_s05_failed_after_succeeded_and_a_new_card_during_dunning(bank):
    purse = bank.owing(600, card="4000000000000341")
    charge = tabs.settle(purse.id)
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


def test_s06_a_refund_heard_of_before_its_payment(bank):
    purse = till.purse()
    bank.pay(checkout.top_up(purse, 500, "/"))
    bank.do("refund", payment_intent=next(iter(bank.state()["payment_intent"])), amount=200)
    bank.bring(bank.post()[::-1])
    assert balance(purse) in (3_000_000, 5_000_000)
    bank.agrees()
    assert balance(purse) == 3_000_000


def test_s07_a_dispute_closed_before_it_was_opened(bank):
    purse = till.purse()
    charge = bank.top_up(purse, 500)
    bank.bring()
    made = bank.do("disputes", charge=charge.reference, kind="fraudulent")
    bank.do(f"disputes/{made['id']}/close", won=True)
    bank.bring(bank.post()[::-1])
    purse.refresh_from_db()
    assert (purse.balance_micros, purse.flag) == (5_000_000, "")
    assert Dispute.objects.get().status == "won"
    bank.agrees()


def test_s08_forged_stale_and_foreign_webhooks_are_refused_and_nothing_is_stored(bank):
    bank.top_up(till.purse(), 500)
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


# --- Lost answers (s09, s10) ---------------------------------------------------------------------------------

FAULTS = [("drop", "before"), ("drop", "after"), ("500", "before"), ("500", "after"), ("429", "before")]


@pytest.mark.parametrize(("kind", "when"), FAULTS)
@pytest.mark.parametrize("path", [r"/v1/payment_intents$", "/confirm$"], ids=["create", "confirm"])
def test_s09_an_answer_that_is_lost_charges_once(bank, path, kind, when):
    purse = bank.owing(600)
    bank.fault(path, kind, when)
    charge = tabs.settle(purse.id)
    assert charge.state in ("new", "created", "confirming")
    bank.lose()
    for _ in range(3):
        bank.later()
    charge.refresh_from_db()
    assert charge.state == "succeeded", (charge.state, charge.reason)
    assert balance(purse) == 0
    paid_once(bank, purse, 6_000_000)


@pytest.mark.parametrize(("kind", "when"), FAULTS)
def test_s10_a_refund_whose_answer_is_lost_goes_back_once(bank, kind, when):
    purse = till.purse()
    charge = bank.top_up(purse, 1000)
    bank.fault("/v1/refunds$", kind, when, method="POST")
    refund = refunds.to_card(purse, charge, 4_000_000)
    assert balance(purse) == 6_000_000
    for _ in range(3):
        CardRefund.objects.update(made_at=timezone.now() - timedelta(hours=1))
        bank.later()
    refund.refresh_from_db()
    assert refund.state == "done"
    assert [one["amount"] for one in bank.state()["refund"].values()] == [400]
    bank.agrees()
    assert balance(purse) == 6_000_000


# --- The tab (s11 to s15) ------------------------------------------------------------------------------------


def test_s11_less_than_half_a_dollar_is_carried(bank):
    purse = bank.tab()
    till.press(purse, till.offer(1, 490_000))
    Purse.objects.filter(id=purse.id).update(owing_since=timezone.now() - timedelta(days=30))
    assert tabs.settle_due() == []
    till.press(purse, till.offer(2, 15_000))
    (charge,) = tabs.settle_due()
    assert (charge.state, charge.amount_micros) == ("succeeded", 500_000)
    assert balance(purse) == -5_000  # Half a cent stays on the tab.
    bank.agrees()


def test_s11_a_tab_is_charged_at_its_amount_at_its_limit_or_after_a_week(bank):
    small = bank.tab(limit=3_000_000)
    till.press(small, till.offer(1, 2_690_000))
    assert tabs.settle_due() == []
    till.press(small, till.offer(2, 20_000))
    assert [charge.amount_micros for charge in tabs.settle_due()] == [2_710_000]
    large = bank.tab(limit=10_000_000)
    till.press(large, till.offer(3, 4_990_000))
    assert tabs.settle_due() == []
    assert tabs.settle_due(timezone.now() + timedelta(days=7, seconds=1))[0].purse_id == large.id
    assert tabs.settle_due(timezone.now() + timedelta(days=30)) == []


def test_s12_a_declined_tab_is_tried_after_one_three_and_five_days_and_then_no_more(bank):
    purse = bank.owing(600, card="4000000000000341")
    charge = tabs.settle(purse.id)
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
    assert tabs.settle_due(now + timedelta(days=90)) == []  # Or dunning would begin anew for ever.
    with pytest.raises(gate.PaymentRequired) as refused:
        till.press(purse, till.offer(77))
    assert refused.value.word == "purse_past_due"
    letters = [letter.subject for letter in outbox.outbox]
    assert letters == ["Your card was declined"] * 3 + ["We could not charge your tab"]
    bank.agrees()


def test_s12_paying_now_with_a_new_card_ends_it(bank):
    purse = bank.owing(600, card="4000000000000341")
    for _ in range(4):
        charge = newest(purse) if purse.charges.exists() else tabs.settle(purse.id)
        Charge.objects.filter(id=charge.id, state="declined").update(retry_at=timezone.now())
        tabs.dun()
    assert newest(purse).state == "failed"
    bank.pay(checkout.save_card(purse, "/"))
    checkout.setup_returned(purse.setups.latest("made_at").id)
    purse.refresh_from_db()
    assert tabs.pay_now(purse).state == "succeeded"
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("", 0)
    with pytest.raises(purses.Refused):
        tabs.pay_now(purse)
    bank.agrees()


def test_s13_a_stolen_card_is_not_tried_again(bank):
    purse = bank.tab()
    lost = bank.do("payment_methods", card="4000000000009979", customer=purse.customer)
    purse.card.__class__.objects.filter(id=purse.card_id).update(reference=lost["id"])
    till.press(purse, till.offer(1, 6_000_000))
    charge = tabs.settle(purse.id)
    assert (charge.state, charge.reason) == ("failed", "stolen_card")
    tabs.dun(timezone.now() + timedelta(days=30))
    assert len(bank.requests("/confirm")) == 1
    assert balance(purse) == -6_000_000


def test_s14_a_bank_that_wants_to_ask_is_answered_by_the_buyer_refused_once_then_accepted(bank):
    purse = bank.owing(600, card="4000002760003184")
    charge = tabs.settle(purse.id)
    assert (charge.state, charge.reason) == ("action", "authentication_required")
    letter = outbox.outbox[-1]
    assert f"/purse/authenticate/{charge.id}?token=" in letter.body
    assert tabs.settle(purse.id) is None
    tabs.dun(timezone.now() + timedelta(hours=1))
    assert len(outbox.outbox) == 1
    bank.do(f"payment_intents/{charge.intent}/authenticate", ok=False)
    assert charges.look(charge).state == "action"
    bank.do(f"payment_intents/{charge.intent}/authenticate", ok=True)
    assert charges.look(charge).state == "succeeded"
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("", 0)
    paid_once(bank, purse, 6_000_000)


def test_s14_nobody_answers_the_bank_reminded_thrice_given_up_after_a_week(bank):
    purse = bank.owing(600, card="4000002760003184")
    charge = tabs.settle(purse.id)
    for day in range(1, 9):
        tabs.dun(timezone.now() + timedelta(days=day, minutes=1))
    charge.refresh_from_db()
    assert charge.state == "canceled"
    assert len(outbox.outbox) == 4
    assert tabs.settle_due(timezone.now() + timedelta(days=60)) == []
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("past_due", -6_000_000)
    assert bank.state()["payment_intent"][charge.intent]["status"] == "canceled"


def test_s15_a_card_authenticated_when_it_was_saved_is_not_asked_again(bank):
    purse = bank.owing(600, card="4000002500003155")
    assert tabs.settle(purse.id).state == "succeeded"
    paid_once(bank, purse, 6_000_000)


# --- Disputes and refunds (s16 to s20) -------------------------------------------------------------------------


def test_s16_a_lost_chargeback_takes_balance_then_pending_sales_and_the_rest_is_a_loss_in_the_books(bank):
    purse = till.purse()
    charge = bank.top_up(purse, 1000)
    kept = till.press(purse, till.offer(1, 3_000_000, payee="publisher:1")).payment
    taken = till.press(purse, till.offer(2, 2_000_000, payee="publisher:2")).payment
    Payment.objects.filter(id=kept.id).update(decided_at=timezone.now() - timedelta(days=20))
    Charge.objects.update(available_at=timezone.now() - timedelta(days=1))
    assert holds.clear() == 1
    made = bank.do("disputes", charge=charge.reference, kind="fraudulent")
    bank.bring()
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("dispute", -5_000_000)
    with pytest.raises(gate.PaymentRequired) as refused:
        till.press(purse, till.offer(3))
    assert refused.value.word == "purse_frozen"
    bank.do(f"disputes/{made['id']}/close", won=False)
    bank.bring()
    bank.bring()
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("chargeback", 0)
    assert ledger.balance("publisher:1:earned", "USD") == 2_850_000  # Earned is never touched.
    assert ledger.balance("publisher:2:pending", "USD") == 0
    taken.refresh_from_db()
    assert (taken.state, taken.reason) == (State.REFUNDED, "chargeback")
    assert not taken.grants.filter(revoked_at=None).exists()
    assert ledger.balance("loss:chargeback", "USD") == -3_000_000
    assert ledger.balance("loss:dispute_fee", "USD") == -15_000_000
    bank.agrees()


def test_staff_lets_a_buyer_buy_again_and_a_repeated_webhook_does_not_undo_it(bank):
    purse = till.purse()
    charge = bank.top_up(purse, 500)
    till.press(purse, till.offer(1, 1_000_000))
    made = bank.do("disputes", charge=charge.reference, kind="fraudulent")
    bank.bring()
    assert not disputes.unfreeze(purse)  # One is open.
    bank.do(f"disputes/{made['id']}/close", won=False)
    events = bank.post()
    bank.bring(events)
    staff = User.objects.create_superuser("root@example.org")
    browser = cast.signed_in(staff)
    browser.post("/admin/payments/purse/", {"action": "lift_the_freeze", "_selected_action": [str(purse.pk)]})
    assert LogEntry.objects.get().change_message == "Lifted the freeze."
    disputes.apply(stripe_api.dispute(made["id"]))
    bank.top_up(purse, 500)
    assert till.press(purse, till.offer(2, 1_000_000)).grant
    assert not disputes.unfreeze(purse)
    bank.agrees()


def test_s17_a_dispute_that_is_won_gives_everything_back(bank):
    purse = till.purse()
    charge = bank.top_up(purse, 500)
    made = bank.do("disputes", charge=charge.reference, kind="fraudulent")
    bank.bring()
    assert balance(purse) == 0
    bank.do(f"disputes/{made['id']}/close", won=True)
    bank.bring()
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("", 5_000_000)
    till.press(purse, till.offer())
    bank.agrees()


def test_s17_an_inquiry_moves_no_money_and_freezes_nothing(bank):
    purse = till.purse()
    charge = bank.top_up(purse, 500)
    bank.do("disputes", charge=charge.reference, kind="inquiry")
    bank.bring()
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("", 5_000_000)
    bank.agrees()


def test_s18_refunds_in_parts_in_full_too_much_and_one_that_comes_back(bank):
    purse = till.purse()
    charge = bank.top_up(purse, 1000)
    assert refunds.refundable(purse) != []
    refunds.to_card(purse, charge, 4_000_000)
    purse.refresh_from_db()
    assert refunds.refundable(purse) == [(charge, 6_000_000)]
    for wrong in (6_010_000, 0, -10_000, 5_000):
        with pytest.raises(purses.Refused):
            refunds.to_card(purse, charge, wrong)
    last = refunds.to_card(purse, charge, 6_000_000)
    assert balance(purse) == 0
    bank.do(f"refunds/{last.reference}/fail")
    bank.bring()
    last.refresh_from_db()
    assert last.state == "failed"
    assert balance(purse) == 6_000_000
    bank.agrees()


def test_s18_what_is_spent_cannot_go_back_to_the_card(bank):
    purse = till.purse()
    charge = bank.top_up(purse, 500)
    till.press(purse, till.offer(1, 4_000_000))
    with pytest.raises(purses.Refused) as refused:
        refunds.to_card(purse, charge, 2_000_000)
    assert refused.value.word == "insufficient_balance"
    purse.refresh_from_db()
    assert refunds.refundable(purse) == [(charge, 1_000_000)]


def test_s19_a_refund_made_by_hand_at_the_processor_comes_in_without_a_webhook(bank):
    purse = till.purse()
    charge = bank.top_up(purse, 500)
    till.press(purse, till.offer(1, 4_000_000))
    bank.do("refund", payment_intent=charge.intent, amount=300)
    bank.lose()
    assert len(reconciliation.reconcile().healed) >= 1
    assert balance(purse) == -2_000_000
    bank.agrees()


def test_s20_a_disputed_charge_is_not_refunded(bank):
    purse = till.purse()
    charge = bank.top_up(purse, 500)
    bank.do("disputes", charge=charge.reference, kind="fraudulent")
    bank.bring()
    with pytest.raises(purses.Refused):
        refunds.to_card(purse, charge, 1_000_000)
    other = till.purse()
    second = bank.top_up(other, 500)
    bank.do("disputes", charge=second.reference, kind="fraudulent")  # We have not heard of it.
    refund = refunds.to_card(other, second, 1_000_000)
    assert refund.state == "refused"
    assert balance(other) == 5_000_000
    bank.bring()
    bank.agrees()


def test_a_fraud_warning_freezes_and_sends_back_what_is_unspent(bank):
    purse = till.purse()
    charge = bank.top_up(purse, 500)
    till.press(purse, till.offer(1, 1_000_000))
    bank.do("warnings", charge=charge.reference)
    bank.bring()
    bank.bring()
    purse.refresh_from_db()
    assert (purse.flag, purse.balance_micros) == ("fraud", 0)
    assert CardRefund.objects.get().amount_micros == 4_000_000
    bank.agrees()


# --- Races (s21 to s24) ------------------------------------------------------------------------------------------


def together(work, number: int = 12) -> list:
    """The same work by many threads at one moment, each on a connection of its own; what they returned or raised."""
    barrier, done = threading.Barrier(number), []

    def run() -> None:
        try:
            barrier.wait(20)
            done.append(work())
        except Exception as error:
            done.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def test_s21_twelve_workers_settle_one_tab_once(bank):
    purse = bank.owing(600)
    together(lambda: tabs.settle(purse.id))
    for _ in range(3):
        bank.later()
    assert Charge.objects.filter(purse=purse).count() == 1
    paid_once(bank, purse, 6_000_000)


def test_s21_the_race_is_real(bank, monkeypatch):
    """Without the lock and the constraint each worker that has read the debt charges it."""
    purse = bank.owing(600)
    seen = [charges.begin(purse, "topup", 6_000_000) for _ in range(3)]
    assert len({charge.id for charge in seen}) == 3
    barrier = threading.Barrier(3)

    def unguarded() -> None:
        row = Purse.objects.get(id=purse.id)
        barrier.wait(10)
        made = charges.begin(row, "topup", -row.balance_micros)
        Charge.objects.filter(id=made.id).update(card=row.card)
        charges.drive(made)

    together(unguarded, 3)
    assert balance(purse) == 12_000_000  # Charged three times for one debt.


def test_s22_concurrent_purchases_never_pass_the_limit(bank):
    purse = bank.tab(limit=1_000_000)
    numbers = iter(range(100, 200))
    lock = threading.Lock()

    def buy() -> str:
        with lock:
            number = next(numbers)
        try:
            till.press(purse, till.offer(number, 150_000))
        except gate.PaymentRequired as refused:
            return refused.word
        return "bought"

    said = together(buy)
    assert said.count("bought") == 6
    assert said.count("tab_limit_reached") == 6
    assert balance(purse) == -900_000


def test_s23_the_same_event_in_twelve_threads_is_one_entry(bank):
    purse = till.purse()
    bank.pay(checkout.top_up(purse, 500, "/", till.offer()))
    events = bank.post()
    together(lambda: bank_brings(events))
    webhooks.apply_waiting()
    assert balance(purse) == 4_950_000
    paid_once(bank, purse, 5_000_000)


def bank_brings(events: list) -> None:
    for event in events:
        webhooks.receive(event["payload"].encode(), event["signature"])
    webhooks.apply_waiting()


def test_s24_twelve_threads_drive_one_charge_once(bank):
    purse = bank.owing(600)
    charge = charges.begin(purse, "tab", 6_000_000)
    together(lambda: charges.drive(Charge.objects.get(id=charge.id)))  # Each has a row of its own in its hand.
    for _ in range(3):
        bank.later()
    paid_once(bank, purse, 6_000_000)


# --- What is none of ours (s25 to s27) -----------------------------------------------------------------------------


def test_s25_a_payment_made_by_hand_is_reported_and_the_sums_agree(bank):
    bank.top_up(till.purse(), 500)
    bank.do("charge", amount=700)
    report = reconciliation.reconcile()
    assert len(report.unknown) == 1
    assert bank.agrees().unknown == []
    assert ledger.balance("suspense:stripe", "USD") > 0


def test_s26_one_key_for_other_parameters_is_refused_and_charges_nothing(bank):
    purse = bank.owing(600)
    charge = charges.begin(purse, "tab", 6_000_000)
    stripe_api.create_intent("another", charges.customer(purse), 700, f"cc-{charge.id}-create-0")
    charges.drive(charge)
    charge.refresh_from_db()
    assert (charge.state, charge.reason) == ("failed", "idempotency_error")
    assert balance(purse) == -6_000_000


def test_s27_below_the_minimum_nothing_is_sent(bank):
    purse = till.purse()
    for cents in (2, 49, 499, 0, -500):
        with pytest.raises(purses.Refused):
            checkout.top_up(purse, cents, "/")
    with pytest.raises(purses.Refused) as refused:
        checkout.direct(purse, till.offer(1, 2_990_000), "/")
    assert refused.value.word == "below_card_minimum"
    assert bank.requests("/v1/") == []
    assert not Charge.objects.exists()


# --- Checkout ------------------------------------------------------------------------------------------------------


def test_a_direct_purchase_pays_for_one_article_and_opens_it(bank):
    purse = till.purse(holder="guest:77")
    url = checkout.direct(purse, till.offer(1, 3_333_333), "/")
    assert bank.pay(url, email="guest@example.org")["paid"]
    charge = checkout.returned(newest(purse).id)
    assert (charge.amount_micros, charge.bought.amount_micros) == (3_340_000, 3_333_333)
    purse.refresh_from_db()
    assert (purse.balance_micros, purse.email) == (6_667, "guest@example.org")
    bank.agrees()


def test_an_expired_page_is_canceled_and_charges_nobody(bank):
    purse = till.purse()
    checkout.top_up(purse, 500, "/")
    bank.do("clock", advance=2 * 86400)
    assert checkout.returned(newest(purse).id).state == "canceled"
    assert balance(purse) == 0


@pytest.mark.parametrize(("kind", "when"), FAULTS)
def test_a_page_that_could_not_be_opened_is_given_up_and_found_again_if_it_was_paid_after_all(bank, kind, when):
    purse = till.purse()
    bank.fault("/v1/checkout/sessions$", kind, when)
    with pytest.raises(NoAnswer):
        checkout.top_up(purse, 500, "/")
    assert newest(purse).state == "canceled"
    for session in bank.state().get("checkout.session", {}):
        bank.do(f"sessions/{session}/pay")
        bank.lose()
        reconciliation.reconcile()
        assert newest(purse).state == "succeeded"
        assert balance(purse) == 5_000_000
    bank.agrees()


def test_who_opens_page_after_page_is_stopped(bank):
    bank.settings.CHECKOUTS_PER_HOUR = 3
    purse = till.purse()
    for _ in range(3):
        checkout.top_up(purse, 500, "/", address="10.0.0.1")
    with pytest.raises(purses.Refused) as refused:
        checkout.top_up(purse, 500, "/")
    assert refused.value.word == "too_many_checkouts"
    with pytest.raises(purses.Refused):
        checkout.save_card(till.purse(), "/", address="10.0.0.1")
    checkout.top_up(till.purse(), 500, "/", address="10.0.0.2")


def test_money_that_can_no_longer_buy_its_article_stays_in_the_purse(bank):
    purse = till.purse()
    url = checkout.top_up(purse, 500, "/", till.offer(1, 4_000_000))
    bank.pay(url)
    Purse.objects.filter(id=purse.id).update(flag="fraud")
    charge = checkout.returned(newest(purse).id)
    assert (charge.state, charge.bought) == ("succeeded", None)
    assert charge.fulfilled_at
    assert balance(purse) == 5_000_000


def test_a_crash_between_the_money_and_the_article_is_mended_by_the_sweeper(bank, monkeypatch):
    purse = till.purse()
    bank.pay(checkout.top_up(purse, 500, "/", till.offer()))
    monkeypatch.setattr(charges, "fulfil", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        checkout.returned(newest(purse).id)
    monkeypatch.undo()
    assert balance(purse) == 5_000_000
    bank.later()
    assert balance(purse) == 4_950_000


def test_pending_becomes_earned_when_hold_funds_and_order_allow(bank):
    purse = till.purse()
    bank.top_up(purse, 500)
    for number in (1, 2):
        till.press(purse, till.offer(number, 2_000_000))
    now = timezone.now()
    assert holds.clear(now) == 0
    assert holds.clear(now + timedelta(days=6)) == 0
    bank.later()
    assert Charge.objects.get().available_at
    assert holds.clear(now + timedelta(days=6)) == 0  # The money is there, the hold has not passed.
    bank.settings.CLEARING_HOLD_SECONDS = 0
    assert holds.clear(now + timedelta(days=1)) == 0  # The other way round.
    bank.settings.CLEARING_HOLD_SECONDS = 7 * 86_400
    assert holds.clear(now + timedelta(days=8)) == 2
    assert ledger.balance("publisher:7:earned", "USD") == 3_800_000
    unpaid = bank.tab()
    till.press(unpaid, till.offer(3, 1_000_000))
    assert holds.clear(now + timedelta(days=90)) == 0
    tabs.settle_due(now + timedelta(days=8))
    bank.later()
    assert holds.clear(now + timedelta(days=90)) == 1
    bank.agrees()


def test_removing_the_card_closes_the_tab_and_forgets_it_at_the_processor(bank):
    purse = bank.tab()
    till.press(purse, till.offer(1, 600_000))
    with pytest.raises(purses.Refused):
        tabs.remove_card(purse.card)
    purse.refresh_from_db()
    tabs.pay_now(purse)
    tabs.remove_card(purse.card)
    purse.refresh_from_db()
    assert (purse.card, purse.tab_limit_micros) == (None, 0)
    assert bank.state()["payment_method"] == {} or all(
        one["customer"] is None for one in bank.state()["payment_method"].values()
    )


def test_an_idle_sweep_asks_the_processor_nothing(bank):
    before = len(bank.requests())
    bank.later()
    assert len(bank.requests()) == before
