"""After a restore of an older backup the processor still has what was paid since, and its purse gets it again."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from payments.books import ledger
from payments.cards import charges, checkout, customers, facts, reconciliation, restored, stripe_api, tabs
from payments.models import Charge, Purse, Reconciliation
from tests import buyers
from tests.bank import VISA, Bank, newest
from tests.buyers import balance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def forgotten(bank: Bank, purse_id: Any, customer: str, purpose: str = "topup", **changed: str) -> uuid.UUID:
    """A charge of five dollars that was paid, and whose row is gone. Returns its id."""
    charge_id = uuid.uuid4()
    origin = restored.origin(Charge(id=charge_id, purse_id=purse_id, purpose=purpose))._replace(**changed)
    way = facts.WayBack("http://shop.test/done", "http://shop.test/back")
    page = stripe_api.open_checkout(
        origin, customer, facts.Sale("Balance", 500, keep_card=False), way, f"k-{charge_id}"
    )
    assert bank.pay(page.url)["paid"]
    bank.lose()
    return charge_id


@pytest.mark.parametrize("purpose", ["topup", "tab", "direct"])
def test_the_money_of_a_forgotten_charge_returns_to_its_purse_once(bank: Bank, purpose: str):
    purse = buyers.purse()
    charge_id = forgotten(bank, purse.id, customers.customer(purse), purpose)
    report = reconciliation.reconcile()
    assert (len(report.healed), report.unknown) == (1, [])
    made = Charge.objects.get(id=charge_id)
    assert (made.state, made.purpose, made.purse_id, made.reason) == ("succeeded", purpose, purse.id, "")
    assert balance(purse) == 5_000_000
    assert made.made_at == stripe_api.intent(made.intent).made_at
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
    forgotten(bank, purse.id, customers.customer(purse))
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
        {"mac": ""},
        {"mac": "\u00e9"},
    ],
)
def test_an_intent_of_somebody_else_is_nobodys(changed: dict[str, Any]):
    purse = buyers.purse()
    origin = restored.origin(Charge(id=uuid.uuid4(), purse_id=purse.id, purpose="topup"))
    said = {**origin._asdict(), "amount_cents": 500}
    found = stripe_api.Intent(id="pi_1", status="succeeded", stripe_charge_id="ch_1", **{**said, **changed})
    assert charges.apply(found) is None
    assert not Charge.objects.exists()
    assert restored.unknown([stripe_api.Intent(id="pi_1", status="succeeded", **said)])
    unpaid = stripe_api.Intent(id="pi_1", status="processing", **said)
    assert (charges.apply(unpaid), restored.unknown([unpaid])) == (None, [])


def test_what_suspense_has_is_not_booked_again(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    purse = buyers.purse()
    charge_id = forgotten(bank, purse.id, customers.customer(purse))
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


def declined_in_the_backup(bank: Bank, purse: Purse) -> None:
    """A card that is declined; the next one is good."""
    assert tabs.charge_tab(purse.id).state == "declined"


def created_in_the_backup(bank: Bank, purse: Purse) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(charges, "_confirm", lambda charge: None)
        assert tabs.charge_tab(purse.id).state == "created"


def confirming_in_the_backup(bank: Bank, purse: Purse) -> None:
    bank.fault("/confirm$", "drop", "before")
    assert tabs.charge_tab(purse.id).state == "confirming"
    bank.no_faults()


def unsent_in_the_backup(bank: Bank, purse: Purse) -> None:
    bank.fault("/v1/payment_intents$", "429", "before", times=1)
    assert tabs.charge_tab(purse.id).state == "new"
    bank.no_faults()


@pytest.mark.parametrize("known", [False, True], ids=["forgotten still", "reconciled before"])
@pytest.mark.parametrize(
    ("card", "then"),
    [
        ("4000000000000341", declined_in_the_backup),
        (VISA, created_in_the_backup),
        (VISA, confirming_in_the_backup),
        (VISA, unsent_in_the_backup),
    ],
)
def test_a_tabs_charge_of_the_backup_takes_no_more_than_is_owed(bank: Bank, card: str, then: Any, known: bool):
    purse = bank.owing(600, card)
    then(bank, purse)
    charge = newest(purse)
    forgotten(bank, purse.id, purse.customer)
    if known:
        reconciliation.reconcile()
    if charge.state == "declined":
        bank.pay(checkout.save_card(purse, "/"))
        checkout.setup_returned(purse.setups.latest("made_at").id)
    bank.later()
    bank.later()
    charge.refresh_from_db()
    assert charge.state == "canceled"
    assert balance(purse) in (-1_000_000, 0)  # What is left may be charged at once.
    bank.agrees()


def test_what_was_paid_at_another_customer_of_the_buyer_counts(bank: Bank):
    """The card is a guest's, and the top-up was paid by the account; or the other way round."""
    purse = bank.owing(600)
    cards, other = purse.customer, stripe_api.create_customer(str(purse.id), purse.email)
    Purse.objects.filter(id=purse.id).update(customer=other)
    forgotten(bank, purse.id, other)
    forgotten(bank, purse.id, cards)
    assert tabs.charge_tab(purse.id).state == "canceled"
    assert balance(purse) == 4_000_000
    bank.agrees()


