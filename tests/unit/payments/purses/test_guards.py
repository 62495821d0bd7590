"""Each guard of a purse alone: what an early look refuses is let through it, and the last word still says no."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from payments import gate, purses
from payments.books import ledger
from payments.models import ApiKey, Approval, Grant, Payment, PaymentState, Purse
from payments.offers import Presented
from payments.purses import api_keys, approvals, joining
from tests import buyers, cast
from tests.unit.meanwhile import overtaken

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _cards_are_on(settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = "sk_test_of_the_tests"


def balance(purse: Purse) -> int:
    purse.refresh_from_db()
    return purse.balance_micros


def seen(text: str, number: int = 1, micros: int = 50_000) -> gate.Admission:
    """An agent's request up to the moment in which it would buy."""
    return gate.verify(Presented(bearer=text), buyers.offer(number, micros))


def word(admission: gate.Admission) -> str:
    """Why the sale itself refuses."""
    with pytest.raises(gate.PaymentRequired) as no:
        admission.settle()
    return no.value.word


# --- What may leave a purse -----------------------------------------------------------------------------


@pytest.mark.parametrize("flag", [flag.value for flag in Purse.Flag if flag.value])
def test_a_flag_that_came_after_the_look_stops_the_sale(flag: str):
    purse = buyers.purse(1_000_000, tab=1_000_000)
    admission = gate.verify(Presented(purse=str(purse.pk), spend=True), buyers.offer())
    Purse.objects.update(flag=flag)
    assert word(admission) in ("purse_frozen", "purse_past_due")
    assert not purses.move(purse.id, -1, floor=True)
    assert balance(purse) == 1_000_000


def test_a_joined_purse_buys_nothing_though_its_session_was_looked_at_before():
    """It has a limit of its own still, by mistake: being joined is enough."""
    guest, owner = buyers.purse(owner="guest:1"), buyers.purse(1_000_000)
    Purse.objects.filter(id=guest.id).update(tab_limit_micros=1_000_000)
    admission = gate.verify(Presented(purse=str(guest.pk), spend=True), buyers.offer())
    joining.join(guest, owner)
    Purse.objects.filter(id=guest.id).update(tab_limit_micros=1_000_000)
    assert word(admission) == "tab_limit_reached"
    assert not purses.move(guest.id, -1, floor=True)
    assert gate.verify(Presented(purse=str(owner.pk), spend=True), buyers.offer()).settle()


def test_a_joined_purse_is_nobodys_at_the_first_look_already():
    guest, owner = buyers.purse(owner="guest:1"), buyers.purse(1_000_000)
    joining.join(guest, owner)
    with pytest.raises(gate.PaymentRequired) as nothing:
        gate.verify(Presented(purse=str(guest.pk), spend=True), buyers.offer())
    assert nothing.value.word == ""


def test_the_limit_counts_when_the_money_is_taken():
    purse = buyers.purse(tab=100_000)
    admission = gate.verify(Presented(purse=str(purse.pk), spend=True), buyers.offer(1, 100_000))
    buyers.press(purse, buyers.offer(2, 1))
    assert word(admission) == "tab_limit_reached"
    assert not purses.move(purse.id, -100_000, floor=True)
    assert purses.move(purse.id, -99_999, floor=True)
    assert purses.move(purse.id, 99_999)


def test_a_payment_lifts_no_freeze_and_no_debt_that_a_card_could_pay():
    for flag, owed, after in (
        ("past_due", 500_000, "past_due"),
        ("past_due", 499_999, ""),
        ("fraud", 0, "fraud"),
        ("dispute", 0, "dispute"),
        ("chargeback", 0, "chargeback"),
    ):
        purse = buyers.purse(tab=1_000_000)
        if owed:
            buyers.press(purse, buyers.offer(1, owed))
        Purse.objects.filter(id=purse.id).update(flag=flag)
        purses.paid_up(purse.id)
        purse.refresh_from_db()
        assert purse.flag == after


