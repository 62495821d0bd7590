"""What a buyer agreed to: whether a card is kept, and what becomes of pages that end in other ways than paid."""

import threading
from typing import Any

import pytest
from django.core import mail as outbox
from django.test import override_settings

from marketplace import celery
from payments import fulfilment, purses
from payments.cards import charges, checkout, currency, customers, saved_cards, stripe_api, tabs
from payments.cards.facts import Intent, NoAnswer
from payments.models import Card, Charge, Purse, Setup
from tests import buyers
from tests.bank import Bank, make_due, newest
from tests.buyers import balance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


@pytest.mark.parametrize("ticked", [True, False])
def test_a_top_up_keeps_the_card_only_when_asked(bank: Bank, ticked: bool):
    purse = buyers.purse()
    open_page = checkout.top_up_keeping_card if ticked else checkout.top_up
    bank.pay(open_page(purse, 500, "/"))
    assert fulfilment.returned(newest(purse).id).state == "succeeded"
    assert Card.objects.exists() is ticked
    customer = Purse.objects.get().customer
    kept = [one for one in bank.state()["payment_method"].values() if one["customer"] == customer]
    assert bool(kept) is ticked


# --- How a page ends ---------------------------------------------------------------------------------------------


def by_bank_account(bank: Bank, purse: Purse) -> Charge:
    bank.pay(checkout.top_up(purse, 500, "/"), bank_account=True)
    charge = fulfilment.returned(newest(purse).id)
    assert charge.state == "processing"
    return charge


@pytest.mark.parametrize("by_webhook", [True, False])
def test_a_bank_debit_that_fails_days_later_ends_the_top_up(bank: Bank, by_webhook: bool):
    purse = buyers.purse()
    Purse.objects.update(email="reader@example.org")
    charge = by_bank_account(bank, purse)
    bank.do(f"payment_intents/{charge.intent}/arrive", paid=False)
    bank.bring() if by_webhook else bank.later()
    charge.refresh_from_db()
    assert (charge.state, charge.reason, balance(purse)) == ("failed", "insufficient_funds", 0)
    assert [one.subject for one in outbox.outbox] == ["Your payment failed"]
    assert "You have not been charged" in outbox.outbox[0].body
    bank.later()
    assert len(outbox.outbox) == 1


def test_a_bank_debit_that_arrives_days_later_fills_the_balance(bank: Bank):
    purse = buyers.purse()
    charge = by_bank_account(bank, purse)
    bank.do(f"payment_intents/{charge.intent}/arrive", paid=True)
    bank.later()
    assert (fulfilment.returned(charge.id).state, balance(purse)) == ("succeeded", 5_000_000)
    bank.agrees()


def test_a_page_whose_payment_failed_before_anybody_looked_ends_too(bank: Bank):
    purse = buyers.purse()
    bank.pay(checkout.top_up(purse, 500, "/"), bank_account=True)
    intent = next(iter(bank.state()["payment_intent"]))
    bank.do(f"payment_intents/{intent}/arrive", paid=False)
    assert fulfilment.returned(newest(purse).id).state == "failed"


def test_a_declined_card_does_not_end_a_page_that_is_still_open(bank: Bank):
    purse = buyers.purse()
    url = checkout.top_up(purse, 500, "/")
    assert not bank.pay(url, card="4000000000000002")["paid"]
    bank.bring()
    assert newest(purse).state == "created"
    bank.pay(url)
    assert fulfilment.returned(newest(purse).id).state == "succeeded"


def test_a_page_that_expires_after_a_decline_is_canceled(bank: Bank):
    purse = buyers.purse()
    bank.pay(checkout.top_up(purse, 500, "/"), card="4000000000000002")
    bank.do("clock", advance=2 * 86400)
    assert fulfilment.returned(newest(purse).id).state == "canceled"


def test_a_page_that_saved_no_card_says_so_once(bank: Bank):
    purse = buyers.purse()
    Purse.objects.update(email="reader@example.org")
    bank.pay(checkout.save_card(purse, "/"), bank_account=True)
    setup = Setup.objects.get()
    for _ in range(2):
        assert checkout.setup_returned(setup.id).state == "failed"
    assert not Card.objects.exists()
    assert [one.subject for one in outbox.outbox] == ["No card was saved"]


