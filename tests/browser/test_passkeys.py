"""A passkey in Chromium, with the policy in force: made by an account, and then the only thing needed to sign in."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.visits import MODES, PATIENCE_MS
from tests.shop import Shop

DEVICE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture
def page(chromium: Browser, shop: Shop) -> Iterator[Page]:
    context = chromium.new_context(base_url=shop.url, **MODES["light 1280"])
    context.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    context.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page = context.new_page()
    tools = context.new_cdp_session(page)
    tools.send("WebAuthn.enable")
    tools.send("WebAuthn.addVirtualAuthenticator", {"options": DEVICE})
    yield page
    context.close()
    assert complaints == []


def test_a_passkey_is_made_and_signs_in(page: Page, shop: Shop):
    login = shop.reader()
    page.goto("/accounts/login/")
    page.get_by_label("Email").fill(login["email"])
    page.get_by_label("Password", exact=True).fill(login["password"])
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(re.compile("/library"))
    page.goto("/accounts/2fa/webauthn/add/")
    page.get_by_label("Password", exact=True).fill(login["password"])
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Name").fill("My phone")
    page.locator("#id_passwordless").check()
    page.get_by_role("button", name="Add").click()
    page.wait_for_url(re.compile("recovery-codes"))
    page.goto("/accounts/2fa/webauthn/")
    expect(page.get_by_text("My phone")).to_be_visible()

    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("link", name="Sign in", exact=True).click()
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(re.compile("/library"))
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def test_a_failure_says_what_to_do_and_has_the_focus(page: Page, shop: Shop):
    said = page.get_by_role("alert")
    page.goto("/accounts/login/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(said).to_contain_text("this device has none for this site")
    expect(said).to_be_focused()
    page.goto(shop.url.replace("localhost", "127.0.0.1") + "/accounts/login/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(said).to_have_text(
        f"Passkeys need a site with a name, and this address is a number. Open {shop.url} instead."
    )
    for error, words in {
        "InvalidStateError": "already has a passkey",
        "NotSupportedError": "Turn on its screen lock",
        "SecurityError": "only at its own address",
        "TypeError": "Check your connection",
    }.items():
        page.goto("/accounts/login/")
        page.evaluate(
            "name => document.dispatchEvent(new CustomEvent('allauth.error', {cancelable: true, detail: "
            "{tags: ['mfa', 'webauthn'], exception: Object.assign(new Error('x'), {name})}}))",
            error,
        )
        expect(said).to_contain_text(words)
