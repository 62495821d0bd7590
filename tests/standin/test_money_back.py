"""Refunds, disputes, fraud warnings, the balance, the clock, and pages of lists."""

from collections.abc import Callable
from typing import Any

import pytest
import stripe

from tests.standin.driver import Driver


def totals(pay: Driver) -> tuple[int, int]:
    balance = pay.v1.balance.retrieve()
    return balance.available[0].amount, balance.pending[0].amount


def refused(call: Callable[[], Any]) -> stripe.InvalidRequestError:
    with pytest.raises(stripe.InvalidRequestError) as error:
        call()
    return error.value


def test_funds_are_pending_for_two_days_by_the_clock_that_can_be_moved(pay: Driver) -> None:
    pay.bought()
    pay.v1.events.list()
    assert totals(pay) == (0, 455)
    pay.fake("POST", "clock", {"advance": 2 * 86_400 - 60})
    assert totals(pay) == (0, 455)
    pay.fake("POST", "clock", {"advance": 61})
    assert totals(pay) == (455, 0)
    assert pay.v1.balance_transactions.list().data[0].status == "available"


def test_a_refund_in_parts_until_nothing_is_left(pay: Driver) -> None:
    intent = pay.bought()
    first = pay.v1.refunds.create({"payment_intent": intent.id, "amount": 200, "metadata": {"refund": "r1"}})
    assert (first.status, first.amount, first.metadata["refund"]) == ("succeeded", 200, "r1")
    assert (pay.charge(intent).amount_refunded, pay.charge(intent).refunded) == (200, False)
    too_much = refused(lambda: pay.v1.refunds.create({"payment_intent": intent.id, "amount": 301}))
    assert (too_much.http_status, too_much.param) == (400, "amount")
    rest = pay.v1.refunds.create({"charge": str(intent.latest_charge)})
    assert rest.amount == 300
    assert pay.charge(intent).refunded
    assert refused(lambda: pay.v1.refunds.create({"payment_intent": intent.id})).code == "charge_already_refunded"
    assert [r.id for r in pay.v1.refunds.list({"payment_intent": intent.id}).data] == [rest.id, first.id]
    assert sum(totals(pay)) == -45
    assert pay.events()[-2:] == ["refund.created", "charge.refunded"]
    shown = pay.v1.charges.retrieve(str(intent.latest_charge), {"expand": ["refunds"]})
    assert len(shown.refunds.data) == 2


def test_a_refund_that_fails_later_comes_back(pay: Driver) -> None:
    intent = pay.bought("pm_card_refundFail")
    made = pay.v1.refunds.create({"payment_intent": intent.id})
    assert made.status == "succeeded"
    made = pay.v1.refunds.retrieve(made.id)
    assert (made.status, made.failure_reason) == ("failed", "unknown")
    assert (pay.charge(intent).amount_refunded, sum(totals(pay))) == (0, 455)
    assert pay.events()[-1] == "refund.failed"
    moved = pay.v1.balance_transactions.retrieve(str(made.failure_balance_transaction))
    assert (moved.type, moved.amount, moved.source) == ("refund_failure", 500, made.id)


def test_a_refund_can_be_made_to_fail_and_one_be_made_in_the_dashboard(pay: Driver) -> None:
    intent = pay.bought()
    made = pay.fake("POST", "refund", {"payment_intent": intent.id, "amount": 100})
    assert made["metadata"] == {}
    assert pay.fake("POST", f"refunds/{made['id']}/fail")["status"] == "failed"
    assert sum(totals(pay)) == 455


def test_what_never_succeeded_is_not_refunded(pay: Driver) -> None:
    assert refused(lambda: pay.v1.refunds.create({"payment_intent": pay.created().id})).http_status == 400
    assert refused(lambda: pay.v1.refunds.create({})).http_status == 400


def disputed(pay: Driver, card: str = "pm_card_createDispute") -> stripe.Dispute:
    intent = pay.bought(card)
    return pay.v1.disputes.list({"payment_intent": intent.id}).data[0]


def test_0259_is_disputed_and_the_amount_and_the_fee_are_gone(pay: Driver) -> None:
    made = disputed(pay)
    assert (made.status, made.amount, made.reason) == ("needs_response", 500, "fraudulent")
    [moved] = made.balance_transactions
    assert (moved.amount, moved.fee, moved.net, moved.type) == (-500, 1500, -2000, "adjustment")
    assert (moved.reporting_category, moved.source) == ("dispute", made.id)
    assert sum(totals(pay)) == 455 - 2000
    assert pay.v1.charges.retrieve(str(made.charge)).disputed
    assert pay.events()[-3:] == ["charge.updated", "charge.dispute.created", "charge.dispute.funds_withdrawn"]
    error = refused(lambda: pay.v1.refunds.create({"charge": str(made.charge)}))
    assert (error.http_status, error.code) == (400, "charge_disputed")


def test_winning_evidence_brings_the_amount_back_but_not_the_fee(pay: Driver) -> None:
    made = disputed(pay)
    sent = pay.v1.disputes.update(made.id, {"evidence": {"uncategorized_text": "winning_evidence"}, "submit": True})
    assert sent.status == "under_review"
    won = pay.v1.disputes.retrieve(made.id)
    assert (won.status, [moved.amount for moved in won.balance_transactions]) == ("won", [-500, 500])
    assert sum(totals(pay)) == 455 - 1500
    assert pay.events()[-3:] == [
        "charge.dispute.updated", "charge.dispute.funds_reinstated", "charge.dispute.closed",
    ]  # fmt: skip


