"""Keys, and accidents before and after a call had its effect."""

import threading

import pytest
import stripe

from tests.standin.driver import Driver

GOOD = {"amount": 500, "currency": "usd"}


def test_the_same_key_is_the_same_answer(pay: Driver) -> None:
    first = pay.v1.payment_intents.create(GOOD, {"idempotency_key": "k1"})
    again = pay.v1.payment_intents.create(GOOD, {"idempotency_key": "k1"})
    assert first.id == again.id
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.last_response.headers
    assert len(pay.v1.payment_intents.list().data) == 1


def test_the_same_key_for_something_else_is_refused(pay: Driver) -> None:
    pay.v1.payment_intents.create(GOOD, {"idempotency_key": "k1"})
    with pytest.raises(stripe.IdempotencyError) as refused:
        pay.v1.payment_intents.create({**GOOD, "amount": 600}, {"idempotency_key": "k1"})
    assert refused.value.http_status == 400


def test_a_decline_is_replayed_and_another_key_tries_again(pay: Driver) -> None:
    intent = pay.created()
    given = {"payment_method": "pm_card_chargeDeclined", "return_url": "https://shop.example/"}
    for _ in range(2):
        with pytest.raises(stripe.CardError):
            pay.v1.payment_intents.confirm(intent.id, given, {"idempotency_key": "k1"})
    assert len(pay.v1.charges.list().data) == 1
    with pytest.raises(stripe.CardError):
        pay.v1.payment_intents.confirm(intent.id, given, {"idempotency_key": "k2"})
    assert len(pay.v1.charges.list().data) == 2


def test_what_fails_validation_does_not_use_up_its_key(pay: Driver) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        pay.v1.payment_intents.create({"currency": "usd"}, {"idempotency_key": "k1"})
    assert pay.v1.payment_intents.create(GOOD, {"idempotency_key": "k1"}).id


def test_a_key_is_forgotten_after_a_day(pay: Driver) -> None:
    first = pay.v1.payment_intents.create(GOOD, {"idempotency_key": "k1"})
    pay.fake("POST", "clock", {"advance": 86_399})
    assert pay.v1.payment_intents.create(GOOD, {"idempotency_key": "k1"}).id == first.id
    pay.fake("POST", "clock", {"advance": 2})
    assert pay.v1.payment_intents.create(GOOD, {"idempotency_key": "k1"}).id != first.id


@pytest.mark.parametrize(("when", "made"), [("before", 0), ("after", 1)])
def test_a_500_is_replayed_under_its_key_whether_or_not_it_had_an_effect(pay: Driver, when: str, made: int) -> None:
    pay.fake("POST", "faults", [{"method": "POST", "path": "/v1/payment_intents$", "when": when, "kind": "500"}])
    for _ in range(2):
        with pytest.raises(stripe.APIError) as failed:
            pay.v1.payment_intents.create(GOOD, {"idempotency_key": "k1"})
        assert failed.value.http_status == 500
    assert failed.value.headers["Idempotent-Replayed"] == "true"
    assert len(pay.v1.payment_intents.list().data) == made
    pay.v1.payment_intents.create(GOOD, {"idempotency_key": "k2"})
    assert len(pay.v1.payment_intents.list().data) == made + 1


@pytest.mark.parametrize(("when", "made"), [("before", 0), ("after", 1)])
def test_an_answer_that_is_lost_is_had_again_with_the_same_key(pay: Driver, when: str, made: int) -> None:
    pay.fake("POST", "faults", {"path": "/v1/payment_intents$", "when": when, "kind": "drop"})
    with pytest.raises(stripe.APIConnectionError):
        pay.v1.payment_intents.create(GOOD, {"idempotency_key": "k1"})
    assert len(pay.fake("GET", "state").get("payment_intent", {})) == made
    again = pay.v1.payment_intents.create(GOOD, {"idempotency_key": "k1"})
    assert ("Idempotent-Replayed" in again.last_response.headers) == (made == 1)
    assert [intent.id for intent in pay.v1.payment_intents.list().data] == [again.id]


@pytest.mark.parametrize(("kind", "error"), [("429", stripe.RateLimitError), ("409", stripe.APIError)])
def test_what_the_processor_was_too_busy_for_was_not_done_and_not_remembered(
    pay: Driver, kind: str, error: type[stripe.StripeError]
) -> None:
    pay.fake("POST", "faults", [{"path": "/v1/payment_intents$", "kind": kind}])
    with pytest.raises(error) as failed:
        pay.v1.payment_intents.create(GOOD, {"idempotency_key": "k1"})
    assert failed.value.http_status == int(kind)
    assert pay.v1.payment_intents.create(GOOD, {"idempotency_key": "k1"}).id
    assert len(pay.v1.payment_intents.list().data) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_two_at_once_under_one_key_are_one_and_a_409(pay: Driver, when: str) -> None:
    pay.fake("POST", "faults", [{"method": "POST", "path": "/v1/payment_intents$", "kind": "slow", "seconds": 0.5,
                                 "when": when}])  # fmt: skip
    done: list[str] = []
    slow = threading.Thread(
        target=lambda: done.append(pay.v1.payment_intents.create(GOOD, {"idempotency_key": "k1"}).id)
    )
    slow.start()
    while not pay.fake("GET", "faults")["happened"]:
        pass
    with pytest.raises(stripe.APIError) as refused:
        pay.v1.payment_intents.create(GOOD, {"idempotency_key": "k1"})
    slow.join()
    assert refused.value.http_status == 409
    assert refused.value.error.code == "idempotency_key_in_use"
    assert pay.v1.payment_intents.create(GOOD, {"idempotency_key": "k1"}).id == done[0]
    assert [intent.id for intent in pay.v1.payment_intents.list().data] == done


def test_a_fault_can_wait_and_can_last_and_can_be_called_off(pay: Driver) -> None:
    pay.fake("POST", "faults", [{"method": "GET", "path": "/v1/balance$", "kind": "500", "skip": 1, "times": 2}])
    pay.v1.balance.retrieve()
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            pay.v1.balance.retrieve()
    pay.v1.balance.retrieve()
    pay.fake("POST", "faults", [{"kind": "500", "times": 99}])
    pay.fake("DELETE", "faults")
    pay.v1.balance.retrieve()


def test_a_fault_that_is_none_is_refused(pay: Driver) -> None:
    assert pay.http.post("/_fake/faults", json=[{"kind": "flood"}]).status_code == 400
    assert pay.http.post("/_fake/faults", json=[{"kind": "drop", "path": "/", "where": "after"}]).status_code == 400
    assert pay.http.post("/_fake/nothing").status_code == 404


def test_the_log_has_every_request(pay: Driver) -> None:
    pay.v1.payment_intents.create({**GOOD, "metadata": {"a": "b"}}, {"idempotency_key": "k1"})
    [line] = pay.fake("GET", "log")["requests"]
    assert (line["method"], line["path"], line["key"], line["status"]) == ("POST", "/v1/payment_intents", "k1", 200)
    assert line["params"]["metadata"] == {"a": "b"}
