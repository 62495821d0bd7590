"""Texts: added to and never changed; two authors at once lose no word."""

import pytest
from django.db import IntegrityError, transaction

from publishers import pricing
from publishers.articles import catalogue, writing
from publishers.models import Article, Version
from tests import cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice():
    return cast.person("alice")


@pytest.fixture
def article(alice):
    return cast.article(cast.publication(alice))


def test_editing_makes_a_new_version_and_keeps_the_old_one(article, alice):
    writing.save_version(article, writing.draft("Owls again", "Shorter.\n\nBut paid for."), by=alice, base=1)
    article.refresh_from_db()
    assert (article.current_version.number, article.current_version.made_by) == (2, alice)
    assert "canary7731" in catalogue.body(article.pk, 1).html
    assert "canary7731" not in catalogue.body(article.pk).html
    assert catalogue.find(article.slug).title == "Owls again"


def test_saving_the_same_text_makes_no_version(article):
    again = writing.draft("Owls", cast.TEXT)
    assert writing.save_version(article, again, by=None, base=1).number == 1


def test_whoever_saves_second_is_told_and_writes_nothing(article):
    writing.save_version(article, writing.draft("First", "One.\n\nTwo."), by=None, base=1)
    with pytest.raises(writing.ChangedMeanwhile):
        writing.save_version(article, writing.draft("Second", "One.\n\nThree."), by=None, base=1)
    assert article.versions.count() == 2


def test_the_database_gives_a_number_once(article):
    text = writing.draft("First", "One.\n\nTwo.")
    with pytest.raises(IntegrityError), transaction.atomic():
        writing._add_version(article, text, number=1, by=None)


def test_a_base_nobody_ever_saved_is_a_conflict(article):
    with pytest.raises(writing.ChangedMeanwhile):
        writing.save_version(article, writing.draft("A", "One.\n\nTwo."), by=None, base=7)


def test_text_and_prices_are_saved_together_or_not_at_all(article):
    prices = pricing.open_prices(article)
    was = (1, prices["people"].pk, 999_999)
    with pytest.raises(pricing.PriceChangedMeanwhile):
        writing.revise(
            article,
            writing.draft("A", "One.\n\nTwo."),
            writing.Prices(1_000, 2_000),
            by=None,
            opened=writing.Opened(*was),
        )
    assert article.versions.count() == 1
    assert catalogue.find(article.slug).people.amount_micros == 250_000


def test_a_version_is_never_saved_again(article):
    version = article.current_version
    version.title = "Changed"
    with pytest.raises(TypeError):
        version.save()


def test_two_articles_of_one_title_get_two_addresses(article):
    other = cast.article(article.publication)
    assert (article.slug, other.slug) == ("owls", "owls-2")


def test_a_title_without_latin_letters_gets_an_address(article):
    assert cast.article(article.publication, title="梟").slug == "article"


def test_an_address_made_from_a_title_is_letters_digits_and_hyphens(article):
    assert cast.article(article.publication, title="Snake_case: __init__ & Ünïcode").slug == "snake-case-init-unicode"


def test_a_wanted_address_that_is_taken_is_refused(article):
    text, prices = writing.draft("B", cast.TEXT), writing.Prices(1_000, 1_000)
    with pytest.raises(writing.SlugTaken):
        writing.create_article(article.publication, text, prices, by=None, slug="owls")
    assert Article.objects.count() == 1
    assert Version.objects.count() == 1


def test_an_article_that_was_on_sale_keeps_its_address(article):
    writing.move(article, "elsewhere")
    article.refresh_from_db()
    assert article.slug == "owls"


def test_publishing_twice_publishes_once_and_keeps_the_first_date(article):
    first = article.published_at
    assert not writing.publish(article)
    assert writing.withdraw(article)
    assert not writing.withdraw(article)
    assert writing.publish(article)
    article.refresh_from_db()
    assert article.published_at == first


def test_the_database_refuses_an_article_on_sale_without_a_text(article):
    with pytest.raises(IntegrityError), transaction.atomic():
        Article.objects.create(publication=article.publication, slug="empty", state=Article.PUBLISHED)
