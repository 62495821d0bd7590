"""How long an answer is waited for is for the transports to know: they get the shipped numbers."""

from typing import Any

import pytest
import stripe
from web3 import HTTPProvider

from payments.cards import stripe_api
from payments.cards.facts import NoAnswer
from payments.onchain import rpc
from tests import edges


def test_the_node_is_waited_for_five_seconds(settings: Any, monkeypatch: pytest.MonkeyPatch):
    waited: list[float] = []

    def answer(provider: HTTPProvider, method: str, params: Any) -> Any:
        waited.append(dict(provider.get_request_kwargs())["timeout"])
        return {"result": None}

    monkeypatch.setattr(HTTPProvider, "make_request", answer)
    settings.RPC_TIMEOUT_SECONDS = edges.shipped()["RPC_TIMEOUT_SECONDS"]
    rpc.request("eth_blockNumber")
    assert waited == [5]


def test_the_processor_is_waited_for_ten_seconds(settings: Any, monkeypatch: pytest.MonkeyPatch):
    waited: list[float] = []

    def answer(client: stripe.RequestsClient, *_: Any, **__: Any) -> Any:
        waited.append(client._timeout)
        raise stripe.APIConnectionError("no")

    monkeypatch.setattr(stripe.RequestsClient, "request", answer)
    settings.STRIPE_SECRET_KEY = "sk_test_of_the_tests"
    settings.STRIPE_TIMEOUT_SECONDS = edges.shipped()["STRIPE_TIMEOUT_SECONDS"]
    with pytest.raises(NoAnswer):
        stripe_api.intent("pi_1")
    assert waited == [10]
