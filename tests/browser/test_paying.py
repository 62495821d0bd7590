"""A person pays in a browser with a wallet that signs for real."""

import json
import re
import secrets
import time

import pytest
from playwright.sync_api import Page, expect

from tests.browser.visits import Line, pay_button, put_on_sale, sign_in
from tests.browser.wallet import ELSEWHERE, PAYING, SIGN, InjectedWallet
from tests.shop import Shop

NOT_CHARGED = "You have not been charged."


def payments(shop: Shop, wallet: InjectedWallet) -> list[str]:
    """The states of all payments that the shop has recorded of this wallet."""
    buyer = f"eip155:{shop.line['chain_id']}:{wallet.address.lower()}"
    return [state for (state,) in shop.sql(f"SELECT state FROM payments_payment WHERE buyer = '{buyer}'")]


def paid_once(shop: Shop, wallet: InjectedWallet, article: dict, began: int = 10_000_000) -> bool:
    """The books and the chain say the same: one purchase, at the price for people."""
    states = [state for state in payments(shop, wallet) if state != "released"]
    assert len(states) == 1
    assert states[0] in ("confirmed", "final")
    assert wallet.micros == began - article["people_price_micros"]
    return True


def not_charged(shop: Shop, wallet: InjectedWallet, began: int = 10_000_000) -> bool:
    """Nothing moved, and the shop has nothing on record that would still move by itself."""
    assert wallet.micros == began
    assert set(payments(shop, wallet)) <= {"released"}
    return True


def is_open(page: Page) -> None:
    """The whole article is shown, and whoever reads by keyboard or by ear is in it."""
    expect(page.locator("#article")).to_be_focused()
    expect(page.locator("#pay")).to_have_count(0)
    assert len(page.locator("#article .prose").inner_text()) > 2_000


def test_a_person_pays_and_the_article_is_there(visits, shop, article, wallet):
    page = visits.open(article["url"], wallet)
    line = Line(page)
    expect(page.locator("#no-wallet")).to_be_hidden()
    assert article["title"] in page.title()
    teaser = page.locator(".teaser").inner_text()
    pay_button(page).click()
    is_open(page)
    expect(page.locator("#receipt")).to_contain_text("Transaction 0x")
    assert len(page.locator("#article .prose").inner_text()) > 3 * len(teaser)
    assert wallet.calls == PAYING
    assert len(line.payments) == 1
    assert paid_once(shop, wallet, article)
    signed = wallet.signed[0]["message"]
    assert (signed["to"], signed["value"]) == (shop.line["pay_to"], str(article["people_price_micros"]))
    assert page.evaluate("sessionStorage.length") == 0


def test_a_double_click_makes_one_payment(visits, shop, article, wallet):
    page = visits.open(article["url"], wallet)
    line = Line(page)
    pay_button(page).evaluate("button => { button.click(); button.click(); }")
    is_open(page)
    assert wallet.calls == PAYING
    assert len(line.payments) == 1
    assert paid_once(shop, wallet, article)


def test_the_keyboard_is_enough(visits, shop, article, wallet):
    page = visits.open(article["url"], wallet)
    button = pay_button(page)
    expect(button).to_be_visible()
    for _ in range(40):
        page.keyboard.press("Tab")
        if button.evaluate("button => button === document.activeElement"):
            break
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    is_open(page)
    assert paid_once(shop, wallet, article)


def test_who_cancels_is_not_charged_and_may_still_pay(visits, shop, article, wallet):
    wallet.refuses = True
    page = visits.open(article["url"], wallet)
    line = Line(page)
    pay_button(page).click()
    status = page.locator("#pay-status")
    expect(status).to_have_text(f"You canceled. {NOT_CHARGED}")
    assert line.payments == []
    assert not_charged(shop, wallet)
    wallet.refuses = False
    pay_button(page).click()
    is_open(page)
    assert paid_once(shop, wallet, article)


