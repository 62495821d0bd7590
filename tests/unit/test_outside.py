"""The watch over every test of the suite: a call inside a transaction is noticed, whoever makes or hides it."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.mail import send_mail
from django.db import connection, transaction

from payments.cards import stripe_api
from payments.cards.facts import NoAnswer
from payments.onchain import rpc
from payments.onchain.rpc import ChainUnreachable
from tests import outside

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _nobody_listens(settings: Any) -> None:
    settings.CHAIN_RPC_URL = settings.STRIPE_API_BASE = NOWHERE
    settings.STRIPE_SECRET_KEY = "sk_test_of_the_tests"


def ask_the_node() -> None:
    with pytest.raises(ChainUnreachable):
        rpc.block("latest")


def ask_the_processor() -> None:
    with pytest.raises(NoAnswer):
        stripe_api.intent("pi_1")


def write_a_letter() -> None:
    send_mail("Hello", "text", None, ["reader@example.org"])


ASK = [
    (ask_the_node, "payments.onchain.rpc:request eth_getBlockByNumber"),
    (ask_the_processor, "payments.cards.stripe_api:_call"),
    (write_a_letter, "django.core.mail:EmailMessage.send"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("ask", "said"), ASK)
def test_inside_a_transaction_it_is_stopped_and_noted(asked_inside: outside.Notes, ask: Callable[[], None], said: str):
    with pytest.raises(outside.InsideTransaction), transaction.atomic():
        ask()
    assert asked_inside.taken() == [said]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("ask", "said"), ASK)
def test_so_it_is_where_the_test_has_no_transaction_of_its_own(
    asked_inside: outside.Notes, ask: Callable[[], None], said: str
):
    with pytest.raises(outside.InsideTransaction), transaction.atomic(durable=True):
        ask()
    assert asked_inside.taken() == [said]


@pytest.mark.django_db
@pytest.mark.parametrize(("ask", "said"), ASK)
def test_before_and_after_a_transaction_anybody_may_be_asked(
    asked_inside: outside.Notes, ask: Callable[[], None], said: str
):
    """Though the test itself stands in one."""
    assert connection.in_atomic_block
    ask()
    with transaction.atomic(), transaction.atomic():
        connection.cursor().close()
    ask()
    assert not asked_inside


@pytest.mark.django_db
def test_an_error_that_somebody_swallows_is_noted_all_the_same(asked_inside: outside.Notes):
    with transaction.atomic():
        try:
            rpc.block("latest")
        except Exception:
            """As a task does that must not keep the others waiting."""
    assert asked_inside.taken() == ["payments.onchain.rpc:request eth_getBlockByNumber"]


@pytest.mark.django_db
def test_the_later_pages_of_a_list_are_noted_too(asked_inside: outside.Notes):
    """They are fetched by the SDK when somebody reads on, and pass no door of ours."""
    client = stripe_api._client("sk_test_of_the_tests", NOWHERE, 1)
    with pytest.raises(outside.InsideTransaction), transaction.atomic():
        client.v1.balance.retrieve()
    (said,) = asked_inside.taken()
    assert said.startswith("stripe:RequestsClient.request")


@pytest.mark.django_db(transaction=True)
def test_another_threads_transaction_is_its_own(asked_inside: outside.Notes):
    """Whoever asks in a thread does not stand in the transaction that another one has open."""
    with transaction.atomic():
        thread = threading.Thread(target=ask_the_node)
        thread.start()
        thread.join()
    assert not asked_inside
