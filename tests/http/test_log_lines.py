"""A sale and its batch in the log: a line for each outcome, with ids and amounts, and nothing that is a proof."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from payments import purses
from payments.models import Payment, Submission
from publishers.articles import catalogue
from publishers.models import Article
from tests import buyers

from .till import Till


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """The fields of every event so far."""
    caplog.set_level(logging.DEBUG)
    return lambda: [record.fields for record in caplog.records if record.name == "payments.events"]


@pytest.mark.usefixtures("db")
def test_a_sale_on_the_chain_is_a_line_and_so_is_each_outcome_of_its_batch(
    till: Till, owls: Article, told: Any, caplog: pytest.LogCaptureFixture, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        header, answer = till.buy(till.wallet(), owls)
    payment, batch = Payment.objects.get(), Submission.objects.get()
    sale = {"event": "sale", "outcome": "sold", "payment": payment.id, "amount_micros": 50_000, "rail": "exact"}
    said = told()
    assert sale in said
    outcomes = {one["outcome"]: one for one in said if one["event"] == "batch"}
    assert set(outcomes) == {"signed", "mined"}
    for one in outcomes.values():
        assert (one["batch"], one["payments"], one["amount_micros"], one["rail"]) == (batch.id, 1, 50_000, "exact")
    for secret in (header, answer["PAYMENT-RECEIPT"], till.settings.SETTLER_KEY.removeprefix("0x")):
        assert secret not in caplog.text


@pytest.mark.usefixtures("transactional_db", "cards_on")
def test_a_sale_from_a_balance_and_its_refund_are_a_line_each(owls: Article, told: Any) -> None:
    purse = buyers.purse(1_000_000)
    payment = buyers.press(purse, catalogue.listing(owls.pk).offer("agents", mime_type="text/html")).payment
    purses.refund(payment.id, purse)
    sale = {"event": "sale", "payment": payment.id, "amount_micros": 50_000, "rail": "purse"}
    assert told() == [sale | {"outcome": "sold"}, sale | {"outcome": "refunded", "reason": "buyer"}]
