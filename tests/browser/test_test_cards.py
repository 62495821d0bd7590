"""The processor's test cards on the hosted page, in Chromium: declined, asked by the bank, saved and declined later."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_card_purchases import type_card
from tests.browser.visits import Visits, sign_in
from tests.shop import Shop


def bought(page: Page, url: str) -> None:
    """Back from the hosted page, at the open article."""
    expect(page.locator("#article")).to_be_visible()
    assert page.url == f"{url}#article"


def at_the_card_page(visits: Visits, shop: Shop, number: int) -> tuple[Page, str]:
    """A new guest who has pressed the first amount."""
    # The simulator is another host, and says no with the status a card processor uses.
    visits.other_hosts.add(shop.line["processor"]["url"])
    url = shop.article(number)["url"]
    page = visits.open(url)
    page.get_by_role("button", name="Top up $5").click()
    return page, url


def test_a_declined_card_says_so_and_another_one_pays_on_the_same_page(visits: Visits, shop: Shop):
    page, url = at_the_card_page(visits, shop, 6)
    type_card(page, "4000 0000 0000 0002")
    expect(page.get_by_role("alert")).to_contain_text("declined")
    type_card(page)
    bought(page, url)


@pytest.mark.parametrize("card", ["4000 0025 0000 3155", "4000 0027 6000 3184"])
def test_a_bank_that_asks_is_answered(visits: Visits, shop: Shop, card: str):
    page, url = at_the_card_page(visits, shop, 7)
    type_card(page, card)
    page.get_by_role("button", name="Complete").click()
    bought(page, url)


def test_a_bank_that_is_refused_charges_nothing_and_may_be_answered_again(visits: Visits, shop: Shop):
    page, url = at_the_card_page(visits, shop, 8)
    type_card(page, "4000 0027 6000 3184")
    page.get_by_role("button", name="Fail").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_role("link", name=re.compile("Cancel|Back", re.IGNORECASE)).first.click()
    expect(page.get_by_role("button", name="Top up $5")).to_be_visible()
    assert page.url == f"{url}#said"
    expect(page.get_by_text("You left the card page without paying.")).to_be_in_viewport()
    page.get_by_role("button", name="Top up $5").click()
    type_card(page, "4000 0027 6000 3184")
    page.get_by_role("button", name="Complete").click()
    bought(page, url)


def test_no_money_behind_the_banks_yes_is_a_decline(visits: Visits, shop: Shop):
    page, _ = at_the_card_page(visits, shop, 9)
    type_card(page, "4000 0082 6000 3178")
    page.get_by_role("button", name="Complete").click()
    expect(page.get_by_role("alert")).to_contain_text("insufficient funds")


def test_a_card_that_was_saved_and_is_declined_later_waits_for_another(visits: Visits, shop: Shop):
    visits.other_hosts.add(shop.line["processor"]["url"])
    page = visits.context().new_page()
    sign_in(page, shop.reader())
    page.goto("/purse")
    page.get_by_role("button", name=re.compile("^Save a")).click()
    type_card(page, "4000 0000 0000 0341")
    expect(page.get_by_text("Your card is saved.")).to_be_visible()
    page.get_by_role("button", name="Open a tab").click()
    expect(page.get_by_text("Your tab is open.")).to_be_visible()
    for article in shop.line["articles"]:
        page.goto(article["url"])
        button = page.get_by_role("button", name="on your tab")
        if button.count():
            button.click()
            bought(page, article["url"])
    page.goto("/purse")
    page.get_by_role("button", name=re.compile(r"^Pay \$")).click()
    expect(page.get_by_text("We could not charge your tab.").first).to_be_visible()
    page.get_by_role("button", name=re.compile("^Save a")).click()
    type_card(page)
    page.goto("/purse")
    expect(page.get_by_role("button", name=re.compile(r"^Pay \$"))).to_have_count(0)
    expect(page.get_by_text("We could not charge your tab.")).to_have_count(0)
