"""Deliveries: signed as the SDK verifies them, held, shuffled, repeated, lost and tried again."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
import stripe

from tests.standin.driver import Driver
from tests.standin.receiver import SECRET, Receiver


@pytest.fixture
def receivers() -> Iterator[Callable[[], Receiver]]:
    with contextlib.ExitStack() as stack:

        def make() -> Receiver:
            made = Receiver()
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def receiver(pay: Driver, receivers: Callable[[], Receiver]) -> Receiver:
    made = receivers()
    pay.fake("POST", "webhooks/configure", {"url": made.url, "secret": SECRET})
    return made


def settled(pay: Driver) -> None:
    pay.v1.balance.retrieve()
    assert pay.fake("POST", "webhooks/flush", {"wait": 5})["done"]


PAID = ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "charge.updated"]


def test_events_arrive_signed_and_in_order_as_they_happened(pay: Driver, receiver: Receiver) -> None:
    intent = pay.bought(metadata={"charge": "7"})
    settled(pay)
    assert receiver.kinds == PAID
    event = receiver.events[2]
    assert (event.data.object.id, event.data.object.metadata["charge"]) == (intent.id, "7")
    assert event.api_version == intent.last_response.headers["Stripe-Version"]
    assert receiver.events[3].data.previous_attributes["balance_transaction"] is None
    assert pay.v1.events.retrieve(event.id).pending_webhooks == 0


def test_a_wrong_secret_does_not_verify(pay: Driver) -> None:
    pay.fake("POST", "webhooks", {"mode": "hold"})
    pay.created()
    [told] = pay.fake("POST", "webhooks/take", {"secret": SECRET})["events"]
    event = stripe.Webhook.construct_event(told["payload"], told["signature"], SECRET)
    assert event.type == told["type"] == "payment_intent.created"
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(told["payload"], told["signature"], "whsec_another")
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(told["payload"] + " ", told["signature"], SECRET)


def test_a_delivery_that_is_refused_is_tried_again_and_the_order_stays(pay: Driver, receiver: Receiver) -> None:
    receiver.refusals = 2
    pay.bought()
    settled(pay)
    assert receiver.kinds == PAID
    assert receiver.tries == len(PAID) + 2


def test_a_delivery_that_nobody_takes_is_given_up_and_can_be_found(pay: Driver, receiver: Receiver) -> None:
    receiver.refusals = 4
    pay.created()
    pay.customer()
    settled(pay)
    assert receiver.kinds == ["customer.created"]
    assert pay.fake("GET", "webhooks")["failed"] == 1
    assert [event.type for event in pay.v1.events.list({"delivery_success": False}).data] == ["payment_intent.created"]
    assert [event.type for event in pay.v1.events.list({"delivery_success": True}).data] == ["customer.created"]


@pytest.mark.parametrize(
    ("order", "expected"), [("fifo", PAID), ("reverse", PAID[::-1]), ("shuffle", [PAID[n] for n in (2, 0, 1, 3)])]
)
def test_what_is_held_is_released_in_another_order(
    pay: Driver, receiver: Receiver, order: str, expected: list[str]
) -> None:
    pay.fake("POST", "webhooks", {"mode": "hold"})
    pay.bought()
    pay.v1.balance.retrieve()
    assert (receiver.kinds, pay.fake("GET", "webhooks")["held"]) == ([], 4)
    assert len(pay.v1.events.list({"delivery_success": False}).data) == 4
    done = pay.fake("POST", "webhooks/release", {"order": order, "seed": 1, "wait": 5})
    assert done == {"released": 4, "done": True}
    assert sorted(receiver.kinds) == sorted(expected)
    if order != "shuffle":
        assert receiver.kinds == expected
    assert pay.fake("GET", "webhooks")["held"] == 0


def test_the_same_seed_is_the_same_disorder(pay: Driver, receiver: Receiver) -> None:
    orders = []
    for _ in range(2):
        pay.fake("POST", "webhooks", {"mode": "hold"})
        pay.bought()
        pay.v1.balance.retrieve()
        receiver.events.clear()
        pay.fake("POST", "webhooks/release", {"order": "shuffle", "seed": 3, "duplicate": 2, "wait": 5})
        orders.append(receiver.kinds)
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == sorted(PAID * 3)
    assert orders[0] != [kind for kind in PAID for _ in range(3)]


def test_an_event_that_is_sent_again_has_the_same_id(pay: Driver, receiver: Receiver) -> None:
    pay.fake("POST", "webhooks", {"mode": "hold"})
    pay.created()
    pay.fake("POST", "webhooks/release", {"duplicate": 9, "wait": 5})
    assert len(receiver.events) == 10
    assert len({event.id for event in receiver.events}) == 1


def test_what_is_dropped_or_forgotten_never_comes_and_the_list_of_events_has_it(
    pay: Driver, receiver: Receiver
) -> None:
    pay.fake("POST", "webhooks", {"mode": "drop"})
    pay.created()
    pay.fake("POST", "webhooks", {"mode": "hold"})
    pay.created()
    assert pay.fake("POST", "webhooks/forget")["dropped"] == 2
    pay.fake("POST", "webhooks", {"mode": "send"})
    pay.customer()
    settled(pay)
    assert receiver.kinds == ["customer.created"]
    assert len(pay.v1.events.list({"delivery_success": False}).data) == 2


def test_every_endpoint_is_told_what_it_asked_for(
    pay: Driver, receiver: Receiver, receivers: Callable[[], Receiver]
) -> None:
    second = receivers()
    wanted = {"url": second.url, "secret": SECRET, "events": ["payment_intent.succeeded"], "add": True}
    assert len(pay.fake("POST", "webhooks/configure", wanted)["endpoints"]) == 2
    pay.bought()
    settled(pay)
    assert (receiver.kinds, second.kinds) == (PAID, ["payment_intent.succeeded"])


def test_a_snapshot_stays_what_it_was(pay: Driver, receiver: Receiver) -> None:
    pay.fake("POST", "webhooks", {"mode": "hold"})
    pay.bought()
    pay.fake("POST", "webhooks/release", {"wait": 5})
    assert receiver.events[0].data.object.status == "requires_payment_method"
    assert receiver.events[1].data.object["balance_transaction"] is None


def test_the_signature_has_the_time_of_the_receiver_whatever_the_clock_says(pay: Driver, receiver: Receiver) -> None:
    pay.fake("POST", "clock", {"advance": 30 * 86_400})
    pay.created()
    settled(pay)
    assert len(receiver.events) == 1
