"""After a restore of an older backup the processor still has what was paid since, and its purse gets it again."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from payments.books import ledger
from payments.cards import charges, reconciliation, restored, stripe_api, tabs
from payments.models import Charge, Purse, Reconciliation
from tests import buyers
from tests.bank import Bank
from tests.buyers import balance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def forgotten(bank: Bank, purse_id: Any, customer: str, purpose: str = "topup") -> uuid.UUID:
    """A charge of five dollars that was paid, and whose row is gone. Returns its id."""
    charge_id = uuid.uuid4()
    origin = stripe_api.Origin(str(charge_id), str(purse_id), purpose)
    way = stripe_api.WayBack("http://shop.test/done", "http://shop.test/back")
    page = stripe_api.open_checkout(origin, customer, 500, title="Balance", back=way, key=f"k-{charge_id}")
    assert bank.pay(page.url)["paid"]
    bank.lose()
    return charge_id


@pytest.mark.parametrize("purpose", ["topup", "tab", "direct"])
def test_the_money_of_a_forgotten_charge_returns_to_its_purse_once(bank: Bank, purpose: str):
    purse = buyers.purse()
    charge_id = forgotten(bank, purse.id, charges.customer(purse), purpose)
    report = reconciliation.reconcile()
    assert (len(report.healed), report.unknown) == (1, [])
    made = Charge.objects.get(id=charge_id)
    assert (made.state, made.purpose, made.purse_id, made.reason) == ("succeeded", purpose, purse.id, "")
    assert balance(purse) == 5_000_000
    bank.agrees()
    assert charges.apply(stripe_api.intent(made.intent)) == made
    assert balance(purse) == 5_000_000


def test_a_forgotten_purse_is_a_guests_again_who_can_claim_it_by_mail(bank: Bank):
    purse_id = uuid.uuid4()
    customer = stripe_api.create_customer(str(purse_id), "Reader@example.org")
    forgotten(bank, purse_id, customer)
    assert reconciliation.reconcile().unknown == []
    purse = Purse.objects.get(id=purse_id)
    assert (purse.owner, purse.email) == (f"guest:{purse_id}", "reader@example.org")
    assert (purse.customer, purse.balance_micros) == (customer, 5_000_000)


def test_what_was_refunded_and_disputed_since_is_taken_again(bank: Bank):
    purse = buyers.purse()
    forgotten(bank, purse.id, charges.customer(purse))
    paid = next(iter(bank.state()["charge"].values()))
    bank.do("refund", payment_intent=paid["payment_intent"], amount=100)
    bank.do("disputes", charge=paid["id"], amount=300, kind="fraudulent")
    bank.lose()
    reconciliation.reconcile()
    purse.refresh_from_db()
    assert (purse.balance_micros, purse.flag) == (1_000_000, "dispute")
    bank.agrees()


@pytest.mark.parametrize(
    "changed",
    [
        {"purpose": ""},
        {"purpose": "gift"},
        {"purse_id": "no id"},
        {"charge_id": ""},
        {"amount_cents": 49},
        {"currency": "eur"},
    ],
)
def test_an_intent_of_somebody_else_is_nobodys(changed: dict[str, Any]):
    purse = buyers.purse()
    said = {"amount_cents": 500, "charge_id": str(uuid.uuid4()), "purse_id": str(purse.id), "purpose": "topup"}
    found = stripe_api.Intent(id="pi_1", status="succeeded", stripe_charge_id="ch_1", **{**said, **changed})
    assert charges.apply(found) is None
    assert not Charge.objects.exists()
    unpaid = stripe_api.Intent(id="pi_1", status="processing", **said)
    assert (charges.apply(unpaid), restored.unknown([unpaid])) == (None, [])


def test_what_suspense_has_is_not_booked_again(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    purse = buyers.purse()
    charge_id = forgotten(bank, purse.id, charges.customer(purse))
    with monkeypatch.context() as patch:
        patch.setattr(restored, "charge", lambda found: None)
        assert len(reconciliation.reconcile().unknown) == 1
    intent = next(iter(bank.state()["payment_intent"]))
    assert charges.apply(stripe_api.intent(intent)) is None
    assert not Charge.objects.filter(id=charge_id).exists()
    bank.agrees()


def test_a_tab_that_was_charged_before_the_restore_is_not_charged_again(bank: Bank):
    """The debt is back with the backup, and the payment is not: the processor is asked before the card is."""
    purse = bank.owing(600)
    charge_id = forgotten(bank, purse.id, purse.customer, "tab")
    charge = tabs.charge_tab(purse.id)
    assert charge
    assert (charge.state, charge.reason) == ("canceled", "paid_otherwise")
    assert Charge.objects.get(id=charge_id).state == "succeeded"
    assert balance(purse) == -1_000_000
    again = tabs.charge_tab(purse.id)
    assert again
    assert (again.state, again.amount_micros) == ("succeeded", 1_000_000)
    bank.agrees()


def test_a_payment_that_was_not_recorded_before_a_crash_counts_as_paid_before_the_next(bank: Bank):
    """A worker died between the row and its money."""
    purse = bank.owing(600)
    charge_id = forgotten(bank, purse.id, purse.customer, "tab")
    found = next(one for one in stripe_api.newest_intents(purse.customer) if one.charge_id == str(charge_id))
    assert restored.charge(found)
    charge = tabs.charge_tab(purse.id)
    assert charge
    assert charge.state == "canceled"
    assert balance(purse) == -1_000_000


def test_reconciliation_goes_on_from_where_it_ended(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    asked: list[Any] = []
    real = stripe_api.money_between

    def between(start, end):
        asked.append((start, end))
        return real(start, end)

    monkeypatch.setattr(stripe_api, "money_between", between)
    reconciliation.reconcile()
    now = timezone.now()
    assert now - asked[0][0] < timedelta(days=3, minutes=1)
    assert now - Reconciliation.objects.get().read_to < timedelta(minutes=1)
    ended = now - timedelta(days=40)
    Reconciliation.objects.update(read_to=ended)
    asked.clear()
    reconciliation.reconcile()
    assert asked[0][0] == ended - timedelta(days=3)
    assert all(after[0] == before[1] for before, after in zip(asked, asked[1:], strict=False))
    assert len(asked) == 44
    assert timezone.now() - asked[-1][1] < timedelta(minutes=1)


def test_before_the_first_reconciliation_it_begins_at_the_first_charge(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    charge = bank.top_up(buyers.purse())
    Charge.objects.filter(id=charge.id).update(made_at=timezone.now() - timedelta(days=9))
    asked: list[Any] = []
    monkeypatch.setattr(stripe_api, "money_between", lambda start, end: asked.append(start) or iter(()))
    reconciliation.reconcile()
    assert timedelta(days=12) <= timezone.now() - asked[0] < timedelta(days=12, minutes=1)


def test_a_run_that_ends_early_is_gone_on_with(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    """The days that were compared are remembered; one with a transaction that could not be applied is not."""
    ended = timezone.now() - timedelta(days=4)
    Reconciliation.objects.create(read_to=ended)
    real, days = stripe_api.money_between, iter([None, None])

    def between(start, end):
        if next(days, "no answer"):
            raise stripe_api.NoAnswer
        return real(start, end)

    monkeypatch.setattr(stripe_api, "money_between", between)
    reconciliation.run()
    assert Reconciliation.objects.get().read_to == ended - timedelta(days=1)
    monkeypatch.setattr(stripe_api, "money_between", real)
    purse, before = buyers.purse(), timezone.now()
    forgotten(bank, purse.id, charges.customer(purse))
    with monkeypatch.context() as patch:
        patch.setattr(charges, "apply", lambda found: 1 / 0)
        assert len(reconciliation.reconcile().failed) == 1
    assert Reconciliation.objects.get().read_to < before
    reconciliation.reconcile()
    assert balance(purse) == 5_000_000
    assert ledger.balance("suspense:stripe", "USD") == 0