def test_a_wallet_that_is_busy_says_so(visits, shop, article, wallet):
    wallet.is_busy = True
    page = visits.open(article["url"], wallet)
    pay_button(page).click()
    expect(page.locator("#pay-status")).to_have_text(f"Your wallet already has an open request. {NOT_CHARGED}")
    assert not_charged(shop, wallet)


def test_who_has_too_little_is_told_before_signing_anything(visits, shop, article, new_wallet):
    wallet = new_wallet(article["people_price_micros"] - 1)
    page = visits.open(article["url"], wallet)
    pay_button(page).click()
    status = page.locator("#pay-status")
    expect(status).to_contain_text("has less than")
    expect(status).to_contain_text(NOT_CHARGED)
    assert SIGN not in wallet.calls
    assert not_charged(shop, wallet, article["people_price_micros"] - 1)


def test_the_very_last_cent_is_enough(visits, shop, article, new_wallet):
    wallet = new_wallet(article["people_price_micros"])
    page = visits.open(article["url"], wallet)
    pay_button(page).click()
    is_open(page)
    assert paid_once(shop, wallet, article, article["people_price_micros"])


def test_a_wallet_on_another_network_is_switched(visits, shop, article, new_wallet):
    wallet = new_wallet(chain=ELSEWHERE)
    page = visits.open(article["url"], wallet)
    pay_button(page).click()
    is_open(page)
    changed = ["eth_chainId", "wallet_switchEthereumChain", "eth_chainId"]
    assert wallet.calls == ["eth_requestAccounts", *changed, "eth_call", SIGN]
    assert paid_once(shop, wallet, article)


@pytest.mark.parametrize("habit", ["plain", "wraps_errors", "only_adds"])
def test_a_network_that_the_wallet_does_not_know_is_added(visits, shop, article, new_wallet, habit):
    wallet = new_wallet(chain=ELSEWHERE, known={ELSEWHERE}, **({} if habit == "plain" else {habit: True}))
    page = visits.open(article["url"], wallet)
    pay_button(page).click()
    is_open(page)
    assert "wallet_addEthereumChain" in wallet.calls
    assert wallet.calls[-2:] == ["eth_call", SIGN]
    assert paid_once(shop, wallet, article)


def test_who_keeps_the_other_network_is_not_charged(visits, shop, article, new_wallet):
    wallet = new_wallet(chain=ELSEWHERE, refuses=True)
    page = visits.open(article["url"], wallet)
    pay_button(page).click()
    expect(page.locator("#pay-status")).to_have_text(f"You canceled. {NOT_CHARGED}")
    assert SIGN not in wallet.calls
    assert not_charged(shop, wallet)


def test_a_refusal_is_shown_with_its_reason_and_the_next_try_pays(visits, shop, article, wallet):
    """The wallet is emptied between signature and settlement."""
    wallet.before_signing = wallet.give_away_everything
    page = visits.open(article["url"], wallet)
    pay_button(page).click()
    error = page.locator("#pay-error")
    expect(error).to_be_focused()
    expect(error).to_have_text(f"The wallet does not have enough funds. {NOT_CHARGED}")
    assert error.get_attribute("data-word") == "insufficient_funds"
    assert page.evaluate("sessionStorage.length") == 0
    assert not_charged(shop, wallet, 0)
    wallet.before_signing = None
    shop.mint(wallet.address, 10_000_000)
    pay_button(page).click()
    is_open(page)
    assert paid_once(shop, wallet, article)


def test_a_payment_that_was_spent_elsewhere_is_never_called_not_charged(visits, shop, wallet):
    """The proof has paid, though for another article: whether "not charged" is true depends on what was meant."""
    bought, other = shop.twins()
    page = visits.open(bought["url"], wallet)
    line = Line(page)
    pay_button(page).click()
    is_open(page)
    page.goto(other["url"])
    spent = line.payments[0]
    line.fails.append(lambda route: route.continue_(headers={**route.request.headers, "payment-signature": spent}))
    pay_button(page).click()
    error = page.locator("#pay-error")
    expect(error).to_be_focused()
    assert error.get_attribute("data-word") == "authorization_spent_elsewhere"
    assert "not charged" not in page.locator("main").inner_text()
    assert wallet.micros == 10_000_000 - bought["people_price_micros"]


