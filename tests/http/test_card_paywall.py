"""The paywall for people with cards: what it offers, and buying from a balance, without any script."""

import uuid

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from marketplace.reader import card_pages
from marketplace.shop import listings
from payments import quotes, waiters
from payments.models import Purse
from publishers import pricing
from publishers.articles import catalogue, writing
from tests.buyers import balance
from tests.visitor import CANARY, HTML, Forms, Visitor, owls, reader

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def test_the_paywall_asks_for_a_card_first_and_then_a_wallet():
    article = owls()
    page = Visitor().see(article.get_absolute_url(), 402)
    assert page.index('id="by-card"') < page.index('id="wallets"')
    assert [button for form in Forms(page).found if form["action"].endswith("/pay") for button in form["buttons"]] == [
        {"amount": "500"}, {"amount": "1000"}, {"amount": "2000"},
    ]  # fmt: skip
    assert len(page.encode()) <= 30_000
    assert CANARY not in page


@pytest.mark.parametrize(
    ("price", "buttons"),
    [
        (50_000, ["500", "1000", "2000"]),
        (2_999_999, ["500", "1000", "2000", "direct"]),
        (3_000_000, ["500", "1000", "2000", "direct"]),
        (7_000_000, ["1000", "2000", "direct"]),
        (50_000_000, ["direct"]),
    ],
)
def test_only_amounts_that_cover_the_price_are_offered(price, buttons):
    page = Visitor().see(owls(price).get_absolute_url(), 402)
    form = next(form for form in Forms(page).found if form["action"].endswith("/pay"))
    assert [button["amount"] for button in form["buttons"]] == buttons


def test_without_a_processor_nothing_of_it_is_there(settings):
    settings.STRIPE_SECRET_KEY = ""
    article = owls()
    page = Visitor().see(article.get_absolute_url(), 402)
    assert "by-card" not in page
    assert "csrfmiddlewaretoken" not in page
    visitor, _, _ = reader(5_000_000)
    assert "Balance" not in visitor.see("/library")
    for address in ("/purse", f"/purse/return/{uuid.uuid4()}"):
        visitor.see(address, 404)
    for address in (f"{article.get_absolute_url()}/buy", f"{article.get_absolute_url()}/pay", "/webhooks/stripe"):
        assert Client().post(address).status_code == 404


def test_a_stranger_costs_no_query_and_an_agent_gets_no_cookie(monkeypatch):
    monkeypatch.setattr(waiters, "generation", lambda: 1)
    monkeypatch.setattr(listings, "_SECONDS", 60.0)
    address = owls().get_absolute_url()
    Client().get(address, headers=HTML)
    with CaptureQueriesContext(connection) as seen:
        page = Client().get(address, headers=HTML)
        machine = Client().get(f"{address}.json")
        Client().get(f"{address}.md")
    assert len(seen) == 0
    assert set(page.cookies) == {"csrftoken"}
    assert not machine.cookies
    assert page["Cache-Control"] == "no-store"
    assert {"Accept", "Cookie"} <= {word.strip() for word in page["Vary"].split(",")}


def test_the_page_and_the_terms_promise_one_quote(settings):
    settings.CHAIN_RPC_URL, settings.PAY_TO = "http://127.0.0.1:9", "0x" + "ab" * 20
    page = Visitor().see(owls().get_absolute_url(), 402)
    form = next(form for form in Forms(page).found if form["action"].endswith("/pay"))
    assert page.count(form["fields"]["quote"]) == 2


def test_a_reader_buys_from_the_balance_and_reads():
    article = owls()
    visitor, purse, _ = reader(1_000_000)
    address = article.get_absolute_url()
    assert "Buy for $0.25 from your balance ($1.00)" in visitor.see(address, 402)
    answer = visitor.press(address, f"{address}/buy", seen=402)
    assert (answer.status_code, answer["Location"]) == (303, f"{address}#article")
    page = visitor.see(address)
    assert CANARY in page
    assert balance(purse) == 750_000
    assert "Owls" in visitor.see("/library")
    assert "In your library" in visitor.see("/")


def test_buying_twice_costs_once():
    article = owls()
    visitor, purse, _ = reader(1_000_000)
    address = article.get_absolute_url()
    form = next(form for form in Forms(visitor.see(address, 402)).found if form["action"].endswith("/buy"))
    for _ in range(3):
        assert visitor.client.post(form["action"], form["fields"]).status_code == 303
    assert balance(purse) == 750_000


