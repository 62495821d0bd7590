"""The browser library in Chromium, in a page of another origin whose content policy allows the stand-in and no more."""

import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import stripe
from playwright.sync_api import Browser, Page, sync_playwright

from dev.standin import Standin
from tests.browser.conftest import FLAGS
from tests.standin.driver import Driver
from tests.standin.test_checkout import GOOD, opened


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS, timeout=120_000)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shopfront(_standin: Standin) -> Iterator[str]:
    """One page with the script and a place for the card."""
    html = f"""<!doctype html><html lang="en"><title>Shop</title><link rel="icon" href="data:,">
        <script src="{_standin.url}/stripe.js"></script><h1>Shop</h1><div id="card"></div></html>"""
    policy = (
        f"default-src 'none'; script-src {_standin.url}; connect-src {_standin.url}; frame-src {_standin.url}; "
        "img-src data:; require-trusted-types-for 'script'"
    )

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Security-Policy", policy)
            self.send_header("Content-Length", str(len(html)))
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(chromium: Browser, shopfront: str, pay: Driver) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text) if "Security Policy" in said.text else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(shopfront)
    page.evaluate("key => { window.stripe = Stripe(key) }", pay.public_key)
    yield page
    context.close()
    assert wrong == []


def start(page: Page, call: str, *given: Any) -> None:
    """Begins a call; `end` has what it came to."""
    page.evaluate(f"given => {{ window.ended = (function () {{ return {call} }})() ; return null }}", list(given))


def end(page: Page) -> dict[str, Any]:
    return page.evaluate("() => window.ended")


def answer(page: Page, button: str) -> None:
    page.frame_locator("iframe").get_by_role("button", name=button).click()


def owed(pay: Driver, card: str) -> stripe.PaymentIntent:
    """An intent that was refused with the buyer away."""
    buyer = pay.customer(card)
    with pytest.raises(stripe.CardError) as refused:
        pay.away(pay.card_of(buyer), buyer.id)
    return refused.value.error.payment_intent


def test_a_buyer_finishes_what_was_refused_with_them_away(pay: Driver, page: Page) -> None:
    intent = owed(pay, "pm_card_authenticationRequired")
    card = intent.last_payment_error.payment_method.id
    confirm = "stripe.confirmCardPayment(given[0], { payment_method: given[1] })"
    start(page, confirm, intent.client_secret, card)
    answer(page, "Fail")
    assert end(page)["error"]["code"] == "payment_intent_authentication_failure"
    assert page.locator("iframe").count() == 0
    start(page, confirm, intent.client_secret, card)
    answer(page, "Complete")
    assert end(page)["paymentIntent"]["status"] == "succeeded"
    assert pay.v1.payment_intents.retrieve(intent.id).status == "succeeded"
    assert len([charge for charge in pay.v1.charges.list().data if charge.paid]) == 1


def test_the_action_that_the_server_was_told_of_is_finished(pay: Driver, page: Page) -> None:
    intent = pay.bought("pm_card_authenticationRequired")
    start(page, "stripe.handleNextAction({ clientSecret: given[0] })", intent.client_secret)
    answer(page, "Complete")
    assert end(page)["paymentIntent"]["status"] == "succeeded"


def typed(page: Page, number: str) -> None:
    page.evaluate("() => { window.card = stripe.elements().create('card'); card.mount('#card') }")
    page.get_by_label("Card number").fill(number)
    page.get_by_label("MM / YY").fill("12 / 40")
    page.get_by_label("CVC").fill("123")


WITH_CARD = "stripe.confirmCardPayment(given[0], { payment_method: { card: card } })"


def test_a_typed_card_pays_or_says_why_not(pay: Driver, page: Page) -> None:
    intent = pay.created()
    typed(page, "4000 0000 0000 0002")
    start(page, WITH_CARD, intent.client_secret)
    assert end(page)["error"]["decline_code"] == "generic_decline"
    typed(page, "4242 4242 4242 4242")
    start(page, WITH_CARD, intent.client_secret)
    assert end(page)["paymentIntent"]["status"] == "succeeded"
    start(page, WITH_CARD, intent.client_secret)
    assert end(page)["error"]["code"] == "payment_intent_unexpected_state"


def test_a_typed_card_is_saved_once_the_bank_agrees(pay: Driver, page: Page) -> None:
    buyer = pay.customer()
    setup = pay.v1.setup_intents.create({"customer": buyer.id})
    typed(page, "4000 0025 0000 3155")
    start(page, "stripe.confirmCardSetup(given[0], { payment_method: { card: card } })", setup.client_secret)
    answer(page, "Complete")
    assert end(page)["setupIntent"]["status"] == "succeeded"
    assert pay.away(pay.card_of(buyer), buyer.id).status == "succeeded"


def test_a_secret_of_another_intent_opens_nothing(pay: Driver, page: Page) -> None:
    intent = pay.created()
    start(page, "stripe.retrievePaymentIntent(given[0])", f"{intent.id}_secret_guess")
    assert end(page)["error"]["code"] == "resource_missing"
    start(page, "stripe.retrievePaymentIntent(given[0])", intent.client_secret)
    assert "customer" not in end(page)["paymentIntent"]


def test_the_hosted_page_in_a_browser_with_the_keyboard(pay: Driver, page: Page, shopfront: str) -> None:
    session = opened(pay, success_url=shopfront, cancel_url=shopfront, line_items=GOOD["line_items"])
    page.goto(str(session.url))
    for label, value in (("Email", "ada@example.com"), ("Card number", "4000002760003184"), ("Expiry", "12/40")):
        page.get_by_label(label).fill(value)
    page.get_by_label("Security code").fill("123")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Complete").press("Enter")
    page.wait_for_url(shopfront)
    assert pay.v1.checkout.sessions.retrieve(session.id).payment_status == "paid"
    width = page.evaluate("() => document.documentElement.scrollWidth")
    assert width <= 390


def test_a_full_page_question_sends_the_buyer_back_to_the_shop(pay: Driver, page: Page, shopfront: str) -> None:
    intent = pay.created()
    given = {"payment_method": "pm_card_authenticationRequired", "return_url": shopfront}
    intent = pay.v1.payment_intents.confirm(intent.id, given)
    page.goto(str(intent.next_action.redirect_to_url.url))
    page.get_by_role("button", name="Complete").click()
    page.wait_for_url(f"{shopfront}?**")
    assert f"payment_intent={intent.id}" in page.url
    assert "redirect_status=succeeded" in page.url