def test_one_of_two_wallets_is_chosen_and_a_hostile_name_is_only_text(visits, shop, article, new_wallet):
    hostile = "<img src=x onerror=\"window.broken='in'\">"
    picture = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'/>"
    bad = new_wallet(name=hostile, icon="https://elsewhere.example/spy.png")
    good = new_wallet(name="Good wallet", icon=picture)
    page = visits.open(article["url"], bad, good)
    expect(page.locator("#wallets button")).to_have_count(2)
    expect(pay_button(page, hostile[:40])).to_be_visible()
    assert page.locator("#wallets img, #proofs img").evaluate_all("all => all.map((one) => one.src)") == [picture] * 2
    assert page.evaluate("window.broken") is None
    pay_button(page, "Good wallet").click()
    is_open(page)
    assert paid_once(shop, good, article)
    assert bad.calls == []
    assert not_charged(shop, bad)


def test_a_clock_that_is_days_wrong_does_not_matter(visits, shop, article, wallet):
    page = visits.context(wallet).new_page()
    page.clock.set_system_time((time.time() - 3 * 86_400) * 1000)
    page.goto(article["url"])
    pay_button(page).click()
    is_open(page)
    assert paid_once(shop, wallet, article)


def test_a_new_price_is_shown_on_an_old_page_before_anything_is_signed(visits, shop, wallet):
    studio = visits.context().new_page()
    sign_in(studio, shop.line["logins"]["publisher"])
    editor, address = put_on_sale(studio, f"Prices move {secrets.token_hex(4)}", people="0.30")
    page = visits.open(address, wallet)
    studio.goto(editor)
    studio.locator("[name=people_price]").fill("0.40")
    studio.get_by_role("button", name="Save", exact=True).click()
    expect(studio.locator("main")).to_contain_text("$0.40")
    page.clock.set_system_time((time.time() + 14 * 60) * 1000)
    # The shop keeps a listing for some seconds, so the new price may not be there on the first look.
    shop.wait(lambda: shop.terms(address, Accept="text/html")["accepts"][0]["amount"] == "400000", "the new price")
    pay_button(page).click()
    expect(page.locator("#pay-status")).to_contain_text("The price is now $0.40. To pay it, press the button again.")
    assert wallet.calls == []
    page.get_by_role("button", name="Pay $0.40 with Test wallet").click()
    expect(page.locator("#article")).to_be_focused()
    assert wallet.micros == 9_600_000


def test_a_wallet_that_only_sits_in_the_window_is_found(visits, shop, article, new_wallet):
    wallet = new_wallet(rdns="legacy")
    page = visits.open(article["url"], wallet)
    pay_button(page, "your wallet").click()
    is_open(page)
    assert paid_once(shop, wallet, article)


def test_without_a_wallet_the_page_says_what_to_do(visits, article):
    page = visits.open(article["url"])
    expect(page.locator("#no-wallet")).to_be_visible()
    expect(page.locator("#no-wallet")).to_contain_text("Install a browser wallet")
    expect(page.locator("#wallets button, #proofs button")).to_have_count(0)


def test_the_page_has_the_terms_that_the_header_has(visits, shop, article):
    """But for the quote's own hour and seal, of which every answer has new ones."""
    page = visits.open(article["url"])
    shown = json.loads(page.locator("#x402-terms").text_content())
    told = shop.terms(article["url"], Accept="text/html")
    parts = ("scheme", "network", "amount", "asset", "payTo", "maxTimeoutSeconds")
    assert [[one[part] for part in parts] for one in shown["accepts"]] == [
        [one[part] for part in parts] for one in told["accepts"]
    ]
    assert shown["resource"] == told["resource"]
    assert re.fullmatch(r"\d+", shown["accepts"][0]["amount"])
