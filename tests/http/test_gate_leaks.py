"""What an unpaid request can learn: the terms, and nothing about or of the paid text. In this process, by tables.

tests/http/test_walls.py asks the same of a running server, where paths and hosts can be written as one likes.
"""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from marketplace.shop import listings
from payments import waiters
from payments.models import Payment
from publishers import pricing
from publishers.articles import writing
from tests import cast
from tests.wallet import decoded

pytestmark = pytest.mark.django_db
PAID = b"canary7731"
FORMATS = ["", ".md", ".json"]
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.fixture(autouse=True)
def an_open_till(till):
    """Every test here is about a shop that could be paid."""


def told_nothing(answer) -> None:
    """Neither the text nor its size, age or fingerprint."""
    assert PAID not in answer.content
    for header in ("ETag", "Last-Modified", "Content-Range", "Accept-Ranges", "Set-Cookie", "PAYMENT-RECEIPT"):
        assert header not in answer, header
    assert answer["Cache-Control"] == "no-store"


# --- Methods --------------------------------------------------------------------------------------------

METHODS = ["HEAD", "OPTIONS", "TRACE", "PUT", "POST", "PATCH", "DELETE", "PURGE", "PROPFIND", "CONNECT", "FOO"]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("method", METHODS)
def test_other_methods_read_nothing(owls, method, suffix):
    answer = Client().generic(method, f"/articles/{owls.slug}{suffix}")
    assert answer.status_code == {"HEAD": 402, "OPTIONS": 204}.get(method.upper(), 405)
    told_nothing(answer)
    if answer.status_code == 405:
        assert answer.json()["error"] == "method_not_allowed"
    else:
        assert answer.content == b""


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_a_method_in_a_header_changes_nothing(owls, header):
    for method, claimed in (("POST", "GET"), ("GET", "HEAD"), ("HEAD", "GET"), ("OPTIONS", "GET")):
        answer = Client().generic(method, f"/articles/{owls.slug}.md", headers={header: claimed})
        assert answer.status_code in (402, 204, 405)
        told_nothing(answer)


def test_a_head_has_the_headers_of_the_refusal_and_not_of_the_article(till, owls):
    path = f"/articles/{owls.slug}.json"
    head, get = Client().head(path), Client().get(path)
    assert head.status_code == get.status_code == 402
    assert head["Content-Length"] == str(len(get.content))
    assert "PAYMENT-REQUIRED" in head


def test_a_strangers_post_without_a_token_is_stopped_before_anything(owls):
    answer = Client(enforce_csrf_checks=True).post(f"/articles/{owls.slug}", {"a": "b"})
    assert answer.status_code == 403
    assert PAID not in answer.content


# --- Conditions and ranges ----------------------------------------------------------------------------------

