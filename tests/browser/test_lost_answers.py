"""What a page does when the answer to a payment does not come: the same signature again, and never a second charge."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_paying import is_open, not_charged, paid_once
from tests.browser.visits import Line, pay_button, refused, settled_but_lost, unheard
from tests.browser.wallet import SIGN

UNSURE = re.compile("could not confirm your payment yet")


@pytest.fixture
def rough(visits):
    """Visits on a bad line: what the browser reports of it is no fault of the page."""
    visits.expected |= {"502", "503", "net::ERR_CONNECTION_REFUSED", "net::ERR_CONNECTION_RESET"}
    return visits


def check_again(page: Page) -> None:
    """The one button that is left."""
    expect(page.locator("#wallets button")).to_have_count(1)
    expect(page.locator("#proofs button")).to_have_count(0)
    page.get_by_role("button", name="Check payment again").click()


def is_unsure(page: Page) -> None:
    expect(page.locator("#pay-status")).to_have_text(UNSURE)
    assert "not charged" not in page.locator("main").inner_text()


@pytest.mark.parametrize("fail", [refused(503), refused(502), unheard], ids=["503", "502", "no connection"])
def test_a_payment_that_was_never_heard_is_sent_again_with_the_same_signature(rough, shop, article, wallet, fail):
    page = rough.open(article["url"], wallet)
    line = Line(page, [fail])
    pay_button(page).click()
    is_unsure(page)
    assert not_charged(shop, wallet)
    check_again(page)
    is_open(page)
    assert wallet.calls.count(SIGN) == 1
    assert len(line.payments) == 2
    assert len(set(line.payments)) == 1
    assert paid_once(shop, wallet, article)


def test_a_payment_on_its_way_is_asked_about_without_another_press(rough, shop, article, wallet):
    page = rough.open(article["url"], wallet)
    line = Line(page, [refused(503, retry_after="1"), refused(503, retry_after="1")])
    pay_button(page).click()
    is_open(page)
    assert wallet.calls.count(SIGN) == 1
    assert len(line.payments) == 3
    assert len(set(line.payments)) == 1
    assert paid_once(shop, wallet, article)


def test_settled_with_the_answer_lost_is_charged_once(rough, shop, article, wallet):
    page = rough.open(article["url"], wallet)
    line = Line(page, [settled_but_lost])
    pay_button(page).click()
    is_unsure(page)
    assert paid_once(shop, wallet, article)
    check_again(page)
    is_open(page)
    assert wallet.calls.count(SIGN) == 1
    assert len(set(line.payments)) == 1
    assert paid_once(shop, wallet, article)


def test_settled_with_the_answer_lost_and_the_page_loaded_again_is_charged_once(rough, shop, article, wallet):
    page = rough.open(article["url"], wallet)
    line = Line(page, [settled_but_lost, unheard])
    pay_button(page).click()
    is_unsure(page)
    page.reload()
    expect(page.locator("#pay-status")).to_contain_text("You started to pay for this article")
    check_again(page)
    is_unsure(page)
    page.reload()
    check_again(page)
    is_open(page)
    expect(page.locator("#receipt")).to_contain_text("Transaction 0x")
    assert wallet.calls.count(SIGN) == 1
    assert len(line.payments) == 3
    assert len(set(line.payments)) == 1
    assert paid_once(shop, wallet, article)
    page.reload()
    expect(page.locator("#article")).to_be_visible()


def test_what_was_begun_for_one_article_is_not_asked_about_on_another(rough, shop, wallet):
    begun, other = shop.twins()
    page = rough.open(begun["url"], wallet)
    line = Line(page, [settled_but_lost])
    pay_button(page).click()
    is_unsure(page)
    page.goto(other["url"])
    pay_button(page).click()
    is_open(page)
    page.goto(begun["url"])
    check_again(page)
    is_open(page)
    assert wallet.calls.count(SIGN) == 2
    assert len(set(line.payments)) == 2
    assert wallet.micros == 10_000_000 - begun["people_price_micros"] - other["people_price_micros"]


def test_an_older_tab_does_not_pay_for_what_is_bought(visits, shop, article, wallet):
    """Two tabs of one browser: the second one signs, and is served without being charged."""
    context = visits.context(wallet)
    first, second = context.new_page(), context.new_page()
    for page in (first, second):
        page.goto(article["url"])
    for page in (first, second):
        pay_button(page).click()
        is_open(page)
    assert paid_once(shop, wallet, article)


def test_two_browsers_with_one_wallet_are_charged_once(visits, shop, article, wallet):
    pages = [visits.open(article["url"], wallet) for _ in range(2)]
    for page in pages:
        pay_button(page).click()
    for page in pages:
        is_open(page)
    assert wallet.calls.count(SIGN) == 2
    assert paid_once(shop, wallet, article)
