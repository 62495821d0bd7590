"""A publisher's day over HTTP: sign up a publication, write, publish, sell, change the price, correct, withdraw."""

import html
import re
import secrets

import httpx
import pytest

from tests.shop import Shop
from tests.wallet import decoded

TEXT = "The free part, for everybody.\n\n<!-- paywall -->\n\nThe paid part, in its {} wording.\n"


class Studio:
    """The sample publisher's browser: fills in the forms that the pages have."""

    def __init__(self, shop: Shop) -> None:
        self.web = httpx.Client(base_url=shop.url, timeout=30, follow_redirects=True, headers={"accept": "text/html"})
        login = shop.line["logins"]["publisher"]
        self.send("/accounts/login/", login=login["email"], password=login["password"])

    def send(self, path: str, to: str = "", **typed: str) -> httpx.Response:
        """Open a page, change some fields of its form, and send all of them."""
        page = self.web.get(path)
        assert page.status_code == 200, (path, page.status_code)
        fields = _fields(page.text) | typed
        answer = self.web.post(to or path, data=fields, headers={"Referer": str(page.url)})
        assert answer.status_code == 200, (path, answer.status_code)
        assert "errorlist" not in answer.text, re.findall(r"errorlist[^<]*<li>([^<]*)", answer.text)
        return answer

    def close(self) -> None:
        self.web.close()


def _fields(page: str) -> dict[str, str]:
    """Every named field of the page's main form with its present value."""
    form = max(re.findall(r"<form.*?</form>", page, re.DOTALL), key=len)
    found = {}
    for tag in re.findall(r"<input[^>]*>", form):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        if "name" in attributes and attributes.get("type") not in ("checkbox", "file", "submit"):
            found[attributes["name"]] = html.unescape(attributes.get("value", ""))
    for name, options in re.findall(r'<select name="(\w+)".*?>(.*?)</select>', form, re.DOTALL):
        values = re.findall(r'<option value="([^"]*)"', options)
        found[name] = next(iter(re.findall(r'value="([^"]*)" selected', options)), values[0])
    for attributes, text in re.findall(r"<textarea([^>]*)>(.*?)</textarea>", form, re.DOTALL):
        name = re.search(r'name="(\w+)"', attributes)
        assert name
        found[name[1]] = html.unescape(text).removeprefix("\r\n").removeprefix("\n")
    return found


@pytest.fixture
def studio(shop: Shop):
    signed_in = Studio(shop)
    yield signed_in
    signed_in.close()


def test_a_publishers_day(shop, studio):
    mark = secrets.token_hex(4)
    studio.send("/studio/publications/new", name=f"Day {mark}")
    base = f"/studio/day-{mark}"
    written = studio.send(
        f"{base}/articles/new",
        title=f"Morning {mark}",
        markdown=TEXT.format("first"),
        people_price="0.30",
        agent_price="0.06",
        then="publish",
    )
    page = str(written.url.path)
    url = f"{shop.url}/articles/morning-{mark}"

    # On sale, at one price for people and another for agents.
    browser = httpx.get(url, headers={"accept": "text/html"})
    assert decoded(browser.headers["PAYMENT-REQUIRED"])["accepts"][0]["amount"] == "300000"
    terms = shop.terms(f"{url}.json")
    assert terms["accepts"][0]["amount"] == "60000"

    # The price changes while an agent holds a quote: the quote is honoured, others are asked the new price.
    early, late = shop.wallet(1_000_000), shop.wallet(1_000_000)
    header = early.pay(terms)
    studio.send(f"{page}/edit", agent_price="0.09")
    assert _soon(lambda: shop.terms(f"{url}.json")["accepts"][0]["amount"] == "90000")
    bought = httpx.get(f"{url}.json", headers={"payment-signature": header}, timeout=30)
    assert (bought.status_code, bought.json()["version"]) == (200, 1)
    assert shop.balance(early.address) == 940_000
    assert shop.buy(late, f"{url}.json").status_code == 200
    assert shop.balance(late.address) == 910_000

    # A correction: both have it, and may look at the text they bought.
    studio.send(f"{page}/edit", markdown=TEXT.format("second"))
    paper = {"payment-receipt": bought.headers["PAYMENT-RECEIPT"]}
    assert "second wording" in httpx.get(f"{url}.md", headers=paper).text
    assert "first wording" in httpx.get(f"{url}.md?version=1", headers=paper).text

    # The publisher sees the sales and the balance.
    sales = studio.web.get(f"{base}/sales").text
    assert "0.06" in sales
    assert "0.09" in sales
    earned = 60_000 + 90_000 - (60_000 * 5 // 100) - (90_000 * 5 // 100)
    assert f"{earned / 1_000_000:.4f}".rstrip("0") in studio.web.get(f"{base}/balance").text

    # Withdrawn: owners read on, nobody else can buy.
    studio.send(page, to=f"{page}/withdraw")
    assert _soon(lambda: httpx.get(f"{url}.json").status_code == 410)
    assert "second wording" in httpx.get(f"{url}.md", headers=paper).text
    fresh = shop.wallet(1_000_000)
    refused = httpx.get(f"{url}.json", headers={"payment-signature": fresh.pay(terms)}, timeout=30)
    assert (refused.status_code, refused.json()["error"], refused.json()["charged"]) == (410, "withdrawn", False)
    assert shop.balance(fresh.address) == 1_000_000
    assert httpx.get(url, headers={"accept": "text/html"} | paper).status_code == 200


def _soon(found) -> bool:
    """A listing may be kept for a second; the notification usually arrives at once."""
    return Shop.wait(found, "the new listing")
