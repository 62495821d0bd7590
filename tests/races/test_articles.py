"""Many at once at one article. The guard is shown to be needed, then to hold, and not to stop honest others."""

import threading

import pytest
from django.db import IntegrityError, connection

from publishers import pricing
from publishers.articles import catalogue, writing
from publishers.models import Article, PriceVersion, Version
from tests import cast

pytestmark = pytest.mark.django_db(transaction=True)
MANY = 8


def at_once(act):
    """Run `act(n)` in many threads that start together; what each returned or raised."""
    barrier, results = threading.Barrier(MANY), [None] * MANY

    def run(n):
        barrier.wait()
        try:
            results[n] = act(n)
        except Exception as raised:
            results[n] = raised
        connection.close()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(MANY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.fixture
def article():
    return cast.article(cast.publication(cast.person("alice")))


def test_the_race_is_real_without_the_guard_old_texts_win(article):
    """Everybody believes to have read version 1; writing the pointer without asking loses texts silently."""
    text = writing.draft("Naive", cast.TEXT)

    def naive(n):
        Version.objects.create(
            article=Article.objects.get(pk=article.pk),
            number=2 + n,
            title=f"Naive {n}",
            markdown=text.markdown,
            words=1,
            teaser_html="",
            body_html="",
        )

    assert at_once(naive) == [None] * MANY
    assert article.versions.count() == 1 + MANY


def test_of_many_authors_one_is_first_and_the_others_are_told(article):
    texts = [writing.draft(f"Author {n}", cast.TEXT) for n in range(MANY)]
    results = at_once(lambda n: writing.save_version(article, texts[n], by=None, base=1))
    saved = [result for result in results if isinstance(result, Version)]
    assert len(saved) == 1
    assert all(isinstance(result, writing.ChangedMeanwhile) for result in results if result not in saved)
    assert article.versions.count() == 2
    assert catalogue.find(article.slug).title == saved[0].title


def test_of_many_price_changes_one_is_first_and_one_price_is_open(article):
    was = catalogue.find(article.slug).agents.id
    results = at_once(lambda n: pricing.change_price(article, "agents", 60_000 + n, by=None, was=was))
    changed = [result for result in results if isinstance(result, PriceVersion)]
    assert len(changed) == 1
    assert all(isinstance(r, pricing.PriceChangedMeanwhile | IntegrityError) for r in results if r not in changed)
    assert PriceVersion.objects.get(article=article, audience="agents", ends_at=None) == changed[0]


def test_many_articles_of_one_title_all_get_an_address(article):
    text, prices = writing.draft("Same", cast.TEXT), writing.Prices(1_000, 1_000)
    results = at_once(lambda n: writing.create_article(article.publication, text, prices, by=None))
    assert len({result.slug for result in results}) == MANY


def test_publishing_many_times_at_once_publishes_once(article):
    writing.withdraw(article)
    assert sorted(at_once(lambda n: writing.publish(article))) == [False] * (MANY - 1) + [True]
