"""An article that is not sold to this visitor: the publisher's own, and one that is no longer for sale."""

import pytest
from django.test import Client

from publishers.articles import writing
from tests import cast
from tests.visitor import CANARY, HTML, Visitor, owls, reader

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("cards_on")]


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
