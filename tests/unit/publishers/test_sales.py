"""What was sold: every number leads to its rows, and the file is what the page shows."""

import csv
import datetime
import io

import pytest
from django.utils import timezone

from payments.books import ledger
from payments.models import Payment
from publishers import sales
from tests import cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def lantern():
    return cast.publication(cast.person("alice"), time_zone="Asia/Tokyo")


@pytest.fixture
def browser(lantern):
    return cast.signed_in(lantern.members.get())


def rows(browser, address):
    answer = browser.get(address)
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(b"".join(answer).decode("utf-8-sig"))))


def test_the_balance_explains_itself(browser, lantern):
    article = cast.article(lantern, people=333_333, agents=50_000)
    cast.sale(article, "people")
    payment = cast.sale(article, "agents")
    kept = ledger.balance(lantern.earned_account)
    assert kept == 333_333 - 16_666 + 47_500
    page = browser.get(f"/studio/{lantern.slug}/balance").content.decode()
    for amount in ("0.364167", "0.383333", "−$0.019166", "0.0475"):
        assert amount in page
    assert f"/studio/{lantern.slug}/sales/{payment.pk}" in page
    assert "Refunds and other activity" not in page
    sale = browser.get(f"/studio/{lantern.slug}/sales/{payment.pk}").content.decode()
    for amount in ("0.05", "0.0025", "0.0475", lantern.earned_account, "platform:fees"):
        assert amount in sale


@pytest.mark.planted  # The audit knows no such entry yet.
def test_what_is_not_a_sale_is_shown_as_such(browser, lantern):
    cast.sale(cast.article(lantern))
    ledger.post("correction", "correction:1", [ledger.Move(lantern.earned_account, "platform:fees", 7_500)])
    page = browser.get(f"/studio/{lantern.slug}/balance").content.decode()
    assert "Balance: $0.04" in page
    assert "Refunds and other activity" in page
    assert "−$0.0075" in page


def test_home_counts_and_ranks(browser, lantern):
    owls, bats = cast.article(lantern, title="Owls"), cast.article(lantern, title="Bats")
    for article in (owls, bats, bats):
        cast.sale(article)
    page = browser.get(f"/studio/{lantern.slug}").content.decode()
    best = page[page.index("Best sellers") :]
    assert best.index("Bats") < best.index("Owls")
    assert "0.1425" in page
    assert "Get your first sale" not in page


def test_pages_without_sales_say_what_comes_next(browser, lantern):
    assert "Write your first article" in browser.get(f"/studio/{lantern.slug}").content.decode()
    assert "No sales yet" in browser.get(f"/studio/{lantern.slug}/sales").content.decode()
    assert "No earnings yet" in browser.get(f"/studio/{lantern.slug}/balance").content.decode()
    assert "No sales match" in browser.get(f"/studio/{lantern.slug}/sales?audience=people").content.decode()


def test_the_file_has_both_clocks_both_units_and_the_shares(browser, lantern):
    payment = cast.sale(cast.article(lantern))
    Payment.objects.filter(pk=payment.pk).update(decided_at=datetime.datetime(2026, 1, 1, 20, tzinfo=datetime.UTC))
    (row,) = rows(browser, f"/studio/{lantern.slug}/sales.csv")
    assert row["sale"] == str(payment.pk)
    assert row["sold_at_utc"] == "2026-01-01T20:00:00+00:00"
    assert row["sold_at_local"] == "2026-01-02T05:00:00+09:00"
    assert (row["price_usd"], row["fee_usd"], row["kept_usd"]) == ("0.05", "0.0025", "0.0475")
    assert (row["price_micros"], row["fee_micros"], row["kept_micros"]) == ("50000", "2500", "47500")
    assert (row["sold_to"], row["buyer"]) == ("agents", payment.buyer)


