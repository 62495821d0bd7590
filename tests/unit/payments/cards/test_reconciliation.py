"""Reconciliation heals what was never told, and reports what it does not know."""

from datetime import timedelta

import pytest
from django.utils import timezone

from payments.books import ledger
from payments.cards import charges, checkout, reconciliation, stripe_api
from payments.cards.facts import Money
from payments.models import Charge, Dispute
from tests import buyers
from tests.bank import Bank, newest
from tests.buyers import balance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def test_a_payment_made_by_hand_is_reported_and_the_sums_agree(bank):
    bank.top_up(buyers.purse(), 500)
    bank.do("charge", amount=700)
    report = reconciliation.reconcile()
    assert len(report.unknown) == 1
    assert bank.agrees().unknown == []
    assert ledger.balance("suspense:stripe", "USD") > 0


def test_one_thing_that_reconciliation_does_not_understand_hides_nothing_else(bank, monkeypatch):
    strange, plain = buyers.purse(), buyers.purse()
    for purse in (strange, plain):
        bank.pay(checkout.top_up(purse, 500, "/"))
    bank.lose()
    real = charges.apply

    def apply(found):
        if found.charge_id == str(newest(strange).id):
            raise AttributeError("something new")
        return real(found)

    monkeypatch.setattr(charges, "apply", apply)
    report = reconciliation.reconcile()
    assert (len(report.failed), report.unknown, report.clean) == (1, [], False)
    assert balance(plain) == 5_000_000
    monkeypatch.undo()
    bank.settings.STRIPE_API_BASE = bank.url
    reconciliation.reconcile()
    assert balance(strange) == 5_000_000  # It was not put into suspense meanwhile.


def test_a_dispute_whose_loss_nobody_told_is_settled_by_reconciliation(bank: Bank):
    """The loss itself moves no money, so no balance transaction speaks of it."""
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    buyers.press(purse, buyers.offer(1, 5_000_000))
    made = bank.do("disputes", charge=charge.stripe_charge_id, kind="fraudulent")
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


@pytest.mark.parametrize("there", [True, False])
def test_a_payment_that_was_learnt_of_late_is_not_missing(bank: Bank, monkeypatch: pytest.MonkeyPatch, there: bool):
    """The processor booked it before the days that are looked at."""
    charge = bank.top_up(buyers.purse(), 500)
    Charge.objects.update(decided_at=timezone.now() - timedelta(hours=1))
    if not there:
        Charge.objects.update(intent="pi_of_nobody")
    monkeypatch.setattr(stripe_api, "money_between", lambda *_: iter(()))
    assert reconciliation.reconcile().missing == ([] if there else [charge.stripe_charge_id])


def test_a_transaction_in_another_currency_is_never_booked_as_dollars(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    euros = Money("txn_eur", "charge", "ch_eur", 10_000, 300, currency="eur")
    monkeypatch.setattr(stripe_api, "money_between", lambda *_: iter([euros]))
    report = reconciliation.reconcile()
    assert (set(report.foreign), report.clean, report.unknown) == ({"txn_eur"}, False, [])
    assert ledger.balance("suspense:stripe", "USD") == ledger.balance("expense:processor", "USD") == 0
