"""Visits to the shop in Chromium. Everything the browser complains about, and every host it talks to, is noticed."""

import re
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Route, expect

from dev import code
from tests.browser.wallet import InjectedWallet, inject
from tests.shop import Shop

# A bound for a loaded machine, not a measurement.
PATIENCE_MS = 45_000
LIGHT_WIDE = {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}}
DARK_NARROW = {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}}
MODES = {"light 1280": LIGHT_WIDE, "dark 390": DARK_NARROW}

expect.set_options(timeout=PATIENCE_MS)


@dataclass
class Visits:
    """All browser contexts of one test, and what went wrong in them."""

    browser: Browser
    shop: Shop
    # What the browser may report: a refusal that the test is about. The 402 is ordinary here.
    expected: set[str] = field(default_factory=lambda: {"402"})
    complaints: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)
    # Hosts besides the shop that a test leads to: the card processor's.
    other_hosts: set[str] = field(default_factory=set)

    def context(self, *wallets: InjectedWallet, **options: Any) -> BrowserContext:
        """A new browser profile with these wallets in it."""
        context = self.browser.new_context(base_url=self.shop.url, **options)
        context.set_default_timeout(PATIENCE_MS)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.complaints.append(f"{error.page.url}: {error.error}"))
        context.on("request", self._request)
        if wallets:
            inject(context, list(wallets))
        self.contexts.append(context)
        return context

    def open(self, address: str, *wallets: InjectedWallet, **options: Any) -> Page:
        """This address in a new browser profile."""
        page = self.context(*wallets, **options).new_page()
        page.goto(address)
        return page

    def close(self) -> None:
        for context in self.contexts:
            context.close()

    def _console(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        failed = re.search(r"Failed to load resource: .*?(\d{3}|net::\w+)", message.text)
        if not (failed and failed[1] in self.expected):
            self.complaints.append(f"{message.location.get('url')}: {message.text}")

    def _request(self, request: Request) -> None:
        asked = urlsplit(request.url)
        if asked.scheme != "data" and f"{asked.scheme}://{asked.netloc}" not in {self.shop.url, *self.other_hosts}:
            self.complaints.append(f"a request left the host: {request.url}")


@dataclass
class Line:
    """The line between page and shop: sees every payment that is sent, and fails the first ones as it is told."""

    page: Page
    fails: list[Any] = field(default_factory=list)
    payments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.route("**/articles/**", self._pass)

    def _pass(self, route: Route) -> None:
        payment = route.request.headers.get("payment-signature")
        if payment is None:
            return route.fallback()
        self.payments.append(payment)
        fail = self.fails.pop(0) if self.fails else Route.continue_
        return fail(route)


def refused(status: int, **headers: str) -> Any:
    """The shop never hears of the request; something before it answers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda route: route.fulfill(status=status, headers=named, body="<!doctype html><title>Sorry</title>")


def unheard(route: Route) -> None:
    """The request does not get through."""
    route.abort("connectionrefused")


def settled_but_lost(route: Route) -> None:
    """The shop settles and answers, and nothing of the answer arrives: no text, no cookie."""
    answer = httpx.get(route.request.url, headers=_without_cookies(route.request.headers), timeout=30)
    assert answer.status_code == 200, answer.text[:500]
    route.abort("connectionreset")


def _without_cookies(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in ("cookie", "host")}


def sign_in(page: Page, login: dict[str, str]) -> None:
    page.goto("/accounts/login/")
    page.get_by_label("Email").fill(login["email"])
    page.get_by_label("Password").fill(login["password"])
    page.get_by_role("main").get_by_role("button", name="Sign in", exact=True).click()
    if "authenticator_key" in login:
        # A code signs in once: another test that signs in as staff within half a minute would be refused.
        page.get_by_label("Code").fill(code.at(login["authenticator_key"], time.time()))
        page.get_by_role("main").get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def put_on_sale(page: Page, title: str, *, people: str) -> tuple[str, str]:
    """A new article of whoever is signed in: the addresses of its editor and of itself."""
    page.goto("/studio/")
    if page.locator("main table").count():
        page.locator("main table a").first.click()
    page.get_by_role("link", name="New article").click()
    page.get_by_label("Title").fill(title)
    page.locator("[name=markdown]").fill("Everybody reads this.\n\n<!-- paywall -->\n\nWho has paid reads this.")
    page.locator("[name=people_price]").fill(people)
    page.locator("[name=agent_price]").fill("0.05")
    page.get_by_role("button", name="Save and publish").click()
    address = page.locator("dl.facts a").first.get_attribute("href")
    return f"{page.url}/edit", address or ""


def pay_button(page: Page, name: str = "Test wallet") -> Any:
    return page.get_by_role("button", name=re.compile(rf"^Pay \$[0-9.]+ with {re.escape(name)}$"))