@pytest.mark.parametrize(("limit", "owed", "kept"), [(0, 0, False), (0, 1, True), (1_000_000, 0, True)])
def test_the_word_for_the_card_is_used_up_only_when_the_tab_is_closed_and_paid(limit: int, owed: int, kept: bool):
    purse = buyers.purse(tab=1_000_000)
    if owed:
        buyers.press(purse, buyers.offer(1, owed))
    Purse.objects.update(tab_limit_micros=limit, tab_opened_at=timezone.now())
    purses.paid_up(purse.id)
    purse.refresh_from_db()
    assert (purse.tab_opened_at is not None) is kept


# --- Giving back ----------------------------------------------------------------------------------------


def test_another_purses_purchase_cannot_be_given_back():
    """It is fresh and was never given back: that it is another's is the only thing wrong."""
    purse, other = buyers.purse(1_000_000), buyers.purse(1_000_000)
    payment = buyers.press(purse, buyers.offer()).payment
    with pytest.raises(purses.PurseRefused, match="refund_too_late"):
        purses.refund(payment.id, other)
    assert (balance(purse), balance(other)) == (950_000, 1_000_000)


def test_what_is_final_is_never_taken_back():
    """Its publisher has earned it: though it was bought just now, and by whom it should be."""
    purse = buyers.purse(1_000_000)
    payment = buyers.press(purse, buyers.offer()).payment
    final(payment)
    with pytest.raises(purses.PurseRefused, match="refund_too_late"):
        purses.refund(payment.id, purse)
    for stale in (payment, Payment.objects.select_related("sale").get()):
        assert not purses.take_back(stale, "charged_back", "chargeback")
    assert balance(purse) == 950_000
    assert ledger.balance("publisher:7:earned", "USD") == 47_500
    assert Grant.objects.get().revoked_at is None


def final(payment: Payment) -> None:
    """Cleared, whatever else holds."""
    share = ledger.Move("publisher:7:pending", "publisher:7:earned", 47_500)
    ledger.post("cleared", f"cleared:{payment.id.hex}", [share], asset="USD")
    Payment.objects.filter(id=payment.id).update(state=PaymentState.FINAL)


def test_a_sale_that_is_cleared_at_this_moment_is_not_taken_back():
    purse = buyers.purse(1_000_000)
    payment = buyers.press(purse, buyers.offer()).payment
    with overtaken(Payment, lambda: final(payment)), pytest.raises(purses.PurseRefused, match="refund_too_late"):
        purses.refund(payment.id, purse)
    assert balance(purse) == 950_000


def test_an_old_copy_of_a_sale_that_was_taken_back_takes_nothing_more():
    purse = buyers.purse(1_000_000)
    stale = buyers.press(purse, buyers.offer()).payment
    assert stale.sale
    assert purses.take_back(Payment.objects.get(), "refund", "buyer")
    assert not purses.take_back(stale, "refund", "buyer")
    assert balance(purse) == 1_000_000


def test_a_payment_of_the_chain_is_never_taken_back_to_a_purse():
    payment = cast.sale(cast.article(cast.publication(cast.person("alice"))))
    assert not purses.take_back(payment, "refund", "buyer")
    payment.refresh_from_db()
    assert payment.state == PaymentState.CONFIRMED


def test_what_is_given_back_is_given_back_to_the_budget_of_its_own_day():
    purse = buyers.purse(1_000_000)
    text = buyers.key(purse, day_budget_micros=100_000)
    old = buyers.present(text, buyers.offer(1)).payment
    Payment.objects.filter(id=old.id).update(decided_at=timezone.now() - timedelta(days=1))
    purse.keys.update(day=timezone.now().date() - timedelta(days=1))
    buyers.present(text, buyers.offer(2, 70_000))
    old.refresh_from_db()
    assert purses.take_back(old, "charged_back", "chargeback")
    key = purse.keys.get()
    assert (key.spent_micros, key.day_spent_micros) == (70_000, 70_000)


def test_a_days_budget_never_falls_below_nothing():
    """Around midnight the sale may have been counted on the day before; to give it back must not fail for that."""
    purse = buyers.purse(1_000_000)
    payment = buyers.present(buyers.key(purse), buyers.offer()).payment
    purse.keys.update(day_spent_micros=49_999)
    buyers.taken_back(Payment.objects.get(id=payment.id))
    key = purse.keys.get()
    assert (key.spent_micros, key.day_spent_micros, balance(purse)) == (0, 49_999, 1_000_000)


