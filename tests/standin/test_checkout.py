"""Checkout Sessions, paid over the HTML of the hosted page as a browser without scripts would."""

import re
from typing import Any

import httpx
import pytest
import stripe

from tests.standin.driver import Driver

GOOD: dict[str, Any] = {
    "mode": "payment",
    "success_url": "https://shop.example/done?session={CHECKOUT_SESSION_ID}",
    "cancel_url": "https://shop.example/again",
    "client_reference_id": "purse-7",
    "metadata": {"charge": "7"},
    "line_items": [
        {"quantity": 1, "price_data": {"currency": "usd", "unit_amount": 500, "product_data": {"name": "Top-up <5>"}}}
    ],
    "payment_intent_data": {"metadata": {"charge": "7"}, "setup_future_usage": "off_session"},
}
SETUP = {"mode": "setup", "currency": "usd", "success_url": GOOD["success_url"], "metadata": {"charge": "8"}}
TYPED = {"expiry": "12 / 40", "cvc": "123", "name": "Ada", "email": "ada@example.com"}


def opened(pay: Driver, **changed: Any) -> stripe.checkout.Session:
    return pay.v1.checkout.sessions.create({**GOOD, **changed})


def typed(pay: Driver, session: stripe.checkout.Session, number: str, **changed: str) -> httpx.Response:
    return pay.http.post(str(session.url), data={**TYPED, "number": number, **changed})


def again(pay: Driver, session: stripe.checkout.Session) -> stripe.checkout.Session:
    return pay.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent", "setup_intent", "line_items"]})


def test_a_session_is_paid_on_the_page_and_the_buyer_comes_back(pay: Driver) -> None:
    session = opened(pay)
    assert (session.status, session.payment_status, session.payment_intent) == ("open", "unpaid", None)
    assert (session.amount_total, session.client_reference_id) == (500, "purse-7")
    page = pay.http.get(str(session.url))
    assert page.status_code == 200
    assert "Test card simulator" in page.text
    assert "Pay $5.00" in page.text
    assert "Top-up &lt;5&gt;" in page.text
    assert "https://shop.example/again" in page.text
    assert not re.search(r"<script|<style|style=|[Ss]tripe", page.text)
    answer = typed(pay, session, "4242 4242 4242 4242")
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"https://shop.example/done?session={session.id}"
    done = again(pay, session)
    assert (done.status, done.payment_status, done.url) == ("complete", "paid", None)
    assert done.customer_details.email == "ada@example.com"
    assert (done.payment_intent.status, done.payment_intent.metadata["charge"]) == ("succeeded", "7")
    assert done.payment_intent.customer == done.customer
    assert pay.v1.customers.payment_methods.list(str(done.customer)).data[0].card.last4 == "4242"
    assert pay.away(str(done.payment_intent.payment_method), str(done.customer)).status == "succeeded"
    assert "checkout.session.completed" in pay.events()
    assert "All done" in pay.http.get(f"/c/pay/{session.id}").text


def test_declined_then_asked_by_the_bank_then_paid(pay: Driver) -> None:
    session = opened(pay)
    refused = typed(pay, session, "4000000000000002")
    assert refused.status_code == 402
    assert "Your card was declined." in refused.text
    assert "4000000000000002" not in refused.text
    assert 'value="ada@example.com"' in refused.text
    assert again(pay, session).status == "open"
    asked = typed(pay, session, "4000 0027 6000 3184")
    assert asked.headers["Location"] == f"{pay.url}/c/pay/{session.id}/bank"
    assert "Your bank asks" in pay.http.get(asked.headers["Location"]).text
    failed = pay.http.post(asked.headers["Location"], data={"verdict": "fail"})
    assert failed.headers["Location"] == session.url
    assert "unable to authenticate" in pay.http.get(failed.headers["Location"]).text
    asked = typed(pay, session, "4000 0027 6000 3184")
    paid = pay.http.post(asked.headers["Location"], data={"verdict": "complete"})
    assert paid.headers["Location"].startswith("https://shop.example/done")
    assert again(pay, session).payment_status == "paid"
    assert len([charge for charge in pay.v1.charges.list().data if charge.paid]) == 1
    assert len(pay.v1.payment_intents.list().data) == 1


