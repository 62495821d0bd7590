"""What the SDK's own types do not allow, the stand-in refuses, in the processor's words."""

from typing import Any

import httpx
import pytest
import stripe

from dev.standin import Standin, spec
from tests.standin.driver import Driver

GOOD = {"amount": 500, "currency": "usd"}


@pytest.mark.parametrize(
    ("changed", "param", "code"),
    [
        ({"amuont": 500}, "amuont", "parameter_unknown"),
        ({"amount": "five"}, "amount", "parameter_invalid_integer"),
        ({"amount": "5.00"}, "amount", "parameter_invalid_integer"),
        ({"amount": None}, "amount", "parameter_missing"),
        ({"currency": None}, "currency", "parameter_missing"),
        ({"confirm": "yes"}, "confirm", None),
        ({"metadata": "x"}, "metadata", None),
        ({"metadata": {"a": {"b": "c"}}}, "metadata[a]", None),
        ({"description": ["a"]}, "description", None),
        ({"capture_method": "later"}, "capture_method", None),
        ({"setup_future_usage": "sometimes"}, "setup_future_usage", None),
        ({"automatic_payment_methods": {"on": True}}, "automatic_payment_methods[on]", "parameter_unknown"),
        ({"shipping": {"name": "A"}}, "shipping[address]", "parameter_missing"),
        ({"expand": "latest_charge"}, "expand", None),
        ({"payment_method_types": ["card"]}, "payment_method_types", "payment_method_types_no_longer_supported"),
        ({"amount": 49}, "amount", "amount_too_small"),
        ({"amount": 0}, "amount", "parameter_invalid_integer"),
        ({"amount": 100_000_000}, "amount", "amount_too_large"),
        ({"currency": "xxx"}, "currency", None),
        ({"customer": "cus_nobody"}, "customer", "resource_missing"),
        ({"off_session": True}, "off_session", None),
        ({"expand": ["nothing"]}, "expand", None),
        ({"description": ""}, "description", "parameter_invalid_empty"),
    ],
)
def test_a_parameter_that_the_sdk_does_not_know_is_refused(
    pay: Driver, changed: dict[str, Any], param: str, code: str | None
) -> None:
    given = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        pay.v1.payment_intents.create(given)
    assert (refused.value.http_status, refused.value.param, refused.value.code) == (400, param, code)
    assert refused.value.request_id
    assert pay.v1.payment_intents.list().data == []


def test_what_the_sdk_knows_is_taken(pay: Driver) -> None:
    made = pay.created(metadata={"charge": "7"}, description="Top-up", setup_future_usage="off_session")
    assert (made.status, made.metadata["charge"], made.amount) == ("requires_payment_method", "7", 500)
    assert pay.v1.payment_intents.retrieve(made.id).id == made.id


def test_an_unknown_address_is_a_404(pay: Driver) -> None:
    answer = pay.http.get("/v1/payment_intent", headers={"Authorization": f"Bearer {pay.key}"})
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "invalid_request_error"
    with pytest.raises(stripe.InvalidRequestError) as refused:
        pay.v1.payment_intents.retrieve("pi_nothing")
    assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")


def test_a_call_of_the_processor_that_the_stand_in_does_not_do_says_so(pay: Driver) -> None:
    with pytest.raises(stripe.APIError) as refused:
        pay.v1.coupons.create({"percent_off": 10})
    assert refused.value.http_status == 501


@pytest.mark.parametrize("key", ["sk_test_another", "sk_live_pennypress", "rk_test_x"])
def test_a_wrong_key_is_a_401(pay: Driver, key: str) -> None:
    with pytest.raises(stripe.AuthenticationError) as refused:
        pay.client(key).v1.customers.list()
    assert refused.value.http_status == 401


def test_no_key_is_a_401_and_a_key_may_be_basic(pay: Driver) -> None:
    assert pay.http.get("/v1/customers").status_code == 401
    assert pay.http.get("/v1/customers", auth=httpx.BasicAuth(pay.key, "")).status_code == 200


def test_another_version_of_the_api_is_refused(pay: Driver) -> None:
    headers = {"Authorization": f"Bearer {pay.key}", "Stripe-Version": "2020-08-27"}
    assert pay.http.get("/v1/customers", headers=headers).status_code == 400
    headers["Stripe-Version"] = stripe.api_version or spec.api_version()
    assert pay.http.get("/v1/customers", headers=headers).status_code == 200


def test_a_publishable_key_reaches_nothing_but_its_own_calls(pay: Driver) -> None:
    with pytest.raises(stripe.PermissionError):
        pay.client(pay.public_key).v1.customers.list()
    intent = pay.created()
    answer = pay.http.get(f"/v1/payment_intents/{intent.id}", headers={"Authorization": f"Bearer {pay.public_key}"})
    assert answer.status_code == 404


def test_every_route_and_parameter_of_the_sdk_can_be_read() -> None:
    every = [route for group in spec.routes().values() for route in group]
    assert len(every) > 550
    for route in every:
        if route.params:
            module, name = route.params
            assert name in spec._classes(module), route


def test_it_starts_in_well_under_a_second() -> None:
    with Standin() as standin:
        assert httpx.get(f"{standin.url}/healthz").status_code == 200


def test_a_parameter_that_would_be_left_out_silently_is_refused(pay: Driver) -> None:
    line = {"quantity": 1, "price_data": {"currency": "usd", "unit_amount": 500, "product_data": {"name": "A"}}}
    session = {"mode": "payment", "success_url": "https://shop.example/", "line_items": [line]}
    for call, param in (
        (lambda: pay.created(application_fee_amount=10), "application_fee_amount"),
        (lambda: pay.v1.balance_transactions.list({"payout": "po_x"}), "payout"),
        (lambda: pay.v1.checkout.sessions.create({**session, "discounts": [{"coupon": "x"}]}), "discounts"),
        (
            lambda: pay.v1.checkout.sessions.create({**session, "payment_intent_data": {"application_fee_amount": 1}}),
            "payment_intent_data[application_fee_amount]",
        ),
    ):
        with pytest.raises(stripe.APIError) as refused:
            call()
        assert (refused.value.http_status, refused.value.error.param) == (501, param)


def test_a_purchase_in_one_call_that_makes_no_sense_leaves_nothing_behind(pay: Driver) -> None:
    for changed in ({}, {"payment_method": "pm_card_visa"}):
        with pytest.raises(stripe.InvalidRequestError):
            pay.created(confirm=True, **changed)
    assert pay.v1.payment_intents.list().data == []
    assert pay.events() == []
    away = pay.created(confirm=True, payment_method="pm_card_visa", off_session=True)
    assert away.status == "succeeded"
    assert pay.charge(away).payment_method == away.payment_method
