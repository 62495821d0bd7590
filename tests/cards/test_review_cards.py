"""What a hostile reading of the card half found: each of these once took, gave or kept money wrongly."""

from datetime import timedelta

import pytest
from django.utils import timezone

from marketplace.shop import paywall
from payments import purses
from payments.books import ledger
from payments.cards import charges, checkout, disputes, holds, reconciliation, refunds, stripe_api, sweeper, tabs
from payments.cards.facts import DisputeFacts, Money
from payments.models import Card, CardRefund, Charge, Dispute, Payment, Purse

from . import till
from .bank import make_due, newest

pytestmark = pytest.mark.django_db(transaction=True)


def balance(purse: Purse) -> int:
    purse.refresh_from_db()
    return purse.balance_micros


def test_a_refund_made_by_hand_is_not_made_again_after_a_crash(bank, monkeypatch):
    purse = till.purse()
    charge = bank.top_up(purse, 1000)
    bank.do("refund", payment_intent=charge.intent, amount=300)
    monkeypatch.setattr(refunds, "_done", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        refunds.look(charge.intent)
    monkeypatch.undo()
    assert CardRefund.objects.get().state == "asked"
    CardRefund.objects.update(made_at=timezone.now() - timedelta(hours=1))
    bank.later()
    assert [one["amount"] for one in bank.state()["refund"].values()] == [300]
    assert balance(purse) == 7_000_000
    bank.agrees()


def test_the_article_is_bought_whatever_is_wrong_with_the_card(bank, monkeypatch):
    """Such as one that is none: a wallet's balance, which has no number and no brand."""
    purse = till.purse()
    bank.pay(checkout.top_up(purse, 500, "/", till.offer()))
    monkeypatch.setattr(stripe_api, "card", lambda _: (_ for _ in ()).throw(AttributeError("card")))
    assert checkout.returned(newest(purse).id).bought.resource == "article:1"


# --- A tab whose debt has changed since it was declined --------------------------------------------------------


def paid(bank) -> list[int]:
    return [one["amount"] for one in bank.state().get("charge", {}).values() if one["paid"]]


def mend(bank, purse: Purse) -> None:
    """The card has money again."""
    good = bank.do("payment_methods", card="4242424242424242", customer=purse.customer)
    Card.objects.filter(id=purse.card_id).update(reference=good["id"])


def due_again(charge: Charge) -> None:
    Charge.objects.filter(id=charge.id).update(retry_at=timezone.now())
    tabs.dun()
    charge.refresh_from_db()


def test_a_declined_tab_that_was_paid_by_a_top_up_is_not_charged_again(bank):
    purse = bank.owing(600, card="4000000000000341")
    charge = tabs.settle(purse.id)
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
    charge = tabs.settle(purse.id)
    bank.top_up(purse, 500)
    mend(bank, purse)
    due_again(charge)
    assert (charge.state, paid(bank), balance(purse)) == ("canceled", [500, 100], 0)
    assert purse.flag == ""
    bank.agrees()


def test_paying_now_never_charges_more_than_is_owed_now(bank):
    purse = bank.owing(600, card="4000000000000341")
    tabs.settle(purse.id)
    bank.top_up(purse, 500)
    mend(bank, purse)
    assert tabs.pay_now(purse).amount_micros == 1_000_000
    assert (paid(bank), balance(purse)) == ([500, 100], 0)


def test_a_bank_is_not_asked_any_more_about_what_was_paid_otherwise(bank):
    purse = bank.owing(600, card="4000002760003184")
    charge = tabs.settle(purse.id)
    assert charge.state == "action"
    bank.top_up(purse, 1000)
    tabs.dun()
    charge.refresh_from_db()
    assert (charge.state, balance(purse)) == ("canceled", 4_000_000)


def test_giving_back_what_was_owed_for_opens_the_purse_again(bank):
    purse = bank.tab(card="4000000000000341")
    bought = till.press(purse, till.offer(1, 6_000_000)).payment
    assert tabs.settle(purse.id).state == "declined"
    purses.refund(bought.id, purse)
    assert (balance(purse), purse.flag) == (0, "")


# --- Disputes ---------------------------------------------------------------------------------------------------


def moved(name: str, cents: int, fee: int = 0) -> Money:
    return Money(name, "adjustment", "dp_review", cents, fee, timezone.now())


def disputed(charge: Charge, status: str, *money: Money) -> None:
    disputes.apply(DisputeFacts("dp_review", status, "fraudulent", 500, charge.intent, money))


def test_a_dispute_says_its_movements_in_any_order(bank):
    purse = till.purse()
    charge = bank.top_up(purse, 500)
    disputed(charge, "won", moved("txn_back", 500), moved("txn_out", -500, 1500))
    assert (balance(purse), purse.flag) == (5_000_000, "")


def test_a_dispute_that_is_won_does_not_end_a_warning_of_fraud(bank):
    purse = till.purse()
    charge = bank.top_up(purse, 500)
    till.press(purse, till.offer(1, 5_000_000))
    bank.do("warnings", charge=charge.reference)
    bank.bring()
    made = bank.do("disputes", charge=charge.reference, kind="fraudulent")
    bank.bring()
    bank.do(f"disputes/{made['id']}/close", won=True)
    bank.bring()
    purse.refresh_from_db()
    assert purse.flag == "fraud"


def test_a_dispute_that_is_won_does_not_pay_a_tab(bank):
    purse = bank.tab(card="4000000000000341")
    charge = bank.top_up(purse, 500)
    till.press(purse, till.offer(1, 11_000_000))
    assert tabs.settle(purse.id).state == "declined"
    made = bank.do("disputes", charge=charge.reference, kind="fraudulent")
    bank.bring()
    bank.do(f"disputes/{made['id']}/close", won=True)
    bank.bring()
    assert (balance(purse), purse.flag) == (-6_000_000, "past_due")


def test_money_that_comes_back_after_a_loss_pays_the_loss_first(bank):
    purse = till.purse()
    charge = bank.top_up(purse, 500)
    till.press(purse, till.offer(1, 3_000_000))
    Payment.objects.update(decided_at=timezone.now() - timedelta(days=20))
    Charge.objects.update(available_at=timezone.now() - timedelta(days=1))
    assert holds.clear() == 1
    out, back = moved("txn_out", -500, 1500), moved("txn_back", 500)
    disputed(charge, "lost", out)
    assert (balance(purse), ledger.balance("loss:chargeback", "USD")) == (0, -3_000_000)
    for _ in range(2):
        disputed(charge, "won", out, back)
    assert (balance(purse), ledger.balance("loss:chargeback", "USD")) == (2_000_000, 0)
    assert Dispute.objects.get().lost_at is None


def test_a_warning_of_fraud_freezes_though_the_unspent_was_spent_meanwhile(bank, monkeypatch):
    purse = till.purse()
    charge = bank.top_up(purse, 500)
    to_card = refunds.to_card

    def late(*what, **how):
        till.press(purse, till.offer(1, 1_000_000))
        return to_card(*what, **how)

    monkeypatch.setattr(refunds, "to_card", late)
    disputes.warned(charge.intent)
    purse.refresh_from_db()
    assert (balance(purse), purse.flag) == (4_000_000, "fraud")


def test_a_second_warning_sends_back_what_is_unspent_of_its_payment_too(bank):
    purse = till.purse()
    first, second = bank.top_up(purse, 500), bank.top_up(purse, 1000)
    till.press(purse, till.offer(1, 3_000_000))
    for charge in (first, second):
        bank.do("warnings", charge=charge.reference)
        bank.bring()
    assert [refund.amount_micros for refund in CardRefund.objects.order_by("made_at")] == [5_000_000, 7_000_000]
    assert (balance(purse), purse.flag) == (0, "fraud")
    bank.agrees()


# --- Clearing ---------------------------------------------------------------------------------------------------


def test_what_the_platform_lost_covers_what_was_bought_with_it(bank):
    purse = till.purse()
    charge = bank.top_up(purse, 500)
    till.press(purse, till.offer(1, 3_000_000))
    Payment.objects.update(decided_at=timezone.now() - timedelta(days=20))
    Charge.objects.update(available_at=timezone.now() - timedelta(days=1))
    assert holds.clear() == 1
    made = bank.do("disputes", charge=charge.reference, kind="fraudulent")
    bank.do(f"disputes/{made['id']}/close", won=False)
    bank.bring()
    assert ledger.balance("loss:chargeback", "USD") == -3_000_000
    Purse.objects.update(flag="")  # Staff believe the buyer.
    purse.refresh_from_db()
    bank.top_up(purse, 500)
    till.press(purse, till.offer(2, 5_000_000))
    bank.later()
    assert holds.clear(timezone.now() + timedelta(days=30)) == 1


def test_buyers_who_never_pay_keep_no_publisher_waiting_for_others(bank, monkeypatch):
    monkeypatch.setattr(holds, "_AT_ONCE", 1)
    till.press(till.purse(tab=10_000_000), till.offer(1, 1_000_000))
    payer = till.purse()
    bank.top_up(payer, 500)
    till.press(payer, till.offer(2, 1_000_000))
    bank.later()
    assert holds.clear(timezone.now() + timedelta(days=30)) == 1


# --- Pages ------------------------------------------------------------------------------------------------------


def test_one_article_by_card_costs_what_the_page_says_when_something_is_owed(bank):
    purse = till.purse()
    charge = bank.top_up(purse, 500)
    till.press(purse, till.offer(1, 5_000_000))
    bank.do("refund", payment_intent=charge.intent, amount=200)
    refunds.look(charge.intent)
    assert balance(purse) == -2_000_000
    bank.pay(checkout.direct(purse, till.offer(2, 3_000_000), "/"))
    direct = checkout.returned(newest(purse).id)
    assert paywall.direct(3_000_000 + 2_000_000) == "$5.00"
    assert (direct.amount_micros, direct.bought.resource) == (5_000_000, "article:2")
    assert balance(purse) == 0


def test_a_page_that_was_given_up_meanwhile_is_shown_to_nobody(bank, monkeypatch):
    opened = stripe_api.open_checkout

    def slowly(*args, **more):
        page = opened(*args, **more)
        make_due()
        sweeper.sweep()
        return page

    monkeypatch.setattr(stripe_api, "open_checkout", slowly)
    purse = till.purse()
    with pytest.raises(purses.Refused):
        checkout.top_up(purse, 500, "/")
    assert newest(purse).state == "canceled"


# --- What is heard of too early, or cannot be understood ---------------------------------------------------------


def test_a_warning_or_a_dispute_that_comes_before_its_payment_is_heard(bank):
    for control, kind, flag in (("warnings", "early_fraud", "fraud"), ("disputes", "charge.dispute", "dispute")):
        purse = till.purse()
        url = checkout.top_up(purse, 500, "/")
        bank.pay(url)
        (number,) = (one["id"] for one in bank.state()["charge"].values() if one["customer"] == purse.customer)
        bank.do(control, charge=number)
        bank.bring([event for event in bank.post() if kind in event["payload"]])
        purse.refresh_from_db()
        assert purse.flag == flag
    bank.agrees()


def test_one_thing_that_reconciliation_does_not_understand_hides_nothing_else(bank, monkeypatch):
    strange, plain = till.purse(), till.purse()
    for purse in (strange, plain):
        bank.pay(checkout.top_up(purse, 500, "/"))
    bank.lose()
    real = charges.apply

    def apply(found):
        if found.charge == str(newest(strange).id):
            raise AttributeError("something new")
        return real(found)

    monkeypatch.setattr(charges, "apply", apply)
    report = reconciliation.reconcile()
    assert (len(report.missing), report.unknown, report.clean) == (1, [], False)
    assert balance(plain) == 5_000_000
    monkeypatch.undo()
    bank.settings.STRIPE_API_BASE = bank.url
    reconciliation.reconcile()
    assert balance(strange) == 5_000_000  # It was not put into suspense meanwhile.


def test_money_on_its_way_back_to_a_card_pays_no_publisher(bank):
    purse = bank.tab(limit=20_000_000)
    charge = bank.top_up(purse, 500)
    till.press(purse, till.offer(1, 1_000_000))
    bank.fault("/v1/refunds$", "drop", "before", times=100)
    assert refunds.to_card(purse, charge, 4_000_000).state == "asked"
    till.press(purse, till.offer(2, 3_000_000))  # On the tab, which nobody has paid.
    make_due()
    sweeper.sweep()
    assert holds.clear(timezone.now() + timedelta(days=30)) == 1
    bank.no_faults()


def test_an_article_that_was_given_back_is_not_bought_again_after_a_crash(bank, monkeypatch):
    purse = till.purse()
    bank.pay(checkout.top_up(purse, 500, "/", till.offer()))
    verify = charges.gate.verify

    def dying(*args):
        verify(*args).settle()
        raise KeyboardInterrupt

    monkeypatch.setattr(charges.gate, "verify", dying)
    with pytest.raises(KeyboardInterrupt):
        checkout.returned(newest(purse).id)
    monkeypatch.setattr(charges.gate, "verify", verify)
    purses.refund(Payment.objects.get().id, purse)
    bank.later()
    assert balance(purse) == 5_000_000
    assert newest(purse).fulfilled_at