def test_a_session_is_paid_once(pay: Driver) -> None:
    session = opened(pay)
    typed(pay, session, "4242424242424242")
    assert typed(pay, session, "4242424242424242").status_code == 200
    assert len(pay.v1.charges.list().data) == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"number": "4242424242424241"}, "card number is incorrect"),
        ({"number": "4111111111111111"}, "non test card"),
        ({"number": ""}, "card number is incomplete"),
        ({"expiry": "13 / 40"}, "expiration month"),
        ({"expiry": "01 / 20"}, "expiration year"),
        ({"expiry": "soon"}, "expiration date is incomplete"),
        ({"cvc": "12"}, "security code"),
        ({"email": "ada"}, "email is incomplete"),
    ],
)
def test_what_is_typed_wrong_is_said_and_can_be_typed_again(pay: Driver, changed: dict[str, str], words: str) -> None:
    session = opened(pay)
    answer = typed(pay, session, **{"number": "4242424242424242", **changed})
    assert answer.status_code in (400, 402)
    assert words in answer.text
    assert typed(pay, session, "4242424242424242").status_code == 303


def test_a_card_is_saved_without_a_charge(pay: Driver) -> None:
    buyer = pay.customer()
    session = pay.v1.checkout.sessions.create({**SETUP, "customer": buyer.id})
    assert session.payment_status == "no_payment_required"
    assert "buyer@example.com" in pay.http.get(str(session.url)).text
    assert typed(pay, session, "4000002500003155").headers["Location"].endswith("/bank")
    answer = pay.http.post(f"/c/pay/{session.id}/bank", data={"verdict": "complete"})
    assert answer.headers["Location"] == f"https://shop.example/done?session={session.id}"
    done = again(pay, session)
    assert (done.status, done.setup_intent.status, done.customer) == ("complete", "succeeded", buyer.id)
    assert done.setup_intent.payment_method == pay.card_of(buyer)
    assert pay.away(pay.card_of(buyer), buyer.id).status == "succeeded"


@pytest.mark.parametrize(("email", "prefilled"), [("bob@example.com", True), (None, False)])
def test_the_email_is_asked_for_only_when_it_is_not_known(pay: Driver, email: str | None, prefilled: bool) -> None:
    session = opened(pay, **({"customer_email": email} if email else {}))
    assert ('name="email"' not in pay.http.get(str(session.url)).text) == prefilled
    typed(pay, session, "4242424242424242", email="other@example.com")
    assert again(pay, session).customer_details.email == (email or "other@example.com")


def test_a_guest_stays_one_unless_a_customer_is_wanted(pay: Driver) -> None:
    session = opened(pay, payment_intent_data={"metadata": {"charge": "9"}})
    typed(pay, session, "4242424242424242")
    assert again(pay, session).customer is None
    session = opened(pay, payment_intent_data={}, customer_creation="always")
    typed(pay, session, "4242424242424242")
    assert again(pay, session).customer


def test_a_session_expires_by_itself_and_by_order(pay: Driver) -> None:
    now = pay.fake("POST", "clock", {})["now"]
    first, second = opened(pay, expires_at=now + 1_800), opened(pay)
    typed(pay, first, "4000000000000002")
    pay.fake("POST", "clock", {"advance": 1_801})
    gone = again(pay, first)
    assert (gone.status, gone.url, gone.payment_intent.status) == ("expired", None, "canceled")
    assert pay.events().count("checkout.session.expired") == 1
    assert pay.v1.checkout.sessions.expire(second.id).status == "expired"
    page = pay.http.get(str(second.url))
    assert page.status_code == 410
    assert "You have not been charged" in page.text
    assert typed(pay, second, "4242424242424242").status_code == 410
    with pytest.raises(stripe.InvalidRequestError):
        pay.v1.checkout.sessions.expire(second.id)
    assert pay.v1.charges.list().data[0].status == "failed"


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"mode": None}, "mode"),
        ({"success_url": None}, "success_url"),
        ({"success_url": "shop.example"}, "success_url"),
        ({"line_items": None}, "line_items"),
        ({"line_items": [{"quantity": 1, "price": "price_x"}]}, "line_items[0][price]"),
        ({"line_items": [{"price_data": GOOD["line_items"][0]["price_data"]}]}, "line_items[0][quantity]"),
        ({"customer_email": "nobody"}, "customer_email"),
        ({"customer": "cus_x"}, "customer"),
        ({"expires_at": 1}, "expires_at"),
        ({"payment_method_types": ["card"]}, "payment_method_types"),
        ({"client_reference_id": ""}, "client_reference_id"),
        ({"payment_intent_data": {"metdata": {"a": "b"}}}, "payment_intent_data[metdata]"),
    ],
)
def test_a_session_that_makes_no_sense_is_refused(pay: Driver, changed: dict[str, Any], param: str) -> None:
    given = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        pay.v1.checkout.sessions.create(given)
    assert (refused.value.http_status, refused.value.param) == (400, param)


