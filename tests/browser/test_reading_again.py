"""What is bought in a browser stays open there, in every format, in the library, and wherever the wallet is."""

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.test_paying import is_open, not_charged, paid_once
from tests.browser.visits import pay_button, sign_in
from tests.browser.wallet import SIGN


def prove(page: Page) -> None:
    page.get_by_role("button", name="I already bought this with").click()


def titles(context: BrowserContext) -> str:
    page = context.new_page()
    page.goto("/library")
    return page.locator("main").inner_text()


def test_after_buying_the_browser_opens_the_article_in_every_format(visits, article, wallet):
    page = visits.open(article["url"], wallet)
    pay_button(page).click()
    is_open(page)
    text = page.locator("#article .prose").inner_text()
    page.reload()
    expect(page.locator("#article")).to_be_visible()
    assert page.locator("#article .prose").inner_text() == text
    assert page.locator("script:not([src*=times])").count() == 0
    for form in ("md_url", "json_url"):
        again = page.context.request.get(article[form])
        assert again.status == 200
        assert len(again.text()) > 2_000
    stranger = visits.context()
    for form in ("url", "md_url", "json_url"):
        assert stranger.request.get(article[form]).status == 402
    assert article["title"] in titles(page.context)


def test_another_browser_opens_the_article_with_the_wallet_that_bought_it(visits, shop, article, wallet):
    page = visits.open(article["url"], wallet)
    pay_button(page).click()
    is_open(page)
    other = visits.open(article["url"], wallet)
    prove(other)
    is_open(other)
    assert "personal_sign" in wallet.calls
    assert wallet.calls.count(SIGN) == 1
    other.reload()
    expect(other.locator("#article")).to_be_visible()
    assert article["title"] in titles(other.context)
    assert paid_once(shop, wallet, article)


def test_a_wallet_that_has_bought_nothing_proves_nothing(visits, shop, article, wallet):
    page = visits.open(article["url"], wallet)
    prove(page)
    expect(page.locator("#pay-status")).to_contain_text("has not bought this article yet. You have not been charged.")
    expect(page.locator("#article")).to_have_count(0)
    wallet.refuses = True
    prove(page)
    expect(page.locator("#pay-status")).to_have_text("You canceled. You have not been charged.")
    assert not_charged(shop, wallet)


def test_the_library_of_a_signed_in_reader_lists_the_purchase_everywhere(visits, shop, wallet):
    article, reader = shop.article(-1), shop.reader()
    page = visits.context(wallet).new_page()
    sign_in(page, reader)
    page.goto(article["url"])
    pay_button(page).click()
    is_open(page)
    elsewhere = visits.context().new_page()
    sign_in(elsewhere, reader)
    elsewhere.goto("/library")
    elsewhere.get_by_role("link", name=article["title"], exact=True).click()
    expect(elsewhere.locator("#article")).to_be_visible()
    assert paid_once(shop, wallet, article)


def test_what_a_browser_bought_moves_into_the_account_and_its_receipt_opens_it_elsewhere(visits, shop, wallet):
    article = shop.article(-2)
    page = visits.open(article["url"], wallet)
    pay_button(page).click()
    is_open(page)
    sign_in(page, shop.reader())
    page.goto("/library")
    page.get_by_role("link", name=f"Receipt for {article['title']}").click()
    line = page.locator("main pre code").first.inner_text()
    expect(page.locator("main")).to_contain_text(wallet.address.lower())
    other = visits.open("/library")
    other.locator("summary", has_text="Have a receipt").click()
    other.get_by_label("Receipt code").fill(line)
    other.get_by_role("button", name="Open article").click()
    expect(other.locator("#article")).to_be_visible()
    assert paid_once(shop, wallet, article)
