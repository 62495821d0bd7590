"""A reader without scripts lets an agent buy: a key, its limits, one click for what is dear, and the end of it."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_card_purchases import type_card
from tests.browser.visits import MODES, PATIENCE_MS, sign_in
from tests.shop import Shop

KEY = re.compile(r"pp_[A-Za-z0-9]{12}_[A-Za-z0-9]{32}")


@pytest.fixture
def reader(chromium: Browser, shop: Shop) -> Iterator[Page]:
    """Signed in, without scripts."""
    context = chromium.new_context(base_url=shop.url, java_script_enabled=False, **MODES["dark 390"])
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    sign_in(page, shop.reader())
    yield page
    context.close()


def make_key(page: Page, **typed: str) -> str:
    """The text of a new key, from the one page that shows it."""
    page.goto("/purse/keys")
    for label, text in typed.items():
        page.get_by_label(label.replace("_", " ")).fill(text)
    page.get_by_role("button", name="Create key").click()
    text = page.get_by_label("API key", exact=True).input_value()
    assert KEY.fullmatch(text)
    return text


def ask(article: dict[str, Any], text: str) -> httpx.Response:
    return httpx.get(article["json_url"], headers={"Authorization": f"Bearer {text}"}, trust_env=False, timeout=30)


def waiting(article: dict[str, Any], text: str) -> str:
    """Where the person answers a key that had to ask for this article."""
    answer = ask(article, text)
    assert (answer.status_code, answer.json()["error"]) == (402, "approval_required")
    return answer.json()["approve_at"]


def test_a_reader_lets_an_agent_buy_within_limits_and_ends_it(reader: Page, shop: Shop):
    reader.goto("/purse")
    reader.get_by_role("button", name="$5", exact=False).first.click()
    type_card(reader)
    text = make_key(reader, Agent_name="Crow", Ask_for_approval_above="0")
    reader.get_by_role("link", name="I have copied the key").click()
    expect(reader.locator("main")).to_contain_text("Crow")
    assert not KEY.search(reader.content())

    dear, another = shop.article(0), shop.article(1)
    reader.goto(waiting(dear, text))
    reader.get_by_role("button", name="Approve $").click()
    expect(reader.locator("#said")).to_be_focused()
    expect(reader.locator("main")).to_contain_text("The agent buys the article when it next requests it")
    assert ask(dear, text).status_code == 200

    reader.goto("/purse/keys")
    reader.get_by_role("link", name="Change limits of Crow").click()
    reader.get_by_label("Ask for approval above").fill("")
    reader.get_by_label("Maximum per article").fill("0.001")
    reader.get_by_role("button", name="Save").click()
    assert ask(another, text).json()["error"] == "price_above_ceiling"

    reader.get_by_role("link", name="Revoke key").click()
    reader.get_by_role("button", name="Revoke key").click()
    assert ask(dear, text).json()["error"] == "invalid_key"


def test_a_guest_is_sent_to_sign_in_and_comes_back(chromium: Browser, shop: Shop):
    context = chromium.new_context(base_url=shop.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/purse/approvals")
    login = shop.reader()
    page.get_by_label("Email").fill(login["email"])
    page.get_by_label("Password").fill(login["password"])
    page.get_by_role("main").get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Waiting for your approval")
    context.close()


@pytest.mark.parametrize("mode", MODES)
def test_the_pages_please_axe_and_fit(chromium: Browser, shop: Shop, mode: str):
    context = chromium.new_context(base_url=shop.url, **MODES[mode])
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    sign_in(page, shop.reader())
    text = make_key(page, Agent_name="A" * 60, Ask_for_approval_above="0")
    looks(page, mode)
    for address in ("/purse/keys", "/purse/approvals", waiting(shop.article(0), text)):
        page.goto(address)
        looks(page, mode)
    page.goto("/purse/keys")
    # A click does not wait for the page that it opens.
    with page.expect_navigation():
        page.get_by_role("link", name=re.compile("^Change limits of A")).first.click()
    looks(page, mode)
    page.get_by_label("Total budget").fill("ten")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("main")).to_contain_text("Enter an amount in dollars")
    looks(page, mode)
    with page.expect_navigation():
        page.get_by_role("link", name="Revoke key").click()
    looks(page, mode)
    context.close()


def looks(page: Page, mode: str) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, f"{mode} {page.url}: {found.generate_report()}"
    wide, shown = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= shown, f"{mode} {page.url}: {wide} px of {shown}"
