"""localstripe, a stand-in by somebody else, in a process of its own: what both do, both judge alike.

Where the two are known to disagree, the last tests say which of them is like the processor.
"""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from dev.standin import Standin
from tests.standin.receiver import SECRET, Receiver

HERE = Path(__file__).parent
PYTHON = Path(os.environ.get("LOCALSTRIPE_PYTHON") or HERE / "localstripe" / ".venv" / "bin" / "python")
CARD = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2040, "cvc": "123"}
V1 = Any


@pytest.fixture(scope="module")
def localstripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not PYTHON.exists():
        pytest.skip(f"localstripe is not at {PYTHON}; `python3 dev.py test` installs it")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    direct = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    folder = tmp_path_factory.mktemp("localstripe")
    with (folder / "log").open("wb") as log:
        command = [str(PYTHON), "-m", "localstripe", "--port", str(port), "--from-scratch"]
        process = subprocess.Popen(command, cwd=folder, env=direct, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx.get(f"{url}/v1/customers")
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("localstripe did not start")


@pytest.fixture(scope="module")
def servers(localstripe: str) -> Iterator[dict[str, V1]]:
    """The official client, once for each of the two."""
    http = stripe.RequestsClient()
    with Standin() as standin:
        urls = {"ours": standin.url, "theirs": localstripe}
        clients = {
            name: stripe.StripeClient(
                standin.secret_key, base_addresses={"api": url}, max_network_retries=0, http_client=http
            )
            for name, url in urls.items()
        }
        yield {name: client.v1 for name, client in clients.items()} | {"urls": urls}
    http.close()


def verdict(judge: Callable[[V1], Any], v1: V1) -> Any:
    """What came of it: a value, or the kind of refusal."""
    try:
        return judge(v1)
    except stripe.CardError as error:
        return ("refused by the bank", error.code)
    except stripe.StripeError as error:
        return ("refused", type(error).__name__, error.http_status)


def buyer(v1: V1, card: str | None = "pm_card_visa") -> tuple[str, str]:
    customer = v1.customers.create({"email": "buyer@example.com", "metadata": {"purse": "7"}})
    method = v1.payment_methods.attach(card, {"customer": customer.id}) if card else None
    return customer.id, method.id if method else ""


def paid(v1: V1, amount: int = 500, card: str = "pm_card_visa", **fields: Any) -> stripe.PaymentIntent:
    """Created and confirmed in one call, with the buyer away: the form that both take."""
    customer, method = buyer(v1, card)
    params = {"amount": amount, "currency": "usd", "customer": customer, "payment_method": method, **fields}
    return v1.payment_intents.create({**params, "confirm": True, "off_session": True})


def a_customer(v1: V1) -> Any:
    made = v1.customers.create({"email": "a@example.com", "name": "A", "metadata": {"purse": "7"}})
    found = v1.customers.update(made.id, {"email": "b@example.com"})
    return found.email, found.name, found.metadata["purse"], v1.customers.retrieve(made.id).email


def a_deleted_customer(v1: V1) -> Any:
    made = v1.customers.create({"email": "a@example.com"})
    return v1.customers.delete(made.id).deleted


def nobody(v1: V1) -> Any:
    return v1.customers.retrieve("cus_nobody")


def a_card(v1: V1) -> Any:
    made = v1.payment_methods.create({"type": "card", "card": CARD})
    customer, _ = buyer(v1, None)
    attached = v1.payment_methods.attach(made.id, {"customer": customer})
    listed = v1.payment_methods.list({"customer": customer, "type": "card"}).data
    return attached.card.last4, attached.card.brand, attached.customer == customer, [m.id == made.id for m in listed]


def a_detached_card(v1: V1) -> Any:
    customer, method = buyer(v1)
    detached = v1.payment_methods.detach(method)
    return detached.customer, v1.payment_methods.list({"customer": customer, "type": "card"}).data


def a_card_that_cannot_be_kept(v1: V1) -> Any:
    return buyer(v1, "pm_card_visa_chargeDeclined")


def an_intent(v1: V1) -> Any:
    made = v1.payment_intents.create({"amount": 500, "currency": "usd", "metadata": {"charge": "7"}})
    found = v1.payment_intents.retrieve(made.id)
    return found.status, found.amount, found.metadata["charge"], found.client_secret == made.client_secret


def an_intent_with_a_card(v1: V1) -> Any:
    customer, method = buyer(v1)
    params = {"amount": 500, "currency": "usd", "customer": customer, "payment_method": method}
    return v1.payment_intents.create(params).status


def a_payment(v1: V1) -> Any:
    made = paid(v1)
    charge = v1.charges.retrieve(made.latest_charge if isinstance(made.latest_charge, str) else made.latest_charge.id)
    return made.status, charge.amount, charge.paid, charge.captured, charge.refunded, charge.payment_intent == made.id


def a_card_that_declines_later(v1: V1) -> Any:
    return paid(v1, card="pm_card_chargeCustomerFail")


def a_payment_twice(v1: V1) -> Any:
    return v1.payment_intents.confirm(paid(v1).id)


def nothing_at_all(v1: V1) -> Any:
    return v1.payment_intents.create({"amount": 0, "currency": "usd"})


def no_such_intent(v1: V1) -> Any:
    return v1.payment_intents.retrieve("pi_nothing")


def a_hold_that_is_taken(v1: V1) -> Any:
    held = paid(v1, capture_method="manual")
    taken = v1.payment_intents.capture(held.id, {"amount_to_capture": 300})
    return held.status, taken.status


def a_hold_that_is_released(v1: V1) -> Any:
    held = paid(v1, capture_method="manual")
    return held.status, v1.payment_intents.cancel(held.id).status


def a_cancelled_intent(v1: V1) -> Any:
    made = v1.payment_intents.create({"amount": 500, "currency": "usd"})
    return v1.payment_intents.cancel(made.id).status


def a_cancelled_payment(v1: V1) -> Any:
    return v1.payment_intents.cancel(paid(v1).id)


def a_confirmed_cancelled_intent(v1: V1) -> Any:
    customer, method = buyer(v1)
    params = {"amount": 500, "currency": "usd", "customer": customer, "payment_method": method}
    made = v1.payment_intents.create(params)
    v1.payment_intents.cancel(made.id)
    return v1.payment_intents.confirm(made.id)


def a_refund(v1: V1) -> Any:
    made = paid(v1)
    back = v1.refunds.create({"payment_intent": made.id, "metadata": {"refund": "r"}})
    return back.status, back.amount, back.metadata["refund"], back.payment_intent == made.id


def a_refund_in_parts(v1: V1) -> Any:
    made = paid(v1)
    amounts = [v1.refunds.create({"payment_intent": made.id, "amount": part}).amount for part in (200, 300)]
    latest = made.latest_charge if isinstance(made.latest_charge, str) else made.latest_charge.id
    charge = v1.charges.retrieve(latest)
    return amounts, charge.amount_refunded, charge.refunded


JUDGED_ALIKE = [
    (a_customer, ("b@example.com", "A", "7", "b@example.com")),
    (a_deleted_customer, True),
    (nobody, ("refused", "InvalidRequestError", 404)),
    (a_card, ("4242", "visa", True, [True])),
    (a_detached_card, (None, [])),
    (a_card_that_cannot_be_kept, ("refused by the bank", "card_declined")),
    (an_intent, ("requires_payment_method", 500, "7", True)),
    (an_intent_with_a_card, "requires_confirmation"),
    (a_payment, ("succeeded", 500, True, True, False, True)),
    (a_card_that_declines_later, ("refused by the bank", "card_declined")),
    (a_payment_twice, ("refused", "InvalidRequestError", 400)),
    (nothing_at_all, ("refused", "InvalidRequestError", 400)),
    (no_such_intent, ("refused", "InvalidRequestError", 404)),
    (a_hold_that_is_taken, ("requires_capture", "succeeded")),
    (a_hold_that_is_released, ("requires_capture", "canceled")),
    (a_cancelled_intent, "canceled"),
    (a_cancelled_payment, ("refused", "InvalidRequestError", 400)),
    (a_confirmed_cancelled_intent, ("refused", "InvalidRequestError", 400)),
    (a_refund, ("succeeded", 500, "r", True)),
    (a_refund_in_parts, ([200, 300], 500, True)),
]


@pytest.mark.parametrize(("judge", "expected"), JUDGED_ALIKE, ids=lambda given: getattr(given, "__name__", ""))
def test_both_judge_alike(servers: dict[str, V1], judge: Callable[[V1], Any], expected: Any) -> None:
    assert verdict(judge, servers["theirs"]) == expected
    assert verdict(judge, servers["ours"]) == expected


def test_both_sign_their_webhooks_as_the_sdk_verifies_them(servers: dict[str, V1]) -> None:
    """Events that were not signed, or not with this secret, would never be kept by the receiver."""
    told = {"ours": Receiver(), "theirs": Receiver()}
    try:
        ours = {"url": told["ours"].url, "secret": SECRET}
        httpx.post(f"{servers['urls']['ours']}/_fake/webhooks/configure", json=ours).raise_for_status()
        theirs = {"url": told["theirs"].url, "secret": SECRET}
        httpx.post(f"{servers['urls']['theirs']}/_config/webhooks/1", json=theirs).raise_for_status()
        made = {name: paid(servers[name]).id for name in told}
        until = time.monotonic() + 15
        while time.monotonic() < until and not all(made[name] in _paid_for(told[name]) for name in told):
            time.sleep(0.05)
        for name, receiver in told.items():
            assert _paid_for(receiver).count(made[name]) == 1
            assert "customer.created" in receiver.kinds
    finally:
        for receiver in told.values():
            receiver.close()


def _paid_for(receiver: Receiver) -> list[str]:
    return [event.data.object.id for event in receiver.events if event.type == "payment_intent.succeeded"]


def two_cents(v1: V1) -> Any:
    return paid(v1, amount=2).status


def one_key_twice(v1: V1) -> Any:
    params = {"amount": 500, "currency": "usd"}
    made = [v1.payment_intents.create(params, {"idempotency_key": "the same"}).id for _ in range(2)]
    return len(set(made))


def more_than_was_paid(v1: V1) -> Any:
    made = paid(v1)
    return [v1.refunds.create({"payment_intent": made.id, "amount": 400}).status for _ in range(2)]


def a_bad_card_never_kept(v1: V1) -> Any:
    params = {"amount": 500, "currency": "usd", "payment_method": "pm_card_visa_chargeDeclined"}
    return v1.payment_intents.create({**params, "confirm": True, "off_session": True}).status


def nobody_to_ask(v1: V1) -> Any:
    card = v1.payment_methods.create({"type": "card", "card": {**CARD, "number": "4000002760003184"}})
    return paid(v1, card=card.id).status


REFUSED = ("refused", "InvalidRequestError", 400)
JUDGED_APART = [
    (two_cents, REFUSED, "succeeded"),
    (one_key_twice, 1, 2),
    (more_than_was_paid, REFUSED, ["succeeded"] * 2),
    (a_bad_card_never_kept, ("refused by the bank", "card_declined"), "succeeded"),
    (nobody_to_ask, ("refused by the bank", "authentication_required"), "requires_action"),
]


@pytest.mark.parametrize(("judge", "ours", "theirs"), JUDGED_APART, ids=lambda given: getattr(given, "__name__", ""))
def test_where_they_disagree_ours_is_like_the_processor(
    servers: dict[str, V1], judge: Callable[[V1], Any], ours: Any, theirs: Any
) -> None:
    assert (verdict(judge, servers["ours"]), verdict(judge, servers["theirs"])) == (ours, theirs)
