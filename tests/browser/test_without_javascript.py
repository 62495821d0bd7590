"""Everything but the wallet works with JavaScript switched off."""

from playwright.sync_api import expect

from tests.browser.visits import sign_in

TEXT = "Owls hear in three dimensions.\n\n<!-- paywall -->\n\nThe left ear is lower than the right one."
SECRET = "The left ear is lower"


def test_a_publisher_signs_in_writes_and_publishes_and_a_reader_meets_the_paywall(visits, shop):
    page = visits.context(java_script_enabled=False).new_page()
    sign_in(page, shop.line["logins"]["publisher"])
    page.goto("/studio/publications/new")
    page.get_by_label("Name").fill("Without Scripts")
    page.locator("main").get_by_role("button").first.click()
    page.get_by_role("link", name="Write your first article").click()
    page.get_by_label("Title").fill("Ears of owls")
    page.locator("[name=markdown]").fill(TEXT)
    page.locator("[name=people_price]").fill("0.30")
    page.locator("[name=agent_price]").fill("2")
    page.get_by_role("button", name="Save draft").click()
    expect(page.locator("main")).to_contain_text("official x402 clients")
    page.get_by_role("link", name="Edit text and prices").click()
    page.locator("[name=agent_price]").fill("0.05")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("button", name="Publish").click()
    address = page.locator("dl.facts a").first.get_attribute("href")
    page.get_by_role("button", name="Sign out").click()

    reader = visits.context(java_script_enabled=False).new_page()
    reader.goto("/?q=owls")
    reader.get_by_role("link", name="Ears of owls").click()
    assert reader.url == address
    main = reader.locator("main")
    expect(main).to_contain_text("Owls hear in three dimensions.")
    expect(main).to_contain_text("$0.30")
    expect(reader.locator("#no-wallet noscript")).to_be_visible()
    assert "Paying with a wallet requires JavaScript" in reader.locator("#no-wallet").inner_html()
    assert SECRET not in reader.content()
    reader.get_by_text("For agents", exact=True).first.click()
    expect(reader.get_by_role("link", name="Markdown")).to_be_visible()


def test_what_an_agent_bought_opens_here_with_its_receipt(visits, shop, article):
    bought = shop.buy(shop.wallet(), article["json_url"])
    page = visits.open("/library", java_script_enabled=False)
    page.locator("summary", has_text="Have a receipt").click()
    page.get_by_label("Receipt code").fill(bought.headers["PAYMENT-RECEIPT"])
    page.get_by_role("button", name="Open article").click()
    expect(page.locator("#article")).to_be_visible()
    page.goto("/library")
    page.get_by_role("link", name=f"Receipt for {article['title']}").click()
    expect(page.get_by_role("heading", name=article["title"])).to_be_visible()