# --- Joining --------------------------------------------------------------------------------------------


def test_a_guest_is_joined_once_and_to_one():
    guest, first, second = buyers.purse(500_000, owner="guest:1"), buyers.purse(), buyers.purse()
    stale = Purse.objects.get(id=guest.id)
    joining.join(guest, first)
    joining.join(stale, second)
    guest.refresh_from_db()
    assert (guest.joined_to, balance(first), balance(second)) == (first, 500_000, 0)


def test_nobody_is_joined_to_a_purse_that_is_part_of_another():
    guest, middle, owner = buyers.purse(500_000, owner="guest:1"), buyers.purse(owner="guest:2"), buyers.purse()
    joining.join(middle, owner)
    joining.join(guest, middle)
    assert (balance(guest), balance(middle), guest.joined_to) == (500_000, 0, None)


def test_a_purse_is_not_joined_to_itself():
    purse = buyers.purse(500_000)
    joining.join(purse, Purse.objects.get(id=purse.id))
    assert (balance(purse), purse.joined_to) == (500_000, None)


# --- Keys -----------------------------------------------------------------------------------------------

LIMITS = [
    ({"ceiling_micros": 49_999}, "price_above_ceiling"),
    ({"budget_micros": 49_999}, "budget_exhausted"),
    ({"day_budget_micros": 49_999}, "day_budget_exhausted"),
    ({"payees": ("publisher:8",)}, "publication_not_allowed"),
    ({"approve_above_micros": 49_999}, "approval_required"),
    ({"expires_at": timezone.now() - timedelta(seconds=1)}, "invalid_key"),
]


@pytest.mark.parametrize(("limit", "refused"), LIMITS)
def test_the_first_look_alone_refuses_before_anything_is_rendered(limit: dict[str, Any], refused: str):
    purse = buyers.purse(1_000_000)
    text = buyers.key(purse, **limit)
    refuses = seen if refused != "approval_required" else lambda text: seen(text).settle()
    with pytest.raises(gate.PaymentRequired, match=refused):
        refuses(text)
    assert Approval.objects.exists() is (refused == "approval_required")


def test_a_key_for_some_publications_does_not_open_what_its_person_bought_of_others():
    purse = buyers.purse(1_000_000)
    buyers.press(purse, buyers.offer())
    with pytest.raises(gate.PaymentRequired, match="publication_not_allowed"):
        seen(buyers.key(purse, payees=("publisher:8",)))