@pytest.mark.parametrize("title", ["=1+1", "+cmd", "-2", "@SUM(A1)", '=HYPERLINK("http://x")'])
def test_no_cell_of_the_file_is_a_formula(browser, lantern, title):
    cast.sale(cast.article(lantern, title=title))
    (row,) = rows(browser, f"/studio/{lantern.slug}/sales.csv")
    assert row["title"] == f"'{title}"
    assert not [cell for cell in row.values() if cell[:1] in "=+-@\t\r"]


def test_page_and_file_honour_the_same_filter(browser, lantern):
    owls, bats = cast.article(lantern, title="Owls"), cast.article(lantern, title="Bats")
    old, new = cast.sale(owls, "people"), cast.sale(bats, "agents")
    # 23:30 on the first in UTC is the second in Tokyo.
    Payment.objects.filter(pk=old.pk).update(decided_at=datetime.datetime(2026, 1, 1, 23, 30, tzinfo=datetime.UTC))
    for query, expected in [
        ("", {old, new}),
        ("audience=people", {old}),
        (f"article={bats.pk}", {new}),
        ("since=2026-01-02&until=2026-01-02", {old}),
        ("until=2026-01-01", set()),
        (f"since={timezone.now().date() - datetime.timedelta(days=1)}", {new}),
        ("until=2199-12-31&page=x", {old, new}),
    ]:
        found = {row["sale"] for row in rows(browser, f"/studio/{lantern.slug}/sales.csv?{query}")}
        assert found == {str(payment.pk) for payment in expected}, query
        page = browser.get(f"/studio/{lantern.slug}/sales?{query}").content.decode()
        assert [str(payment.pk) in page for payment in (old, new)] == [payment in expected for payment in (old, new)]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("since=28.11.", "This is not a date."),
        ("until=yesterday", "This is not a date."),
        ("since=0001-01-01", "This is not a date."),
        ("until=9999-12-31", "This is not a date."),
        ("since=2026-01-02&until=2026-01-01", "The last day is before the first."),
        ("audience=robots", "robots is not one of the available choices."),
        ("article=1", "This link does not name an article."),
    ],
)
def test_a_filter_that_cannot_be_read_is_an_error_and_not_everything(browser, lantern, query, says):
    payment = cast.sale(cast.article(lantern))
    for address in ("sales", "sales.csv"):
        answer = browser.get(f"/studio/{lantern.slug}/{address}?{query}")
        assert answer.status_code == 400
        assert answer["Content-Type"] == "text/html; charset=utf-8"
        page = answer.content.decode()
        assert says in page
        assert str(payment.pk) not in page


def test_the_file_is_read_in_pages_and_has_each_sale_once(browser, lantern, monkeypatch, django_assert_max_num_queries):
    monkeypatch.setattr(sales, "_CHUNK", 2)
    article = cast.article(lantern)
    sold = [cast.sale(article) for _ in range(7)]
    # Sales of the same moment are told apart by their ids.
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    Payment.objects.filter(pk__in=[payment.pk for payment in sold[2:6]]).update(decided_at=moment)
    with django_assert_max_num_queries(25):
        found = [row["sale"] for row in rows(browser, f"/studio/{lantern.slug}/sales.csv")]
    assert found == [str(pk) for pk in sales.of(lantern).values_list("pk", flat=True)]
    assert len(found) == 7


def test_a_long_list_costs_a_constant_number_of_queries(browser, lantern, django_assert_max_num_queries):
    articles = [cast.article(lantern, title=f"Owls {n}") for n in range(3)]
    for n in range(55):
        cast.sale(articles[n % 3])
    with django_assert_max_num_queries(10):
        page = browser.get(f"/studio/{lantern.slug}/sales").content.decode()
    assert page.count("/sales/") == 50
    assert "Page 1 of 2" in page
    assert "55 sales" in page
    with django_assert_max_num_queries(8):
        assert len(rows(browser, f"/studio/{lantern.slug}/sales.csv")) == 55
    with django_assert_max_num_queries(13):
        browser.get(f"/studio/{lantern.slug}/balance")