def test_a_tab_that_reaches_is_offered_as_one():
    article = owls()
    visitor, purse, _ = reader(tab=3_000_000)
    address = article.get_absolute_url()
    assert "Buy for $0.25 on your tab" in visitor.see(address, 402)
    visitor.press(address, f"{address}/buy", seen=402)
    assert balance(purse) == -250_000


def test_nothing_is_bought_without_the_sites_own_form():
    article = owls()
    visitor, purse, _ = reader(1_000_000)
    address = f"{article.get_absolute_url()}/buy"
    quote = quotes.issue(catalogue.listing(article.pk).offer("people", mime_type="text/html")).token
    assert visitor.client.post(address, {"quote": quote}).status_code == 403
    assert visitor.client.get(address, headers=HTML).status_code == 303
    assert visitor.client.head(address, headers=HTML).status_code == 303
    assert balance(purse) == 1_000_000
    Client().post(f"{article.get_absolute_url()}/pay", {"amount": "500"})
    assert Purse.objects.count() == 1


def test_the_price_on_the_page_is_the_price_that_is_paid():
    article = owls()
    visitor, purse, _ = reader(5_000_000)
    address = article.get_absolute_url()
    form = next(form for form in Forms(visitor.see(address, 402)).found if form["action"].endswith("/buy"))
    now = article.prices.get(audience="people", ends_at=None)
    pricing.change_price(article, "people", 4_000_000, by=None, was=now.pk)
    visitor.client.post(form["action"], form["fields"])
    assert CANARY in visitor.see(address)
    assert balance(purse) == 4_750_000


@pytest.mark.parametrize("quote", ["", "nonsense", "another"])
def test_a_price_that_was_not_shown_is_not_paid(quote):
    article, other = owls(), owls(title="Bats")
    visitor, purse, _ = reader(5_000_000)
    address = article.get_absolute_url()
    form = next(form for form in Forms(visitor.see(address, 402)).found if form["action"].endswith("/buy"))
    if quote == "another":
        quote = quotes.issue(catalogue.listing(other.pk).offer("people", mime_type="text/html")).token
    answer = visitor.client.post(form["action"], form["fields"] | {"quote": quote}, follow=True, headers=HTML)
    assert "You have not been charged." in answer.content.decode()
    assert balance(purse) == 5_000_000


def test_an_expired_price_is_shown_anew(settings):
    article = owls()
    visitor, purse, _ = reader(5_000_000)
    settings.QUOTE_SECONDS = -1
    address = article.get_absolute_url()
    for action, button in ((f"{address}/buy", {}),):
        answer = visitor.press(address, action, seen=402, **button)
        assert answer.status_code == 303
        page = visitor.see(address, 402)
        assert "expired" in page
        assert "You have not been charged." in page
    assert balance(purse) == 5_000_000


@pytest.mark.parametrize(
    ("flag", "words"), [("past_due", "Pay what you owe"), ("dispute", "frozen"), ("fraud", "frozen")]
)
def test_a_flagged_purse_explains_and_sells_nothing(flag, words):
    article = owls()
    visitor, purse, _ = reader(5_000_000)
    Purse.objects.filter(pk=purse.pk).update(flag=flag)
    page = visitor.see(article.get_absolute_url(), 402)
    assert words in page
    assert 'href="/purse"' in page
    assert not [form for form in Forms(page).found if form["action"].startswith("/articles/")]
    assert words in visitor.see("/purse")


def test_what_is_no_longer_sold_cannot_be_bought():
    article = owls()
    visitor, purse, _ = reader(1_000_000)
    address = article.get_absolute_url()
    form = next(form for form in Forms(visitor.see(address, 402)).found if form["action"].endswith("/buy"))
    writing.withdraw(article)
    assert visitor.client.post(form["action"], form["fields"]).status_code == 404
    assert visitor.client.post(f"{address}/pay", form["fields"] | {"amount": "500"}).status_code == 404
    assert balance(purse) == 1_000_000


def test_the_amounts_on_offer_are_those_that_cover():
    assert card_pages.topup_amounts(5_000_001) == [(1000, "$10.00"), (2000, "$20.00")]