def test_what_was_paid_and_refunded_since_does_not_count(bank: Bank):
    purse = bank.owing(600)
    forgotten(bank, purse.id, purse.customer)
    paid = next(iter(bank.state()["charge"].values()))
    bank.do("refund", payment_intent=paid["payment_intent"], amount=500)
    bank.lose()
    charge = tabs.charge_tab(purse.id)
    assert (charge.state, balance(purse)) == ("succeeded", 0)
    bank.agrees()


def test_who_asks_to_pay_pays_what_is_left(bank: Bank):
    purse = bank.owing(600)
    forgotten(bank, purse.id, purse.customer)
    charge = tabs.pay_now(purse)
    assert (charge.state, charge.amount_micros, balance(purse)) == ("succeeded", 1_000_000, 0)
    bank.agrees()


def test_two_workers_at_one_forgotten_charge_book_it_once(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    """One has made the row and not recorded the money when the other comes."""
    purse, held, real = buyers.purse(), [], restored.charge
    forgotten(bank, purse.id, customers.customer(purse))
    with monkeypatch.context() as patch:
        patch.setattr(restored, "charge", lambda found: held.append((real(found), found)) or real(found))
        assert reconciliation.reconcile().unknown == []
    charges._succeeded(*held[0])
    assert balance(purse) == 5_000_000
    bank.agrees()


def test_two_charges_of_one_forgotten_purse_at_once_are_both_its(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    """While one worker asks for the address, another makes the purse."""
    purse_id = uuid.uuid4()
    customer = stripe_api.create_customer(str(purse_id), "reader@example.org")
    forgotten(bank, purse_id, customer)
    forgotten(bank, purse_id, customer)
    real = stripe_api.email_of

    def email_of(name: str) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(stripe_api, "email_of", real)
            second = stripe_api.newest_intents(customer)[0]
            charges.apply(second)
        return real(name)

    monkeypatch.setattr(stripe_api, "email_of", email_of)
    assert reconciliation.reconcile().unknown == []
    assert Purse.objects.get(id=purse_id).balance_micros == 10_000_000
    bank.agrees()


def test_another_shop_with_the_same_account_keeps_its_money(bank: Bank):
    purse_id = uuid.uuid4()
    forgotten(bank, purse_id, stripe_api.create_customer(str(purse_id), "reader@example.org"), mac="0" * 64)
    assert len(reconciliation.reconcile().unknown) == 1
    assert not Purse.objects.filter(id=purse_id).exists()
    bank.agrees()


def test_a_forgotten_charge_is_known_by_a_former_key(bank: Bank):
    purse = buyers.purse()
    forgotten(bank, purse.id, customers.customer(purse))
    bank.settings.SECRET_KEY_FALLBACKS = [bank.settings.SECRET_KEY]
    bank.settings.SECRET_KEY = "another key"
    assert reconciliation.reconcile().unknown == []
    assert balance(purse) == 5_000_000


def test_money_that_suspense_has_is_not_booked_again_by_its_charge(bank: Bank):
    """Its row is here; reconciliation could not apply it once."""
    purse = buyers.purse()
    bank.pay(checkout.top_up(purse, 500, "/"))
    bank.lose()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(charges, "apply", lambda found: None)
        assert len(reconciliation.reconcile().unknown) == 1
    bank.later()
    assert (newest(purse).state, balance(purse)) == ("created", 0)
    bank.agrees()


def test_a_backup_without_any_charge_is_read_from_ninety_days_ago(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    asked: list[Any] = []
    monkeypatch.setattr(stripe_api, "money_between", lambda start, end: asked.append(start) or iter(()))
    reconciliation.reconcile()
    assert timedelta(days=92, hours=23) < timezone.now() - asked[0] < timedelta(days=93, minutes=1)


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
    assert now - Reconciliation.objects.get().read_to < timedelta(minutes=1)
    ended = now - timedelta(days=40)
    Reconciliation.objects.update(read_to=ended)
    asked.clear()
    reconciliation.reconcile()
    assert asked[0][0] == ended - timedelta(days=3)
    assert all(after[0] == before[1] for before, after in zip(asked, asked[1:], strict=False))
    assert len(asked) == 44
    assert timezone.now() - asked[-1][1] < timedelta(minutes=1)


def test_a_run_that_ends_within_the_overlap_has_come_no_less_far(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    ended = timezone.now() - timedelta(days=4)
    Reconciliation.objects.create(read_to=ended)
    days = iter([True])

    def between(*_):
        if next(days, False):
            return iter(())
        raise stripe_api.NoAnswer

    monkeypatch.setattr(stripe_api, "money_between", between)
    with pytest.raises(stripe_api.NoAnswer):
        reconciliation.reconcile()
    assert Reconciliation.objects.get().read_to == ended


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
    real, days = stripe_api.money_between, iter([None] * 4)

    def between(start, end):
        if next(days, "no answer"):
            raise stripe_api.NoAnswer
        return real(start, end)

    monkeypatch.setattr(stripe_api, "money_between", between)
    reconciliation.run()
    assert Reconciliation.objects.get().read_to == ended + timedelta(days=1)
    monkeypatch.setattr(stripe_api, "money_between", real)
    purse, before = buyers.purse(), timezone.now()
    forgotten(bank, purse.id, customers.customer(purse))
    with monkeypatch.context() as patch:
        patch.setattr(charges, "apply", lambda found: 1 / 0)
        assert len(reconciliation.reconcile().failed) == 1
    assert Reconciliation.objects.get().read_to < before
    reconciliation.reconcile()
    assert balance(purse) == 5_000_000
    assert ledger.balance("suspense:stripe", "USD") == 0