def test_losing_evidence_and_giving_in_lose(pay: Driver) -> None:
    first, second = disputed(pay), disputed(pay)
    pay.v1.disputes.update(first.id, {"evidence": {"uncategorized_text": "losing_evidence"}})
    assert pay.v1.disputes.retrieve(first.id).status == "lost"
    assert pay.v1.disputes.close(second.id).status == "lost"
    assert refused(lambda: pay.v1.disputes.close(second.id)).code == "dispute_already_closed"
    assert sum(totals(pay)) == 2 * (455 - 2000)


def test_evidence_that_is_staged_is_not_sent(pay: Driver) -> None:
    made = disputed(pay)
    pay.v1.disputes.update(made.id, {"evidence": {"uncategorized_text": "winning_evidence"}, "submit": False})
    assert pay.v1.disputes.retrieve(made.id).status == "needs_response"


def test_an_inquiry_moves_no_money_until_it_is_escalated(pay: Driver) -> None:
    made = disputed(pay, "pm_card_createDisputeInquiry")
    assert (made.status, made.balance_transactions) == ("warning_needs_response", [])
    assert sum(totals(pay)) == 455
    pay.fake("POST", f"disputes/{made.id}/escalate")
    assert pay.v1.disputes.retrieve(made.id).status == "needs_response"
    assert sum(totals(pay)) == 455 - 2000


def test_a_full_refund_ends_an_inquiry(pay: Driver) -> None:
    made = disputed(pay, "pm_card_createDisputeInquiry")
    pay.v1.refunds.create({"charge": str(made.charge)})
    assert pay.v1.disputes.retrieve(made.id).status == "warning_closed"


def test_any_charge_can_be_disputed_and_the_end_be_chosen(pay: Driver) -> None:
    intent = pay.bought()
    made = pay.fake("POST", "disputes", {"charge": intent.latest_charge, "amount": 300})
    assert made["amount"] == 300
    closed = pay.fake("POST", f"disputes/{made['id']}/close", {"won": True, "fee_returned": True})
    assert closed["status"] == "won"
    assert sum(totals(pay)) == 455


def test_5423_is_warned_of(pay: Driver) -> None:
    intent = pay.bought("pm_card_createIssuerFraudRecord")
    [made] = pay.v1.radar.early_fraud_warnings.list({"charge": str(intent.latest_charge)}).data
    assert (made.actionable, made.payment_intent) == (True, intent.id)
    assert pay.events()[-1] == "radar.early_fraud_warning.created"


def test_balance_transactions_come_in_pages_newest_first_with_their_sources(pay: Driver) -> None:
    intents = [pay.bought() for _ in range(5)]
    pay.v1.refunds.create({"payment_intent": intents[0].id})
    pay.fake("POST", "clock", {"advance": 3_600})
    pay.bought(amount=700)
    pay.v1.balance.retrieve()
    page = pay.v1.balance_transactions.list({"limit": 3, "expand": ["data.source"]})
    assert (page.has_more, [moved.amount for moved in page.data]) == (True, [700, -500, 500])
    assert [moved.source.object for moved in page.data] == ["charge", "refund", "charge"]
    more = pay.v1.balance_transactions.list({"limit": 3, "starting_after": page.data[-1].id})
    assert len(more.data) == 3
    seen = [moved.id for moved in page.auto_paging_iter()]
    assert len(seen) == len(set(seen)) == 7
    since = pay.v1.balance_transactions.list({"created": {"gte": page.data[0].created}}).data
    assert [moved.amount for moved in since] == [700]
    assert len(pay.v1.balance_transactions.list({"type": "refund"}).data) == 1
    source = pay.v1.balance_transactions.list({"source": str(intents[1].latest_charge)}).data
    assert [moved.amount for moved in source] == [500]
    assert refused(lambda: pay.v1.balance_transactions.list({"limit": 101})).param == "limit"
    assert refused(lambda: pay.v1.balance_transactions.list({"starting_after": "txn_x"})).code == "resource_missing"


def test_lists_know_their_filters(pay: Driver) -> None:
    buyer = pay.customer("pm_card_visa")
    mine = pay.away(pay.card_of(buyer), buyer.id)
    pay.bought()
    assert [i.id for i in pay.v1.payment_intents.list({"customer": buyer.id}).data] == [mine.id]
    assert [c.id for c in pay.v1.charges.list({"payment_intent": mine.id}).data] == [mine.latest_charge]
    assert len(pay.v1.payment_intents.list({"created": {"gte": mine.created}}).data) == 2
    assert [c.id for c in pay.v1.customers.list({"email": "buyer@example.com"}).data] == [buyer.id]
    assert {e.type for e in pay.v1.events.list({"types": ["charge.succeeded", "customer.*"]}).data} == {
        "charge.succeeded", "customer.created",
    }  # fmt: skip


def test_a_payment_made_by_hand_is_in_the_books_of_the_processor_alone(pay: Driver) -> None:
    made = pay.fake("POST", "charge", {"amount": 900})
    assert (made["status"], made["metadata"]) == ("succeeded", {})
    assert pay.v1.balance_transactions.list().data[0].amount == 900
