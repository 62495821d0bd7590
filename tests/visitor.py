"""A browser without scripts at the pages: it opens a page, finds a form there, and sends it as it stands."""

import re
from html.parser import HTMLParser
from typing import Any

import httpx
from django.test import Client

from marketplace.accounts.models import User
from payments.models import Payment, Purse
from publishers.models import Article
from tests import cast

from . import buyers

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
CANARY = "canary7731"


class Forms(HTMLParser):
    """Every form of a page: where it goes, and what each of its buttons would send."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[dict[str, Any]] = []
        self._typing = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.found.append({"action": given.get("action", ""), "fields": {}, "buttons": []})
        elif tag == "input" and self.found and given.get("name") and given.get("type") != "checkbox":
            self.found[-1]["fields"][given["name"]] = given.get("value", "")
        elif tag == "textarea" and self.found and given.get("name"):
            self._typing = given["name"] or ""
        elif tag == "button" and self.found:
            self.found[-1]["buttons"].append({given["name"]: given.get("value", "")} if given.get("name") else {})

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._typing = ""

    def handle_data(self, data: str) -> None:
        if self._typing:
            self.found[-1]["fields"][self._typing] = data


class Visitor:
    """One browser, with its cookies, where a form without its token is refused."""

    def __init__(self, user: User | None = None) -> None:
        self.client = Client(enforce_csrf_checks=True)
        if user:
            self.client.force_login(user)

    def see(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path, headers=HTML)
        assert answer.status_code == status, (path, answer.status_code, answer.headers.get("Location"))
        return answer.content.decode()

    def press(self, path: str, to: str, *, seen: int = 200, tick: str = "", **button: str) -> Any:
        """Open a page, tick a box of the form that goes to `to`, and press its button."""
        page = self.see(path, seen)
        form = next(form for form in Forms(page).found if form["action"] == to and self._has(form, button))
        return self.client.post(to, form["fields"] | ({tick: "1"} if tick else {}) | button)

    @staticmethod
    def _has(form: dict[str, Any], button: dict[str, str]) -> bool:
        return not button or button in form["buttons"]

    def purse(self) -> Purse:
        """The guest's purse of this browser."""
        return Purse.objects.get(owner=f"guest:{self.client.session['guest']}")


def owls(people: int = 250_000, title: str = "Owls") -> Article:
    return cast.article(cast.publication(cast.person("alice")), title, people=people)


def reader(micros: int = 0, **more: Any) -> tuple[Visitor, Purse, User]:
    """Somebody signed in, with so much in the purse."""
    user = cast.person("reader")
    purse = buyers.purse(micros, owner=f"user:{user.pk}", **more)
    return Visitor(user), purse, user


def path(url: str) -> str:
    """The part of an address after the host."""
    return re.sub(r"^https?://[^/]+", "", url)


def paid(url: str, number: str = "4242 4242 4242 4242", email: str = "ada@example.com") -> str:
    """Fill in the hosted page by hand; where it sends the buyer then, on this site."""
    typed = {"number": number, "expiry": "12 / 40", "cvc": "123", "name": "Ada", "email": email}
    answer = httpx.post(url, data=typed)
    assert answer.status_code == 303, answer.text
    return path(answer.headers["Location"])


def bought(micros: int = 1_000_000) -> tuple[Visitor, Purse, Payment, str]:
    """A reader with so much in the purse, who has bought the owls from it; and their address."""
    article = owls()
    visitor, purse, _ = reader(micros)
    address = article.get_absolute_url()
    visitor.press(address, f"{address}/buy", seen=402)
    return visitor, purse, Payment.objects.get(), address
