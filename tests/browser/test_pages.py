"""Every page in both colours and both widths: axe finds nothing, nothing scrolls sideways, the policy holds."""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.browser.test_paying import is_open
from tests.browser.visits import MODES, Visits, pay_button, sign_in
from tests.browser.wallet import InjectedWallet
from tests.shop import Shop

WHO = {"nobody": None, "buyer": "reader", "publisher": "publisher", "admin": "admin"}
PAGES = {
    "home": "nobody",
    "search": "nobody",
    "publication": "nobody",
    "paywall": "nobody",
    "about": "nobody",
    "login": "nobody",
    "signup": "nobody",
    "forgotten password": "nobody",
    "empty library": "nobody",
    "not found": "nobody",
    "unlocked article": "buyer",
    "library": "buyer",
    "receipt": "buyer",
    "account": "buyer",
    "studio": "publisher",
    "studio home": "publisher",
    "article list": "publisher",
    "studio article": "publisher",
    "editor": "publisher",
    "new publication": "publisher",
    "editor of an article": "publisher",
    "version": "publisher",
    "preview": "publisher",
    "sales": "publisher",
    "sale": "publisher",
    "balance": "publisher",
    "settings": "publisher",
    "earnings": "admin",
}
ADMIN = ["/admin/", "/admin/payments/payment/", "/admin/payments/grant/", "/admin/publishers/article/"]


@dataclass
class Tour:
    """The addresses of the pages, and a browser profile for everybody who may see them."""

    visits: Visits
    wallet: InjectedWallet
    article: dict[str, Any]
    seen: dict[tuple[str, str, bool], Page] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)

    def begin(self) -> None:
        """Everybody signs in, one article is bought, and the addresses are read from the pages."""
        for who, role in WHO.items():
            page = self.visits.context(self.wallet).new_page()
            if role:
                sign_in(page, self.visits.shop.line["logins"][role])
            getattr(self, f"_{who}")(page)
            self.state[who] = page.context.storage_state()

    def page(self, name: str, mode: str, bypass_csp: bool) -> Page:
        """That page, seen by the one it is for."""
        key = (PAGES[name], mode, bypass_csp)
        if key not in self.seen:
            options = {**MODES[mode], "bypass_csp": bypass_csp, "storage_state": self.state[PAGES[name]]}
            self.seen[key] = self.visits.context(self.wallet, **options).new_page()
        page, address = self.seen[key], self.addresses[name]
        answer = page.goto(address)
        # Not the sign-in page, and not a page that says sorry.
        assert answer.status == {"paywall": 402, "not found": 404}.get(name, 200)
        assert page.url == urljoin(self.visits.shop.url, address)
        return page

    def _nobody(self, page: Page) -> None:
        self.addresses |= {"home": "/", "search": "/?q=the", "about": "/about", "not found": "/nothing"}
        self.addresses |= {"login": "/accounts/login/", "signup": "/accounts/signup/", "empty library": "/library"}
        self.addresses["forgotten password"] = "/accounts/password/reset/"
        self.addresses["paywall"] = self.article["url"]
        page.goto(self.article["url"])
        self.addresses["publication"] = page.locator(".kicker a").first.get_attribute("href")

    def _buyer(self, page: Page) -> None:
        page.goto(self.article["url"])
        pay_button(page).click()
        is_open(page)
        page.goto("/library")
        receipt = page.get_by_role("link", name="Receipt").first.get_attribute("href")
        self.addresses |= {"unlocked article": self.article["url"], "library": "/library", "receipt": receipt}
        self.addresses["account"] = "/accounts/email/"

    def _publisher(self, page: Page) -> None:
        studio = self.addresses["publication"].replace("/publications/", "/studio/")
        rooms = {"article list": "articles", "editor": "articles/new", "sales": "sales", "balance": "balance"}
        self.addresses |= {name: f"{studio}/{room}" for name, room in rooms.items()}
        self.addresses |= {"studio": "/studio/", "studio home": studio, "settings": f"{studio}/settings"}
        self.addresses["new publication"] = "/studio/publications/new"
        page.goto(self.addresses["article list"])
        link = page.get_by_role("link", name=self.article["title"], exact=True).first
        self.addresses["studio article"] = link.get_attribute("href")
        self.addresses["editor of an article"] = f"{self.addresses['studio article']}/edit"
        self.addresses["version"] = f"{self.addresses['studio article']}/versions/1"
        page.goto(self.addresses["studio article"])
        preview = page.get_by_role("region", name="Preview as").get_by_role("link").first
        self.addresses["preview"] = preview.get_attribute("href")
        page.goto(self.addresses["sales"])
        self.addresses["sale"] = page.locator("tbody a").first.get_attribute("href")

    def _admin(self, page: Page) -> None:
        self.addresses["earnings"] = "/finance/earnings"


@pytest.fixture(scope="module")
def tour(chromium: Browser, shop: Shop, article: dict[str, Any]):
    """One browser profile per person and mode for the whole tour: signing in is not what these tests are about."""
    visits = Visits(chromium, shop, expected={"402", "404"})
    made = Tour(visits, InjectedWallet(shop, shop.wallet()), article)
    made.begin()
    yield made
    visits.close()


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_and_nothing_scrolls_sideways(tour, name):
    for mode in MODES:
        page = tour.page(name, mode, bypass_csp=True)
        found = Axe().run(page)
        assert found.violations_count == 0, f"{mode}: {found.generate_report()}"
        wide, shown = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= shown, f"{mode}: {wide} px of {shown}"


def test_no_page_is_at_odds_with_its_own_policy_or_asks_another_host(tour):
    """With the policy in force, unlike above. Every message of the console counts, and every request."""
    for name in PAGES:
        page = tour.page(name, "light 1280", bypass_csp=False)
        assert page.locator("style, script:not([src]):not([type='application/json'])").count() == 0, name
        assert page.locator("[style], [onclick], [onsubmit], [onload]").count() == 0, name
    boss = tour.page("earnings", "light 1280", bypass_csp=False)
    for address in ADMIN:
        assert boss.goto(address).status == 200
    assert tour.visits.complaints == []


def test_the_policy_stops_what_it_should(visits, article):
    """The proof that the tests above would notice: a script in the page is refused, and the refusal is heard."""
    page = visits.open(article["url"])
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {textContent: 'broken = 1'}))")
    page.evaluate("fetch('https://elsewhere.example/').catch(() => 0)")
    assert page.evaluate("window.broken") is None
    complaints = [visits.complaints.pop() for _ in visits.complaints[:]]
    assert any("script-src" in one for one in complaints), complaints
    assert any("connect-src" in one for one in complaints), complaints


def test_a_paywall_has_at_most_30_kb_and_its_script_8(shop):
    for article in shop.line["articles"]:
        answer = shop.http.get(article["url"], headers={"Accept": "text/html"})
        assert answer.status_code == 402
        assert len(answer.content) <= 30 * 1024, article["url"]
    scripts = re.findall(r'<script type="module" src="([^"]+)"', answer.text)
    assert len(scripts) == 1
    assert len(shop.http.get(scripts[0]).content) <= 8 * 1024


def test_the_tour_knows_every_page_that_the_studio_links_to(tour):
    """A page that is added to the studio's tabs is looked at, too."""
    page = tour.page("studio home", "light 1280", bypass_csp=False)
    tabs = page.locator("nav.tabs a").evaluate_all("all => all.map((one) => one.getAttribute('href'))")
    assert len(tabs) >= 4
    assert set(tabs) <= set(tour.addresses.values())
    assert set(PAGES) == set(tour.addresses)
