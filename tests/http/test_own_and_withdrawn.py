"""An article that is not sold to this visitor: the publisher's own, and one that is no longer for sale."""

import re

import pytest
from django.test import Client

from payments.models import Payment
from publishers.articles import writing
from tests import cast
from tests.visitor import CANARY, HTML, Visitor, owls, reader

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("cards_on")]


def test_a_publisher_reads_and_edits_the_own_article_and_is_asked_for_nothing():
    article = owls()
    people = [article.publication.members.get(), cast.editor(article.publication)]
    for person in people:
        visitor = Visitor(person)
        page = visitor.see(article.get_absolute_url(), 402)
        assert "You own this article" in page
        assert "$0.25" not in page
        assert 'id="pay"' not in page
        assert CANARY not in page
        links = dict(re.findall(r'<a[^>]* href="(/studio/[^"]+)">(\w+)', page))
        assert CANARY in visitor.see(next(link for link, name in links.items() if name == "Read"))
        assert CANARY in visitor.see(next(link for link, name in links.items() if name == "Edit"))
    assert not Payment.objects.exists()


def test_everyone_else_sees_the_price():
    article, others = owls(), cast.publication(cast.person("bea"), name="The Other")
    for visitor in (Visitor(), Visitor(cast.person("carol")), Visitor(others.members.get())):
        page = visitor.see(article.get_absolute_url(), 402)
        assert "You own this article" not in page
        assert "$0.25" in page


def test_a_publishers_agents_are_asked_for_the_price_like_all_agents():
    article = owls()
    browser = cast.signed_in(article.publication.members.get())
    assert browser.get(f"{article.get_absolute_url()}.json").json()["error"] == "payment_required"
    assert "PAYMENT-REQUIRED" in browser.get(article.get_absolute_url(), headers=HTML)


def test_a_withdrawn_article_says_what_happened_and_shows_others_of_the_publication():
    article = owls()
    bats = cast.article(article.publication, "Bats")
    writing.withdraw(cast.article(article.publication, "Cats"))
    cast.article(cast.publication(cast.person("bea"), name="The Other"), "Dogs")
    writing.withdraw(article)
    page = Visitor().see(article.get_absolute_url(), 410)
    assert "The Lantern no longer sells this article. You have not been charged." in page
    assert bats.get_absolute_url() in page
    assert "Cats" not in page
    assert "Dogs" not in page
    said = Client().get(f"{article.get_absolute_url()}.json")
    assert said.status_code == 410
    assert said.json()["error"] == "withdrawn"
    assert said.json()["others"] == [{"title": "Bats", "url": bats.url}]
    assert said.json()["documentation"].endswith("/about#agents")
    writing.withdraw(bats)
    assert "All articles" in Visitor().see(article.get_absolute_url(), 410)


def test_who_has_bought_it_reads_on_when_it_is_withdrawn():
    article, (visitor, *_) = owls(), reader(1_000_000)
    address = article.get_absolute_url()
    visitor.press(address, f"{address}/buy", seen=402)
    writing.withdraw(article)
    assert CANARY in visitor.see(address)
    assert address in visitor.see("/library")