@pytest.mark.parametrize("change", [{"revoked_at": timezone.now()}, {"expires_at": timezone.now()}])
def test_a_dead_key_pays_nothing_though_no_look_has_noticed(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    """Neither the one at the door nor the one after the refusal: the row alone."""
    purse = buyers.purse(1_000_000)
    admission = seen(buyers.key(purse))
    purse.keys.update(**change)
    monkeypatch.setattr(api_keys, "_beyond", lambda *_: None)
    assert word(admission) == "budget_exhausted"
    assert (balance(purse), purse.keys.get().spent_micros) == (1_000_000, 0)


@pytest.mark.parametrize("limit", ["ceiling_micros", "budget_micros", "day_budget_micros"])
def test_a_limit_is_kept_by_the_row_alone(limit: str, monkeypatch: pytest.MonkeyPatch):
    purse = buyers.purse(1_000_000)
    admission = seen(buyers.key(purse))
    purse.keys.update(**{limit: 49_999})
    monkeypatch.setattr(api_keys, "_beyond", lambda *_: None)
    assert word(admission) == "budget_exhausted"
    assert (balance(purse), Payment.objects.count()) == (1_000_000, 0)


def test_a_key_is_revoked_once_and_then_changed_no_more():
    purse = buyers.purse()
    buyers.key(purse)
    stale = purse.keys.get()
    api_keys.revoke(stale)
    ApiKey.objects.update(revoked_at=timezone.now() - timedelta(days=1))
    first = ApiKey.objects.get().revoked_at
    api_keys.revoke(stale)
    assert ApiKey.objects.get().revoked_at == first
    with pytest.raises(purses.PurseRefused, match="key_revoked"):
        api_keys.change(stale, "alive", api_keys.Limits())
    assert ApiKey.objects.get().name == "reader"


# --- A person's word ------------------------------------------------------------------------------------


@pytest.fixture
def text() -> str:
    return buyers.key(buyers.purse(5_000_000), approve_above_micros=100_000)


def asked(text: str, number: int = 1, micros: int = 200_000) -> Approval:
    with pytest.raises(gate.PaymentRequired, match="approval_required"):
        seen(text, number, micros).settle()
    return Approval.objects.get(resource=f"article:{number}", state="asked")


def approved(text: str, number: int = 1, micros: int = 200_000) -> Approval:
    one = asked(text, number, micros)
    assert approvals.approve(one, micros)
    return one


def without_the_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """The question before the claim is gone: the sale itself has to refuse."""
    monkeypatch.setattr(approvals, "require_approval", lambda *_: None)


def test_a_yes_that_was_used_is_used(text: str, monkeypatch: pytest.MonkeyPatch):
    """Two requests have seen it; after the first one's purchase was given back nothing else is in the second's way."""
    approved(text)
    first, second = seen(text, micros=200_000), seen(text, micros=200_000)
    first.settle()
    buyers.taken_back(Payment.objects.get())
    without_the_look(monkeypatch)
    assert word(second) == "approval_required"
    assert Approval.objects.get().state == "used"
    assert Payment.objects.count() == 1


@pytest.mark.parametrize(
    "change",
    [
        {"state": "asked"},
        {"state": "declined"},
        {"amount_micros": 199_999},
        {"decided_at": timezone.now() - timedelta(days=7, seconds=1)},
        {"resource": "article:2"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_yes_counts_as_it_is_in_the_moment_of_the_sale(
    text: str, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    approved(text)
    admission = seen(text, micros=200_000)
    without_the_look(monkeypatch)
    Approval.objects.update(**change)
    assert word(admission) == "approval_required"
    assert not Payment.objects.exists()


def test_the_yes_to_another_key_is_none(text: str, monkeypatch: pytest.MonkeyPatch):
    one = approved(text)
    admission = seen(text, micros=200_000)
    without_the_look(monkeypatch)
    buyers.key(one.key.purse)
    Approval.objects.update(key=ApiKey.objects.exclude(id=one.key_id).get())
    assert word(admission) == "approval_required"


def test_what_was_answered_or_used_cannot_be_answered_again(text: str):
    one = approved(text)
    assert not approvals.approve(one, 200_000)
    seen(text, micros=200_000).settle()
    for answer in (lambda: approvals.approve(one, 200_000), lambda: approvals.decline(one)):
        assert not answer()
        assert Approval.objects.get().state == "used"


def test_a_no_is_said_once(text: str):
    one = asked(text)
    assert approvals.decline(one)
    assert not approvals.decline(one)
    assert approvals.approve(one, 200_000)


@pytest.mark.parametrize("micros", [200_000, 200_001])
def test_asking_again_never_touches_a_yes_that_is_used_at_this_moment(text: str, micros: int):
    """Too old, or too low: it would be asked anew."""
    one = approved(text)
    Approval.objects.update(decided_at=timezone.now() - timedelta(days=8))
    rows = Approval.objects.filter(id=one.id)
    with overtaken(Approval, lambda: rows.update(state="used")), pytest.raises(gate.PaymentRequired):
        seen(text, micros=micros).settle()
    one.refresh_from_db()
    assert (one.state, one.amount_micros) == ("used", 200_000)


def test_asking_again_never_undoes_another_price_that_was_asked_at_this_moment(text: str):
    """The other request's question stands, or its person would answer something that nobody asks any more."""
    one = asked(text)
    rows = Approval.objects.filter(id=one.id)
    with overtaken(Approval, lambda: rows.update(amount_micros=300_000)), pytest.raises(gate.PaymentRequired):
        seen(text, micros=250_000).settle()
    one.refresh_from_db()
    assert one.amount_micros == 300_000