def test_a_page_whose_card_may_not_be_read_stays_open(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    bank.pay(checkout.save_card(buyers.purse(), "/"))
    setup = Setup.objects.get()

    def refuse(_: str) -> None:
        raise stripe_api.StripeRefused("insufficient_permissions", "no")

    with monkeypatch.context() as here:
        here.setattr(stripe_api, "saved_card", refuse)
        with pytest.raises(stripe_api.StripeRefused):
            checkout.setup_returned(setup.id)
    assert checkout.setup_returned(setup.id).state == "done"


# --- Whose intent it is --------------------------------------------------------------------------------------------


def stranger(charge: Charge, cents: int = 500, currency: str = "usd") -> Intent:
    """Made by hand, with our charge in its metadata."""
    return Intent("pi_x", "succeeded", cents, str(charge.id), currency=currency, stripe_charge_id="ch_x")


def test_the_pages_own_intent_wins_over_a_stranger_that_names_the_charge(bank: Bank):
    purse = buyers.purse()
    url = checkout.top_up(purse, 500, "/")
    charge = newest(purse)
    assert charges.apply(stranger(charge)) is None
    Charge.objects.update(intent="pi_x")  # As adopted before.
    bank.pay(url)
    charge = fulfilment.returned(charge.id)
    assert (charge.state, balance(purse)) == ("succeeded", 5_000_000)
    assert [charge.intent] == list(bank.state()["payment_intent"])
    bank.agrees()


@pytest.mark.parametrize("what", [{"currency": "eur"}, {"cents": 499}])
def test_a_charge_adopts_no_intent_of_another_amount_or_currency(bank: Bank, what: dict[str, Any]):
    charge = charges.begin(buyers.purse(), Charge.Purpose.TOPUP, 5_000_000)
    assert charges.apply(stranger(charge, **what)) is None
    charge.refresh_from_db()
    assert (charge.state, charge.intent) == ("new", "")


# --- What is gone at the processor ---------------------------------------------------------------------------------


def test_a_customer_who_is_gone_is_made_anew(bank: Bank):
    purse = buyers.purse()
    Purse.objects.update(customer="cus_deleted_by_support")
    purse.refresh_from_db()
    bank.pay(checkout.top_up(purse, 500, "/"))
    assert fulfilment.returned(newest(purse).id).state == "succeeded"
    Purse.objects.update(customer="cus_deleted_again")
    assert checkout.save_card(Purse.objects.get(), "/")
    assert Purse.objects.get().customer in bank.state()["customer"]


def test_another_refusal_makes_no_second_customer(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    purse = buyers.purse()
    asked: list[str] = []

    def refuse(name: str) -> None:
        asked.append(name)
        raise stripe_api.StripeRefused("amount_too_large", "no", "amount")

    with pytest.raises(stripe_api.StripeRefused):
        customers.with_customer(purse, refuse)
    assert len(asked) == 1


def test_a_tab_whose_customer_is_gone_does_not_stop_the_others(bank: Bank):
    lost, fine = bank.owing(), bank.owing()
    Purse.objects.filter(id=lost.id).update(customer="cus_gone")
    made = tabs.charge_due()
    assert {charge.purse_id: charge.state for charge in made} == {lost.id: "succeeded", fine.id: "succeeded"}


def test_a_tab_that_breaks_does_not_stop_the_others(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    broken, fine = bank.owing(), bank.owing()
    drive = tabs.drive
    monkeypatch.setattr(tabs, "drive", lambda one: 1 // 0 if one.purse_id == broken.id else drive(one))
    assert [charge.purse_id for charge in tabs.charge_due()] == [fine.id]


def test_a_card_that_is_gone_ends_its_charge_and_closes_the_tab(bank: Bank):
    purse = bank.owing()
    Card.objects.update(stripe_card_id="pm_gone")
    charge = tabs.charge_tab(purse.id)
    purse.refresh_from_db()
    assert charge is not None
    assert (charge.state, purse.card, purse.tab_limit_micros, purse.flag) == ("failed", None, 0, "past_due")


@pytest.mark.parametrize("state", ["created", "confirming"])
def test_an_intent_that_is_gone_is_made_anew_unless_it_may_have_been_paid(bank: Bank, state: str):
    purse = bank.owing()
    charge = charges.begin(purse, Charge.Purpose.TAB, 6_000_000)
    Charge.objects.filter(id=charge.id).update(state=state, intent="pi_of_another_account")
    make_due()
    for _ in range(2):
        bank.later()
    charge.refresh_from_db()
    if state == "created":
        assert (charge.state, balance(purse)) == ("succeeded", 0)
        return
    purse.refresh_from_db()
    assert (charge.state, charge.reason, purse.flag, balance(purse)) == ("failed", "gone", "past_due", -6_000_000)
    assert "can't tell whether your card was charged" in outbox.outbox[-1].body
    assert tabs.charge_due() == []


def test_a_page_that_is_gone_ends_its_charge_and_its_setup(bank: Bank):
    purse = buyers.purse()
    checkout.top_up(purse, 500, "/")
    checkout.save_card(purse, "/")
    Charge.objects.update(session="cs_of_another_account")
    Setup.objects.update(session="cs_of_another_account_too")
    assert (newest(purse).state, fulfilment.returned(newest(purse).id).reason) == ("created", "gone")
    assert checkout.setup_returned(Setup.objects.get().id).state == "expired"


def test_a_saved_card_is_charged_also_when_the_account_takes_methods_that_redirect(bank: Bank):
    bank.do("settings", settle_after=0, redirecting=True)
    purse = bank.owing()
    assert [charge.state for charge in tabs.charge_due()] == ["succeeded"]
    assert balance(purse) == 0


# --- Removing a card -----------------------------------------------------------------------------------------------


def test_removing_a_card_while_its_owner_buys_leaves_no_debt_without_a_card(bank: Bank, monkeypatch):
    purse = bank.tab(limit=3_000_000)
    forget, refused = stripe_api.forget_card, []

    def buys_meanwhile(name: str) -> None:
        try:
            buyers.press(purse, buyers.offer(1, 2_900_000))
        except Exception as error:
            refused.append(error)
        forget(name)

    monkeypatch.setattr(stripe_api, "forget_card", buys_meanwhile)
    tabs.remove_card(Card.objects.get())
    purse.refresh_from_db()
    assert len(refused) == 1
    assert (purse.balance_micros, purse.card, purse.tab_limit_micros) == (0, None, 0)


def test_a_purchase_that_was_first_keeps_its_card(bank: Bank):
    purse = bank.tab(limit=3_000_000)
    answers: list[object] = []
    go = threading.Barrier(2)

    def run(act: Any) -> None:
        from django.db import connection

        go.wait()
        try:
            answers.append(act())
        except Exception as error:
            answers.append(error)
        finally:
            connection.close()

    card = Card.objects.get()
    acts = [lambda: buyers.press(purse, buyers.offer(1, 2_900_000)), lambda: tabs.remove_card(card)]
    threads = [threading.Thread(target=run, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    purse.refresh_from_db()
    assert (purse.balance_micros < 0) == (purse.card is not None)
    assert sum(isinstance(one, Exception) for one in answers) == 1


def test_a_card_that_could_not_be_removed_there_is_removed_by_the_sweeper(bank: Bank):
    purse = bank.tab()
    bank.fault("/detach", "500", "before")
    tabs.remove_card(Card.objects.get())
    purse.refresh_from_db()
    assert (purse.card, list(saved_cards.to_forget())) == (None, [Card.objects.get()])
    bank.later()
    assert not saved_cards.to_forget().exists()
    assert [one["customer"] for one in bank.state()["payment_method"].values()] == [None]


# --- The account's currency ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [0, 500, NoAnswer("no"), None])
def test_the_worker_refuses_to_start_for_an_account_that_settles_in_another_currency(
    monkeypatch: pytest.MonkeyPatch, held: Any
):
    def answer() -> int | None:
        if isinstance(held, Exception):
            raise held
        return held

    monkeypatch.setattr(stripe_api, "holds_cents", answer)
    if held is not None:
        currency.refuse_another()
        with override_settings(STRIPE_SECRET_KEY=""):
            currency.refuse_another()
        return
    with pytest.raises(SystemExit, match="must settle in usd"):
        celery.signals.worker_init.send(sender=None)


def test_purses_of_other_flags_open_no_page(bank: Bank):
    Purse.objects.filter(id=buyers.purse().id).update(flag="fraud")
    with pytest.raises(purses.PurseRefused, match="purse_frozen"):
        checkout.top_up_keeping_card(Purse.objects.get(), 500, "/")