def test_two_cents_are_too_little_and_a_setup_needs_a_currency(pay: Driver) -> None:
    line = {**GOOD["line_items"][0], "price_data": {**GOOD["line_items"][0]["price_data"], "unit_amount": 2}}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        opened(pay, line_items=[line])
    assert refused.value.code == "amount_too_small"
    assert opened(pay, line_items=[{**line, "quantity": 25}]).amount_total == 50
    with pytest.raises(stripe.InvalidRequestError) as refused:
        pay.v1.checkout.sessions.create({name: value for name, value in SETUP.items() if name != "currency"})
    assert refused.value.param == "currency"


def test_the_intent_of_a_session_is_the_sessions(pay: Driver) -> None:
    session = opened(pay)
    typed(pay, session, "4000000000000002")
    intent = again(pay, session).payment_intent
    with pytest.raises(stripe.InvalidRequestError):
        pay.v1.payment_intents.cancel(intent.id)
    with pytest.raises(stripe.InvalidRequestError):
        pay.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa", "return_url": "https://a.example"})


def test_sessions_are_listed_by_what_they_belong_to(pay: Driver) -> None:
    session = opened(pay)
    typed(pay, session, "4242424242424242")
    opened(pay)
    done = again(pay, session)
    found = pay.v1.checkout.sessions.list({"payment_intent": done.payment_intent.id}).data
    assert [one.id for one in found] == [session.id]
    assert len(pay.v1.checkout.sessions.list({"status": "open"}).data) == 1
    assert pay.v1.checkout.sessions.line_items.list(session.id).data[0].description == "Top-up <5>"


def test_a_person_can_be_played_without_a_page(pay: Driver) -> None:
    first, second, third = opened(pay), opened(pay), opened(pay)
    done = pay.fake("POST", f"sessions/{first.id}/pay", {"card": "4242424242424242", "email": "eve@example.com"})
    assert (done["paid"], done["return_to"]) == (True, f"https://shop.example/done?session={first.id}")
    declined = pay.fake("POST", f"sessions/{second.id}/pay", {"card": "4000000000009995"})
    assert (declined["paid"], declined["error"]["decline_code"]) == (False, "insufficient_funds")
    left = pay.fake("POST", f"sessions/{third.id}/pay", {"card": "4000002760003184", "authenticate": None})
    assert (left["paid"], left["error"]) == (False, None)
    assert again(pay, third).payment_intent.status == "requires_action"
    pay.fake("POST", f"payment_intents/{again(pay, third).payment_intent.id}/authenticate", {"ok": True})
    assert again(pay, third).status == "complete"


def test_a_page_that_is_not_there(pay: Driver) -> None:
    assert pay.http.get("/c/pay/cs_test_nothing").status_code == 404
    assert pay.http.get("/nothing").status_code == 404
    assert pay.http.get("/stripe.js").headers["Content-Type"].startswith("text/javascript")
    assert pay.http.get("/assets/page.css").status_code == 200


def test_a_person_cannot_pay_what_is_over(pay: Driver) -> None:
    paid, gone = opened(pay), opened(pay)
    pay.fake("POST", f"sessions/{paid.id}/pay", {})
    pay.v1.checkout.sessions.expire(gone.id)
    for session in (paid, gone):
        assert pay.http.post(f"/_fake/sessions/{session.id}/pay", json={}).status_code == 400
    assert len(pay.v1.charges.list().data) == 1