CONDITIONS = {
    "range": {"range": "bytes=0-"},
    "last bytes": {"range": "bytes=-500"},
    "many ranges": {"range": "bytes=0-1,5-9,20-"},
    "odd range": {"range": "bytes=9999999999999999999-"},
    "range of a version": {"range": "bytes=0-", "if-range": '"x"'},
    "none match": {"if-none-match": "*"},
    "match": {"if-match": "*"},
    "modified": {"if-modified-since": "Fri, 01 Jan 2100 00:00:00 GMT"},
    "unmodified": {"if-unmodified-since": "Thu, 01 Jan 1970 00:00:00 GMT"},
    "odd date": {"if-modified-since": "x" * 200},
    "cache": {"cache-control": "only-if-cached, max-stale=999999", "pragma": "no-cache"},
    "compressed": {"accept-encoding": "gzip, br, zstd"},
    "te": {"te": "trailers", "expect": "200-ok"},
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_and_ranges_are_answered_with_the_price(owls, name):
    for suffix in FORMATS:
        answer = Client().get(f"/articles/{owls.slug}{suffix}", headers={"accept": BROWSER} | CONDITIONS[name])
        assert answer.status_code == 402
        told_nothing(answer)


@pytest.mark.parametrize("name", CONDITIONS)
def test_an_owner_gets_the_whole_article_whatever_the_condition(till, owls, name):
    receipt = till.buy(till.wallet(), owls)[1]["PAYMENT-RECEIPT"]
    headers = CONDITIONS[name] | {"payment-receipt": receipt}
    answer = Client().get(f"/articles/{owls.slug}.md", headers=headers)
    assert answer.status_code == 200
    assert PAID in answer.content
    assert "ETag" not in answer


# --- Which form, and for whom ----------------------------------------------------------------------------------

ACCEPTS = {
    BROWSER: "text/html",
    "text/html": "text/html",
    "TEXT/HTML": "application/json",
    "text/html;q=0": "application/json",
    "text/html;q=0.1, application/json": "application/json",
    "application/json": "application/json",
    "text/markdown": "application/json",
    "text/plain": "application/json",
    "*/*": "application/json",
    "": "application/json",
    "image/png": "application/json",
    "text/html;q=nan": None,
    "text/html;q=" + "9" * 4_000: None,
    "text/html;" * 500: None,
    "html": "application/json",
    ",,;;==": "application/json",
    "text/*": "application/json",
    "application/xhtml+xml": "application/json",
    "é": "application/json",
}


@pytest.mark.parametrize("accept", ACCEPTS, ids=lambda text: ascii(text)[:24])
@pytest.mark.parametrize("agent", ["curl/8", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140", ""])
def test_the_form_is_what_is_asked_for_and_never_who_asks(owls, accept, agent):
    answer = Client().get(f"/articles/{owls.slug}", headers={"accept": accept, "user-agent": agent})
    assert answer.status_code == 402
    told_nothing(answer)
    kind = answer["Content-Type"].split(";")[0]
    assert kind == (ACCEPTS[accept] or kind)
    assert "Accept" in answer["Vary"]
    amount = decoded(answer["PAYMENT-REQUIRED"])["accepts"][0]["amount"]
    assert amount == ("250000" if kind == "text/html" else "50000")
    if kind != "text/html":
        assert answer.json()["accepts"][0]["maxAmountRequired"] == amount


def test_a_client_that_says_nothing_of_what_it_accepts_is_a_agent(owls):
    answer = Client().get(f"/articles/{owls.slug}")
    assert answer["Content-Type"] == "application/json"


QUERIES = ["format=json", "format=html", "preview=1", "rev=1", "version=1", "print", "amp=1", "embed", "raw=1",
           "download=1", "paid=1", "charged=true", "q=canary7731", "x=" + "%00" * 50, "%ff", "a=1;b=2"]  # fmt: skip


@pytest.mark.parametrize("query", QUERIES, ids=lambda text: text[:12])
def test_nothing_in_the_query_opens_an_article(owls, query):
    for suffix in FORMATS:
        answer = Client().get(f"/articles/{owls.slug}{suffix}?{query}", headers={"accept": BROWSER})
        assert answer.status_code == 402
        told_nothing(answer)


def test_headers_that_other_software_trusts_open_nothing(till, owls):
    for name, value in (
        ("X-Original-URL", f"/articles/{owls.slug}.md"),
        ("X-Rewrite-URL", f"/articles/{owls.slug}.md"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("Referer", "https://www.google.com/"),
        ("User-Agent", "Googlebot/2.1"),
        ("Authorization", "Bearer x"),
        ("Authorization", "L402 x:y"),
        ("PAYMENT-RESPONSE", "e30="),
        ("X-PAYMENT-RESPONSE", "e30="),
        ("PAYMENT-REQUIRED", "e30="),
    ):
        answer = till.get(owls, ".md", **{name: value})
        assert answer.status_code == 402
        told_nothing(answer)


# --- Hosts -------------------------------------------------------------------------------------------------


def test_the_address_in_the_terms_is_the_configured_one_whatever_a_request_says(owls, settings):
    for headers in (
        {"x-forwarded-host": "evil.example"},
        {"x-forwarded-proto": "https"},
        {"forwarded": "host=evil.example;proto=https"},
        {"x-forwarded-port": "444"},
        {"x-original-host": "evil.example"},
    ):
        answer = Client().get(f"/articles/{owls.slug}", headers=headers | {"accept": "application/json"})
        terms = decoded(answer["PAYMENT-REQUIRED"])
        assert terms["resource"]["url"] == f"{settings.BASE_URL}/articles/{owls.slug}"
        assert terms["extensions"]["sign-in-with-x"]["info"]["uri"] == terms["resource"]["url"]
        assert answer.json()["accepts"][0]["resource"] == terms["resource"]["url"]
        assert "evil" not in str(terms)
        page = Client().get(f"/articles/{owls.slug}", headers=headers | {"accept": BROWSER})
        assert b"evil.example" not in page.content


def test_an_unknown_host_is_refused(owls):
    for host in ("evil.example", "localhost.evil.example", "localhost:8000@evil.example", "[::1]evil", "a b"):
        answer = Client(headers={"host": host}).get(f"/articles/{owls.slug}")
        assert answer.status_code == 400, host
        assert PAID not in answer.content


# --- Caches -------------------------------------------------------------------------------------------------


def test_no_answer_of_an_article_may_be_kept_by_a_cache(till, owls, settings):
    header, paid = till.buy(till.wallet(), owls)
    receipt = paid["PAYMENT-RECEIPT"]
    for suffix in FORMATS:
        for accept in (BROWSER, "application/json"):
            unpaid = till.get(owls, suffix, accept=accept)
            served = till.get(owls, suffix, accept=accept, payment_receipt=receipt)
            malformed = till.get(owls, suffix, accept=accept, payment_signature="junk!")
            for answer, status in ((unpaid, 402), (malformed, 400), (served, 200)):
                assert answer.status_code == status
                rule = "private, no-store" if status == 200 else "no-store"
                assert answer["Cache-Control"] == rule
                assert "Accept" in answer["Vary"]
                assert "ETag" not in answer
                assert "Last-Modified" not in answer
    version_1 = till.buy_v1(till.wallet(), owls)[0]
    settings.REPLAY_SECONDS = 0
    assert till.get(owls, x_payment=version_1)["Cache-Control"] == "no-store"
    writing.withdraw(owls)
    for accept in (BROWSER, "application/json"):
        assert till.get(owls, "", accept=accept)["Cache-Control"] == "no-store"


# --- What it costs -----------------------------------------------------------------------------------------


@pytest.fixture
def quiet(monkeypatch):
    """Nothing changes in the catalogue, and a minute is as short as a second."""
    monkeypatch.setattr(waiters, "generation", lambda: 1)
    monkeypatch.setattr(listings, "_SECONDS", 60.0)


UNPAID = [{"accept": BROWSER}, {"accept": "application/json"}, {"payment-signature": "junk!"}, {"x-payment": "e30="}]


@pytest.mark.parametrize("headers", UNPAID[:2], ids=["page", "terms"])
def test_an_unpaid_request_asks_the_database_once_and_then_not_again(owls, quiet, headers):
    path = f"/articles/{owls.slug}"
    with CaptureQueriesContext(connection) as cold:
        assert Client().get(path, headers=headers).status_code == 402
    with CaptureQueriesContext(connection) as warm:
        for suffix in FORMATS:
            assert Client().get(path + suffix, headers=headers).status_code == 402
            assert Client().head(path + suffix, headers=headers).status_code == 402
    assert (len(cold), len(warm)) == (1, 0)


def test_what_an_unpaid_request_costs_does_not_grow_and_writes_nothing(till, owls, monkeypatch):
    def asked() -> list[str]:
        statements = []
        for headers in UNPAID:
            listings._kept.clear()
            with CaptureQueriesContext(connection) as seen:
                Client().get(f"/articles/{owls.slug}", headers=headers)
            statements += [query["sql"] for query in seen]
        return statements

    few = asked()
    for number in range(8):
        cast.sale(cast.article(owls.publication, f"More owls {number}"))
        till.buy(till.wallet(), owls)
        open_now = owls.prices.get(audience="agents", ends_at=None)
        pricing.change_price(owls, "agents", 50_001 + number, by=None, was=open_now.pk)
    many = asked()
    assert len(many) == len(few) <= 2 * len(UNPAID)
    assert all(statement.startswith("SELECT") for statement in map(str.lstrip, many))
    before = Payment.objects.count()
    asked()
    assert Payment.objects.count() == before


def test_a_changed_catalogue_is_seen_when_the_bell_has_rung(till, owls, monkeypatch):
    monkeypatch.setattr(listings, "_SECONDS", 60.0)
    rung = iter(range(100))
    monkeypatch.setattr(waiters, "generation", lambda: next(rung))
    assert till.get(owls).status_code == 402
    writing.withdraw(owls)
    assert till.get(owls).status_code == 410
