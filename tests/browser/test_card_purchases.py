"""A reader without scripts fills a balance with a test card and reads; and how the pages of it look to axe."""

import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.visits import MODES, PATIENCE_MS, sign_in
from tests.shop import Shop


def type_card(page: Page, number: str = "4242 4242 4242 4242") -> None:
    """On the hosted page of the test card simulator."""
    expect(page.get_by_text("Test card simulator")).to_be_visible()
    page.locator("#number").fill(number)
    page.locator("#expiry").fill("12 / 40")
    page.locator("#cvc").fill("123")
    for name, text in (("name", "Ada"), ("email", "ada@example.org")):
        if page.locator(f"#{name}").count():
            page.locator(f"#{name}").fill(text)
    page.locator("button[type=submit], button:not([type])").first.click()


@pytest.fixture
def guest(chromium: Browser, shop: Shop) -> Any:
    """Without scripts. What the browser refuses on the way to the card page and back is noticed by not arriving."""
    context = chromium.new_context(base_url=shop.url, java_script_enabled=False, **MODES["light 1280"])
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


def test_a_guest_without_scripts_fills_a_balance_and_reads_two_articles(guest: Page, shop: Shop):
    first, second = shop.line["articles"][2:4]
    guest.goto(first["url"])
    guest.get_by_role("button", name="Top up $5").click()
    type_card(guest)
    expect(guest.locator("#article")).to_be_focused()
    expect(guest.get_by_text("We charged $5.00 to your card")).to_be_in_viewport()
    assert guest.url == f"{first['url']}#article"
    guest.goto(second["url"])
    guest.get_by_role("button", name="from your balance").click()
    expect(guest.locator("#article")).to_be_focused()
    assert guest.url == f"{second['url']}#article"
    guest.goto("/library")
    guest.get_by_role("button", name="Refund $").first.click()
    expect(guest.get_by_text("to your balance")).to_be_visible()
    guest.goto("/purse")
    expect(guest.locator("tbody tr")).to_have_count(4)


def looks(page: Page, mode: str) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, f"{mode} {page.url}: {found.generate_report()}"
    wide, shown = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= shown, f"{mode} {page.url}: {wide} px of {shown}"


@pytest.mark.parametrize("mode", MODES)
def test_axe_finds_nothing_and_nothing_scrolls_sideways(chromium: Browser, shop: Shop, mode: str):
    context = chromium.new_context(base_url=shop.url, bypass_csp=True, **MODES[mode])
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    first, second = shop.line["articles"][4:6]
    for address in (first["url"], "/purse", "/accounts/login/", "/accounts/signup/", "/accounts/signup/passkey/"):
        page.goto(address)
        looks(page, mode)
    page.goto(first["url"])
    page.get_by_role("button", name="Top up $10").click()
    type_card(page)
    expect(page.locator("#article")).to_be_visible()
    for address in (first["url"], second["url"], "/library", "/purse"):
        page.goto(address)
        looks(page, mode)
    page.goto("/library")
    page.get_by_role("link", name="Receipt").first.click()
    page.wait_for_url("**/receipts/*", wait_until="load")
    looks(page, mode)
    context.close()


def test_the_bank_is_answered_with_the_policy_in_force(chromium: Browser, shop: Shop):
    """Save a card whose bank always asks, read on the tab, pay: refused once, then agreed, charged once."""
    context = chromium.new_context(base_url=shop.url, **MODES["light 1280"])
    context.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    context.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
    page = context.new_page()
    sign_in(page, shop.reader())
    page.goto("/purse")
    page.get_by_role("button", name=re.compile("^Save a")).click()
    type_card(page, "4000 0027 6000 3184")
    page.get_by_role("button", name="Complete").click()
    expect(page.get_by_text("Your card is saved.")).to_be_visible()
    page.get_by_role("button", name="Open a tab").click()
    expect(page.get_by_text("Your tab is open.")).to_be_visible()
    for article in shop.line["articles"]:
        page.goto(article["url"])
        button = page.get_by_role("button", name="on your tab")
        if button.count():
            button.click()
            expect(page.locator("#article")).to_be_visible()
    page.goto("/purse")
    inspected(page)
    page.get_by_role("button", name=re.compile(r"^Pay \$")).click()
    inspected(page)
    for verdict in ("Fail", "Complete"):
        page.get_by_role("button", name="Confirm with your bank").click()
        page.frame_locator("iframe").get_by_role("button", name=verdict).click()
        if verdict == "Fail":
            expect(page.locator("#ask-status")).to_contain_text("You have not been charged.")
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    inspected(page)
    page.goto("/purse")
    expect(page.get_by_role("button", name=re.compile(r"^Pay \$"))).to_have_count(0)
    context.close()
    assert complaints == []


def inspected(page: Page) -> None:
    """The same address in another window, where the policy lets axe in: wide and narrow."""
    window = page.context.new_page()
    page.context.new_cdp_session(window).send("Page.setBypassCSP", {"enabled": True})
    for mode, look in MODES.items():
        window.set_viewport_size(look["viewport"])
        window.emulate_media(color_scheme=look["color_scheme"])
        window.goto(page.url)
        looks(window, mode)
    window.close()
