"""A reader pays by card, reads, and gives an agent an API key: python dev/read.py BASE_URL ARTICLE_URL ARTICLE_URL …

It acts like a browser without scripts: pages, forms and redirects. The reader (READER_EMAIL and READER_PASSWORD in the
environment) tops up with a test card at the first article and reads all but the last. The reader's agent buys the last
one with its API key. The output is one line of JSON with the results.
"""

import json
import os
import re
import sys
from html.parser import HTMLParser
from urllib.parse import urljoin

import requests

_TEST_CARD = {"number": "4242 4242 4242 4242", "expiry": "12/34", "cvc": "123", "name": "A Reader"}
_KEY = re.compile(r"pp_[A-Za-z0-9]{12}_[A-Za-z0-9]{32}")
_HTML = {"Accept": "text/html"}


class Forms(HTMLParser):
    """The forms of a page: each one's action and default values."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append((given.get("action", ""), {}))
        elif tag == "input" and self.found and "name" in given and given.get("type") not in ("checkbox", "radio"):
            self.found[-1][1][given["name"]] = given.get("value", "")


class Reader:
    """One browser."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.update(_HTML)

    def open(self, url: str) -> requests.Response:
        """Get a page."""
        return self.session.get(urljoin(self.base, url), timeout=30)

    def send(self, page: requests.Response, action: str, **values: str) -> requests.Response:
        """Submit the form with this action and these values. Returns the page it leads to."""
        for where, fields in Forms(page.text).found:
            if re.search(action, where):
                address, said = urljoin(page.url, where or page.url), {**fields, **values}
                return self.session.post(address, said, headers={"Referer": page.url}, timeout=30)
        raise SystemExit(f"{page.url} ({page.status_code}) has no form for {action}.\n{page.text[:500]}")


def main(base: str, *articles: str) -> int:
    """Read all but the last article, and have an agent buy that one. Returns 0 if all were delivered, else 1."""
    reader = Reader(base)
    email, password = os.environ["READER_EMAIL"], os.environ["READER_PASSWORD"]
    reader.send(reader.open("/accounts/login/"), "/accounts/login/$", login=email, password=password)
    first, *others = articles[:-1]
    hosted = reader.send(reader.open(first), "/pay$", amount="500")
    page = reader.send(hosted, "", **_TEST_CARD, email=email)
    read = [_opened(page)]
    for url in others:
        read.append(_opened(reader.send(reader.open(url), "/buy$")))
    made = reader.send(reader.open("/purse/keys"), "/keys$|^$", name="My research assistant", budget="2.00")
    key = _KEY.search(made.text)
    agent = requests.Session()
    agent.trust_env = False
    agent.headers["Authorization"] = f"Bearer {key[0] if key else ''}"
    bought = agent.get(articles[-1], timeout=30)
    asked = agent.get(f"{base}/api/purse", timeout=30)
    said = {
        "read": read,
        "agent": {"url": articles[-1], "status": bought.status_code, "text": bought.text[:300]},
        "purse": asked.json() if asked.ok else {},
    }
    print(json.dumps(said))
    return 0 if all(read) and bought.ok else 1


def _opened(page: requests.Response) -> str:
    """The title of an open article, or empty if the page shows none."""
    title = re.search(r"<h1[^>]*>(.*?)</h1>", page.text, re.DOTALL)
    opened = page.status_code == 200 and 'id="article"' in page.text
    return re.sub(r"<[^>]+>", "", title[1]).strip() if title and opened else ""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
