"""The catalogue: one cheap query for every visitor, and the paid text for owners only."""

import uuid

import pytest
from django.db import connection

from publishers.articles import catalogue, writing
from publishers.models import Article
from tests import cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def article():
    return cast.article(cast.publication(cast.person("alice")))


def test_an_article_is_found_in_one_query_that_leaves_the_paid_text_alone(article, django_assert_num_queries):
    with django_assert_num_queries(1) as asked:
        found = catalogue.find("owls")
    assert "body_html" not in asked.captured_queries[0]["sql"]
    assert "markdown" not in asked.captured_queries[0]["sql"]
    assert "canary7731" not in repr(found)
    assert (found.article_id, found.title, found.version) == (article.pk, "Owls", 1)
    assert found.published_at == article.published_at
    assert found.updated_at == article.current_version.made_at


def test_the_query_uses_an_index_for_every_table(article):
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN QUERY PLAN " + catalogue._BY_SLUG, ["owls"])
        plan = [row[3] for row in cursor.fetchall()]
    assert not [step for step in plan if step.startswith("SCAN")]


def test_only_what_is_on_sale_is_found(article):
    assert catalogue.find("nothing") is None
    writing.withdraw(article)
    assert catalogue.find("owls") is None
    assert catalogue.find("owls", include_withdrawn=True).state == "withdrawn"
    text, prices = writing.draft("Draft", cast.TEXT), writing.Prices(1_000, 1_000)
    draft = writing.create_article(article.publication, text, prices, by=None)
    assert catalogue.find("draft", include_withdrawn=True) is None
    assert catalogue.listing(draft.pk).state == "draft"


def test_an_offer_carries_what_payments_needs(article, settings):
    offer = catalogue.find("owls").offer("agents", mime_type="text/markdown")
    assert offer == catalogue.listing(article.pk).offer("agents", mime_type="text/markdown")
    assert offer.resource == f"article:{article.pk}"
    assert offer.payee == f"publisher:{article.publication_id}"
    assert offer.url == f"{settings.BASE_URL}/articles/owls"
    assert (offer.price.audience, offer.price.amount_micros, offer.quotable) == ("agents", 50_000, ())
    assert catalogue.listing(article.pk).offer("people", mime_type="text/html").price.amount_micros == 250_000


def test_a_body_is_given_by_version(article):
    writing.save_version(article, writing.draft("Owls", "New.\n\nText."), by=None, base=1)
    assert catalogue.body(article.pk).version == 2
    assert "canary7731" in catalogue.body(article.pk, 1).html
    assert "<!--" not in catalogue.body(article.pk, 1).markdown
    for number in (0, -1, 3, 2**31, 2**70):
        assert catalogue.body(article.pk, number) is None
    assert catalogue.body(uuid.uuid4()) is None


def test_an_unknown_article_has_no_listing():
    with pytest.raises(Article.DoesNotExist):
        catalogue.listing(uuid.uuid4())


def test_the_shop_window_is_one_query_and_has_both_prices(article, django_assert_num_queries):
    cast.article(article.publication, title="Bats", people=3_000, agents=2_000)
    with django_assert_num_queries(1) as asked:
        shown = [
            (str(a), a.publication.name, a.people_price_micros, a.agent_price_micros) for a in Article.objects.on_sale()
        ]
    assert "body_html" not in asked.captured_queries[0]["sql"]
    assert shown == [("Bats", "The Lantern", 3_000, 2_000), ("Owls", "The Lantern", 250_000, 50_000)]


def test_search_never_looks_into_the_paid_text(article):
    on_sale = Article.objects.on_sale()
    assert list(on_sale.search("owls LANTERN")) == [article]
    assert list(on_sale.search("free")) == [article]
    assert not on_sale.search("canary7731")
    assert not on_sale.search("owls bats")
