"""Prices: strict in, bounded by the database, closed and opened and never changed."""

import contextlib
import datetime

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.utils import DatabaseError
from django.utils import timezone

from publishers import pricing
from publishers.articles import catalogue
from publishers.models import PriceVersion
from tests import cast

pytestmark = pytest.mark.django_db

HOSTILE = ["-1", "0", "0.0009", "NaN", "1e-30", "1e400", "Infinity", str(2**63), str(2**64), str(2**256), "50.000001"]
HOSTILE += ["", " ", "0,05", "٠٫٠٥", "0.0500001", "1_000", "0x10", "$1", "+1", "1.", ".5", "1 000"]


@pytest.fixture
def article():
    return cast.article(cast.publication(cast.person("alice")))


def price_of(article, audience="agents"):
    return PriceVersion.objects.get(article=article, audience=audience, ends_at=None)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_price_that_is_not_a_plain_number_within_bounds_is_refused_with_a_sentence(text):
    with pytest.raises(ValueError, match=r"\.$"):
        pricing.parse_price(text)


@pytest.mark.parametrize(
    ("text", "micros"), [("0.001", 1_000), ("50", 50_000_000), ("50.0", 50_000_000), (" 0.05 ", 50_000)]
)
def test_the_bounds_themselves_are_prices(text, micros):
    assert pricing.parse_price(text) == micros


@pytest.mark.parametrize("amount", [-1, 0, 999, 50_000_001, 2**62, "NaN", "abc", 999.4, None, str(2**256)])
def test_the_database_refuses_a_hostile_price_from_raw_sql(article, amount):
    before = PriceVersion.objects.count()
    insert = (
        "INSERT INTO publishers_priceversion (article_id, audience, amount_micros, starts_at, ends_at) "
        "VALUES (%s, 'agents', %s, %s, %s)"
    )
    now = timezone.now()
    key = article.pk if connection.vendor == "postgresql" else article.pk.hex
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(insert, [key, amount, now, now])
    assert PriceVersion.objects.count() == before


def test_no_database_keeps_a_fraction_of_a_micro(article):
    # SQLite refuses it by constraint; PostgreSQL rounds before it looks.
    with contextlib.suppress(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE publishers_priceversion SET amount_micros = 1000.5")
    with connection.cursor() as cursor:
        cursor.execute("SELECT amount_micros FROM publishers_priceversion")
        assert all(type(amount) is int for (amount,) in cursor.fetchall())


def test_the_database_refuses_a_second_open_price(article):
    with pytest.raises(IntegrityError), transaction.atomic():
        PriceVersion.objects.create(article=article, audience="agents", amount_micros=60_000)


def test_the_database_refuses_an_audience_nobody_knows(article):
    with pytest.raises(IntegrityError), transaction.atomic():
        PriceVersion.objects.create(article=article, audience="robots", amount_micros=60_000)


def test_a_price_version_is_never_saved_again(article):
    price = price_of(article)
    price.amount_micros = 1_000
    with pytest.raises(TypeError):
        price.save()


def test_changing_a_price_closes_one_and_opens_the_next(article):
    old = price_of(article)
    new = pricing.change_price(article, "agents", 70_000, by=None, was=old.pk)
    old.refresh_from_db()
    assert (old.amount_micros, old.ends_at) == (50_000, new.starts_at)
    assert price_of(article) == new
    assert catalogue.find(article.slug).agents.amount_micros == 70_000
    assert catalogue.find(article.slug).people.amount_micros == 250_000


def test_the_same_amount_changes_nothing(article):
    old = price_of(article)
    assert pricing.change_price(article, "agents", 50_000, by=None, was=old.pk) == old
    assert article.prices.count() == 2


def test_whoever_changes_a_price_second_is_told_and_writes_nothing(article):
    old = price_of(article)
    pricing.change_price(article, "agents", 70_000, by=None, was=old.pk)
    with pytest.raises(pricing.PriceChangedMeanwhile):
        pricing.change_price(article, "agents", 80_000, by=None, was=old.pk)
    assert price_of(article).amount_micros == 70_000


def test_a_price_out_of_bounds_leaves_the_old_one_open(article):
    old = price_of(article)
    with pytest.raises(IntegrityError), transaction.atomic():
        pricing.change_price(article, "agents", 999, by=None, was=old.pk)
    assert price_of(article) == old


def test_a_price_of_another_article_cannot_be_closed(article):
    other = cast.article(article.publication, title="Another")
    with pytest.raises(pricing.PriceChangedMeanwhile):
        pricing.change_price(article, "agents", 70_000, by=None, was=price_of(other).pk)
    assert price_of(other).ends_at is None


def test_a_price_started_by_a_clock_that_is_ahead_can_be_closed(article):
    old = price_of(article)
    PriceVersion.objects.filter(pk=old.pk).update(starts_at=timezone.now() + datetime.timedelta(minutes=1))
    pricing.change_price(article, "agents", 70_000, by=None, was=old.pk)
    assert price_of(article).amount_micros == 70_000


def test_a_quote_can_still_name_every_price_of_the_last_quarter_of_an_hour(article, settings):
    old = price_of(article)
    pricing.change_price(article, "agents", 70_000, by=None, was=old.pk)
    offer = catalogue.listing(article.pk).offer("people", mime_type="text/html", with_quotable=True)
    assert {price.amount_micros for price in offer.quotable} == {50_000, 70_000, 250_000}
    past = timezone.now() - datetime.timedelta(seconds=settings.QUOTE_SECONDS + 1)
    PriceVersion.objects.filter(pk=old.pk).update(starts_at=past, ends_at=past)
    offer = catalogue.listing(article.pk).offer("people", mime_type="text/html", with_quotable=True)
    assert {price.amount_micros for price in offer.quotable} == {70_000, 250_000}


def test_the_publisher_is_told_what_the_prices_mean():
    assert pricing.warnings(1_000_000, 1_000_000) == []
    assert "1.00 USD" in pricing.warnings(1_000_001, 1_000_001)[0]
    assert "people can ask the way agents do" in pricing.warnings(250_000, 50_000)[0]
    assert "agents can ask the way people do and pay 0.05 USD" in pricing.warnings(50_000, 250_000)[0]


def test_what_is_kept_and_the_fee_make_the_price(settings):
    settings.PLATFORM_FEE_BASIS_POINTS = 333
    for micros in (1_000, 1_001, 49_999, 50_000_000):
        shared = pricing.keeps(micros)
        assert shared.kept_micros + shared.fee_micros == micros
    assert pricing.fee_percent() == "3.33"
