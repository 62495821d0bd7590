"""Every known mistake is noticed by a scenario that passes without it, and every invariant of chaos can fail."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import F

from payments import audit
from payments.audit.findings import Finding
from payments.cards import reconciliation, refunds
from payments.models import Charge, Dispute, Payment, Purse, Setup
from tests import buyers
from tests.bank import Bank
from tests.races import test_cards as test_races
from tests.unit.payments.cards import (
    test_charges,
    test_disputes,
    test_dunning,
    test_holds,
    test_refunds,
    test_webhooks,
)

from . import chaos, invariants, mutants
from .mutants import Mutant

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.planted, pytest.mark.usefixtures("cards_on")]
SCENARIOS = {
    name: scenario
    for module in (test_charges, test_disputes, test_dunning, test_holds, test_races, test_refunds, test_webhooks)
    for name, scenario in vars(module).items()
    if name.startswith("test_")
}
NOTICED = (AssertionError, pytest.fail.Exception)


@pytest.mark.parametrize("mutant", mutants.ALL, ids=lambda mutant: mutant.name)
def test_a_known_mistake_is_noticed_by_its_scenario(bank: Bank, mutant: Mutant, monkeypatch: pytest.MonkeyPatch):
    scenario: Any = SCENARIOS[mutant.scenario]
    more = [monkeypatch] if "monkeypatch" in inspect.signature(scenario).parameters else []
    with pytest.MonkeyPatch.context() as patch:
        noted = mutant.plant(patch)
        try:
            with pytest.raises(NOTICED):
                scenario(bank, *more, *mutant.given)
        finally:
            if mutant.name == "tabs settled unguarded":
                mutants.restore_the_guard()
    assert noted, "The scenario never came to the mistake."


# --- Each invariant of chaos can fail --------------------------------------------------------------------------

Facts = dict[str, Any]


def _one(facts: Facts, kind: str) -> Facts:
    return next(iter(facts[kind].values()))


def _paid_in_secret(facts: Facts) -> None:
    facts["charge"]["ch_secret"] = {**_one(facts, "charge"), "id": "ch_secret"}


def _refunded_twice(facts: Facts) -> None:
    facts["refund"]["re_again"] = {**_one(facts, "refund"), "id": "re_again"}


def _refunded_by_half(facts: Facts) -> None:
    charge = facts["charge"][_one(facts, "refund")["charge"]]
    charge["amount_refunded"] //= 2


def _withdrawn_again(facts: Facts) -> None:
    dispute = _one(facts, "dispute")
    dispute["balance_transactions"] = dispute["balance_transactions"] * 2


def _holds_a_cent_more(facts: Facts) -> None:
    facts["balance"]["pending"][0]["amount"] += 1


def _reads_for_nothing(facts: Facts) -> None:
    Payment.objects.update(state="refunded", sale=None)


DAMAGE: tuple[tuple[str, Callable[[Facts], Any]], ...] = (
    ("paid_there_is_booked_here", _paid_in_secret),
    ("nobody_paid_twice", _paid_in_secret),
    ("one_refund_per_request", _refunded_twice),
    ("charges_know_what_was_taken_back", _refunded_by_half),
    ("charges_know_what_was_taken_back", _withdrawn_again),
    ("disputes_have_their_end", lambda facts: Dispute.objects.update(status="won")),
    ("disputes_have_their_end", lambda facts: _one(facts, "dispute").update(status="lost")),
    ("nothing_is_stuck", lambda facts: Charge.objects.update(state="confirming", reference="")),
    ("nothing_is_stuck", lambda facts: Charge.objects.update(fulfilled_at=None)),
    ("nothing_is_stuck", lambda facts: Charge.objects.update(available_at=None)),
    ("nothing_is_stuck", lambda facts: refunds.CardRefund.objects.update(state="asked")),
    ("nothing_is_stuck", lambda facts: Setup.objects.update(state="open")),
    ("balances_explain_themselves", lambda facts: Purse.objects.update(balance_micros=F("balance_micros") + 1)),
    ("balances_explain_themselves", lambda facts: Charge.objects.update(refunded_micros=10_000)),
    ("nobody_reads_for_nothing", _reads_for_nothing),
    ("books_agree", _holds_a_cent_more),
)


def _a_little_world(bank: Bank) -> tuple[Facts, reconciliation.Report]:
    """Somebody has bought and been refunded, somebody disputes, somebody has a tab; all is well."""
    purse, other = buyers.purse(), buyers.purse()
    charge = bank.top_up(purse, 1000)
    buyers.press(purse, buyers.offer(1, 2_000_000))
    refunds.to_card(purse, charge, 3_000_000)
    bank.do("disputes", charge=bank.top_up(other, 500).reference, kind="fraudulent")
    bank.tab()
    bank.bring()
    bank.later()
    report = bank.agrees()
    facts = bank.state()
    assert invariants.broken(facts, report) == []
    return facts, report


@pytest.mark.parametrize(("name", "damage"), DAMAGE, ids=[f"{n} {name}" for n, (name, _) in enumerate(DAMAGE)])
def test_each_invariant_can_fail(bank: Bank, name: str, damage: Callable[[Facts], Any]):
    facts, report = _a_little_world(bank)
    damage(facts)
    assert name in {said.split(":")[0] for said in invariants.broken(facts, report)}


def test_every_invariant_was_made_to_fail():
    tried = {name for name, _ in DAMAGE} | {"audit_is_silent"}
    assert tried == {check.__name__ for check in invariants.ALL}


def test_the_audit_and_a_second_reconciliation_that_heals_or_differs_are_noticed(bank: Bank, monkeypatch: Any):
    facts, report = _a_little_world(bank)
    monkeypatch.setattr(audit, "findings", lambda: [Finding("word", "Something.")])
    found = invariants.broken(facts, reconciliation.Report(healed=["txn_1"], difference_micros=10_000))
    assert [said.split(":")[0] for said in found] == [
        "audit_is_silent",
        "second_reconciliation_heals",
        "reconciliation_differs",
    ]


def test_earnings_that_fall_are_noticed():
    assert chaos.grown({}) == {}
    with pytest.raises(AssertionError):
        chaos.grown({"publisher:7:earned": 1})
