"""The hosted page: what it may sell, what it brings back, and what becomes of a page that nobody pays."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from marketplace.shop import paywall
from payments import fulfilment, purses, tasks
from payments.cards import checkout, reconciliation, refunds, stripe_api
from payments.cards.facts import NoAnswer
from payments.models import Charge, Purse, Setup
from tests import buyers
from tests.bank import FAULTS, Bank, make_due, newest
from tests.buyers import balance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def test_below_the_minimum_nothing_is_sent(bank):
    purse = buyers.purse()
    for cents in (2, 49, 499, 0, -500):
        with pytest.raises(purses.PurseRefused):
            checkout.top_up(purse, cents, "/")
    with pytest.raises(purses.PurseRefused) as refused:
        checkout.direct(purse, buyers.offer(1, 2_990_000), "/")
    assert refused.value.word == "below_card_minimum"
    assert bank.requests("/v1/") == []
    assert not Charge.objects.exists()


def test_a_direct_purchase_pays_for_one_article_and_opens_it(bank):
    purse = buyers.purse(owner="guest:77")
    url = checkout.direct(purse, buyers.offer(1, 3_333_333), "/")
    assert bank.pay(url, email="guest@example.org")["paid"]
    charge = fulfilment.returned(newest(purse).id)
    assert (charge.amount_micros, charge.bought.amount_micros) == (3_340_000, 3_333_333)
    purse.refresh_from_db()
    assert (purse.balance_micros, purse.email) == (6_667, "guest@example.org")
    bank.agrees()


def test_an_expired_page_is_canceled_and_charges_nobody(bank):
    purse = buyers.purse()
    checkout.top_up(purse, 500, "/")
    bank.do("clock", advance=2 * 86400)
    assert fulfilment.returned(newest(purse).id).state == "canceled"
    assert balance(purse) == 0


@pytest.mark.parametrize(("kind", "when"), FAULTS)
def test_a_page_that_could_not_be_opened_is_given_up_and_found_again_if_it_was_paid_after_all(bank, kind, when):
    purse = buyers.purse()
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
    purse = buyers.purse()
    for _ in range(3):
        checkout.top_up(purse, 500, "/", address="10.0.0.1")
    with pytest.raises(purses.PurseRefused) as refused:
        checkout.top_up(purse, 500, "/")
    assert refused.value.word == "too_many_checkouts"
    with pytest.raises(purses.PurseRefused):
        checkout.save_card(buyers.purse(), "/", address="10.0.0.1")
    checkout.top_up(buyers.purse(), 500, "/", address="10.0.0.2")


def test_money_that_can_no_longer_buy_its_article_stays_in_the_purse(bank):
    purse = buyers.purse()
    url = checkout.top_up(purse, 500, "/", buyers.offer(1, 4_000_000))
    bank.pay(url)
    Purse.objects.filter(id=purse.id).update(flag="fraud")
    charge = fulfilment.returned(newest(purse).id)
    assert (charge.state, charge.bought) == ("succeeded", None)
    assert charge.fulfilled_at
    assert balance(purse) == 5_000_000


def test_the_article_is_bought_whatever_is_wrong_with_the_card(bank, monkeypatch):
    """Such as one that is none: a wallet's balance, which has no number and no brand."""
    purse = buyers.purse()
    bank.pay(checkout.top_up(purse, 500, "/", buyers.offer()))
    monkeypatch.setattr(stripe_api, "card", lambda _: (_ for _ in ()).throw(AttributeError("card")))
    assert fulfilment.returned(newest(purse).id).bought.resource == "article:1"


def test_one_article_by_card_costs_what_the_page_says_when_something_is_owed(bank):
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    buyers.press(purse, buyers.offer(1, 5_000_000))
    bank.do("refund", payment_intent=charge.intent, amount=200)
    refunds.look(charge.intent)
    assert balance(purse) == -2_000_000
    bank.pay(checkout.direct(purse, buyers.offer(2, 3_000_000), "/"))
    direct = fulfilment.returned(newest(purse).id)
    assert paywall.direct(3_000_000 + 2_000_000) == "$5.00"
    assert (direct.amount_micros, direct.bought.resource) == (5_000_000, "article:2")
    assert balance(purse) == 0


def test_a_page_that_was_given_up_meanwhile_is_shown_to_nobody(bank, monkeypatch):
    opened = stripe_api.open_checkout

    def slowly(*args, **more):
        page = opened(*args, **more)
        make_due()
        tasks.sweep_cards()
        return page

    monkeypatch.setattr(stripe_api, "open_checkout", slowly)
    purse = buyers.purse()
    with pytest.raises(purses.PurseRefused):
        checkout.top_up(purse, 500, "/")
    assert newest(purse).state == "canceled"


def test_a_failure_while_a_buyer_is_introduced_locks_nobody_out_for_a_day(bank: Bank):
    """A 5xx stays under its key, and so do the parameters."""
    purse = buyers.purse()
    bank.fault("/v1/customers$", "500", "after")
    with pytest.raises(NoAnswer):
        checkout.top_up(purse, 500, "/")
    bank.pay(checkout.top_up(purse, 500, "/"))
    assert fulfilment.returned(newest(purse).id).state == "succeeded"
    other = buyers.purse()
    bank.fault("/v1/customers$", "drop", "after")
    with pytest.raises(NoAnswer):
        checkout.top_up(other, 500, "/")
    Purse.objects.filter(id=other.id).update(email="told@example.org")
    other.refresh_from_db()
    assert checkout.top_up(other, 500, "/")


def test_a_page_that_saves_a_card_is_looked_at_less_and_less_often_and_to_the_end(bank: Bank):
    purse = buyers.purse()
    url = checkout.save_card(purse, "/")

    def looks(passed: timedelta) -> int:
        """How often it is asked about by a sweeper that comes twice, so long after the page was opened."""
        Setup.objects.update(look_at=timezone.now(), made_at=timezone.now() - passed)
        before = len(bank.requests("/v1/checkout/sessions/"))
        tasks.sweep_cards()
        tasks.sweep_cards()
        return len(bank.requests("/v1/checkout/sessions/")) - before

    tasks.sweep_cards()
    assert bank.requests("/v1/checkout/sessions/") == []
    assert looks(timedelta(minutes=3)) == 1
    assert Setup.objects.get().look_at > timezone.now() + timedelta(minutes=2)
    assert bank.pay(url)["paid"]
    assert looks(timedelta(days=3)) == 1
    assert Setup.objects.get().state == "done"


def test_a_saved_card_locks_the_purse_before_its_page(bank: Bank):
    """Like every writer: a sign-in that joins the purse at this moment locks in the same order."""
    purse = buyers.purse()
    bank.pay(checkout.save_card(purse, "/"))
    with CaptureQueriesContext(connection) as asked:
        assert checkout.setup_returned(Setup.objects.get().pk).state == "done"
    written = [query["sql"] for query in asked if query["sql"].startswith("UPDATE") or "ORDER BY" in query["sql"]]
    assert ["payments_purse" in sql for sql in written[:2]] == [True, False]
    assert "payments_setup" in written[1]
