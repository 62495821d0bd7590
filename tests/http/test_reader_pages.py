"""The reader's pages: what they show, to whom, and that the paid text is in none of them."""

import json
import re
from pathlib import Path

import pytest
from django.conf import settings as configured
from django.template.loader import render_to_string
from django.test import Client

from marketplace.accounts.models import User
from payments import gate
from payments.models import Payment
from payments.onchain import record
from publishers.articles import catalogue, writing
from publishers.models import Article
from tests import cast
from tests.wallet import decoded

pytestmark = pytest.mark.django_db(transaction=True)

CANARY = "canary7731"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
STATIC = Path(configured.BASE_DIR) / "marketplace" / "static" / "marketplace"
ENTRANCES = ("/accounts/login/", "/accounts/signup/", "/accounts/password/reset/", "/accounts/login/code/")
ACCOUNT = ("/accounts/email/", "/accounts/password/change/", "/accounts/2fa/")


def shown(browser: Client, address: str, status: int = 200) -> str:
    answer = browser.get(address, headers=HTML)
    assert answer.status_code == status, (address, answer.status_code)
    return answer.content.decode()


def owls(**prices: int) -> Article:
    return cast.article(cast.publication(cast.person("alice")), **prices)


def receipt_for(payment: Payment, article: Article) -> str:
    """The receipt that came with the article when it was bought."""
    offer = catalogue.listing(article.pk).offer("people", mime_type="text/html")
    return gate.receipt_of(payment.grants.get(), offer)


def reader_of(article: Article) -> tuple[Client, Payment]:
    """A browser in which this article has been bought."""
    payment, browser = cast.sale(article, "people"), Client()
    opened = browser.get(article.get_absolute_url(), headers=HTML | {"PAYMENT-RECEIPT": receipt_for(payment, article)})
    assert opened.status_code == 200
    return browser, payment


# --- The catalogue ------------------------------------------------------------------------------------


def test_the_catalogue_shows_what_is_on_sale_with_both_prices():
    lantern = cast.publication(cast.person("alice"))
    cast.article(lantern, "Owls", people=250_000, agents=2_000)
    draft = writing.create_article(
        lantern, writing.draft("Unfinished", cast.TEXT), writing.Prices(9_000, 9_000), by=None
    )
    gone = cast.article(lantern, "Withdrawn")
    writing.withdraw(gone)
    page = shown(Client(), "/")
    assert "Owls" in page
    assert "$0.25" in page
    assert "$0.002" in page
    assert draft.current_version.title not in page
    assert "Withdrawn" not in page
    assert "Owls" in shown(Client(), lantern.get_absolute_url())


def test_search_finds_titles_and_beginnings_and_never_the_paid_text():
    owls()
    assert "Owls" in shown(Client(), "/?q=owls+free")
    nothing = shown(Client(), f"/?q={CANARY}")
    assert "/articles/owls" not in nothing
    assert "No articles match" in nothing


@pytest.mark.parametrize("query", ["%00", "%ED%A0%80", "%F0%9F%A6%89", "'%22%3Cscript%3E", "x" * 5_000])
def test_a_strange_search_is_answered(query):
    owls()
    page = shown(Client(), f"/?q={query}&page=-1")
    assert "<script>" not in page


def test_an_empty_shop_says_what_to_do_next():
    assert "No articles yet" in shown(Client(), "/")
    assert "no articles for sale" in shown(Client(), cast.publication(cast.person("alice")).get_absolute_url())


def test_many_articles_come_in_pages_that_keep_the_search():
    lantern = cast.publication(cast.person("alice"))
    for number in range(25):
        cast.article(lantern, f"Owls {number}")
    first = shown(Client(), "/?q=owls")
    assert "Page 1 of 2" in first
    assert "?q=owls&amp;page=2" in first
    assert shown(Client(), "/?q=owls&page=2").count('class="entry"') == 1
    assert "Page 2 of 2" in shown(Client(), "/?page=999999999999999999999")


def test_the_catalogue_costs_the_same_number_of_queries_however_long_it_is(django_assert_max_num_queries):
    lantern = cast.publication(cast.person("alice"))
    for number in range(12):
        cast.article(lantern, f"Owls {number}")
    with django_assert_max_num_queries(3):
        shown(Client(), "/")


def test_how_it_works_names_a_real_article_and_the_fee(settings):
    settings.PLATFORM_FEE_BASIS_POINTS = 250
    article = owls()
    page = shown(Client(), "/about")
    assert f"{article.url}.md" in page
    assert "2.5%" in page


# --- The paywall --------------------------------------------------------------------------------------


def test_the_paywall_is_small_and_says_one_price_in_plain_words():
    page = shown(Client(), owls().get_absolute_url(), 402)
    assert len(page.encode()) <= 30_000
    assert page.count(">$0.25<") == 1
    assert "The free part." in page
    assert CANARY not in page
    assert "You have not been charged" not in page


def test_the_paywall_works_for_agents_and_people_without_scripts():
    article = owls()
    page = shown(Client(), article.get_absolute_url(), 402)
    assert f"curl -i -H 'Accept: application/json' {article.url}" in page
    assert "<noscript>" in page
    assert 'role="status"' in page
    assert f"/accounts/login/?next={article.get_absolute_url()}" in page


def test_the_terms_in_the_page_are_those_in_the_header(settings):
    settings.CHAIN_RPC_URL, settings.PAY_TO = "http://127.0.0.1:9", "0x" + "ab" * 20
    answer = Client().get(owls().get_absolute_url(), headers=HTML)
    script = re.search(r'<script id="x402-terms" type="application/json">(.*?)</script>', answer.content.decode())
    assert script
    terms = json.loads(script[1])
    assert terms == decoded(answer["PAYMENT-REQUIRED"])
    assert terms["accepts"][0]["amount"] == "250000"


def test_a_refused_payment_says_why_and_that_nothing_was_charged(settings):
    settings.CHAIN_RPC_URL, settings.PAY_TO = "http://127.0.0.1:9", "0x" + "ab" * 20
    article = owls()
    answer = Client().get(article.get_absolute_url(), headers=HTML | {"PAYMENT-SIGNATURE": "e30="})
    assert answer.status_code == 400
    page = answer.content.decode()
    assert 'id="pay-error"' in page
    assert "You have not been charged." in page


def test_a_title_cannot_break_out_of_the_page():
    article = cast.article(
        cast.publication(cast.person("alice"), "</script><b>x"), "</script><script>alert(1)</script>"
    )
    for address, status in (("/", 200), (article.get_absolute_url(), 402), ("/about", 200)):
        page = shown(Client(), address, status)
        assert "<script>alert" not in page
        assert "</script><b>" not in page


def test_what_is_no_longer_sold_says_so():
    article = owls()
    writing.withdraw(article)
    page = shown(Client(), article.get_absolute_url(), 410)
    assert "no longer sells" in page
    assert CANARY not in page


def test_the_wallet_script_is_small_and_asks_nobody_else():
    script = (STATIC / "pay.js").read_text()
    assert len(script.encode()) <= 8_192
    assert not re.search(r"https?://", script)
    assert "innerHTML" not in script + (STATIC / "signing.js").read_text()


# --- What a reader has --------------------------------------------------------------------------------


def test_who_bought_reads_with_formats_version_and_receipt_at_hand():
    article = owls()
    browser, payment = reader_of(article)
    page = shown(browser, article.get_absolute_url())
    assert CANARY in page
    assert f"{article.get_absolute_url()}.md" in page
    assert f"/receipts/{payment.grants.get().pk}" in page
    assert "Version 1" in page


def test_a_correction_is_included_and_the_bought_version_stays_readable():
    article = owls()
    browser, _ = reader_of(article)
    author = article.publication.members.get()
    writing.save_version(article, writing.draft("Owls, corrected", cast.TEXT), by=author, base=1)
    page = shown(browser, article.get_absolute_url())
    assert "Owls, corrected" in page
    assert "?version=1" in page
    assert "newer version" in shown(browser, f"{article.get_absolute_url()}?version=1")


def test_what_was_bought_is_in_this_browsers_library_and_marked_in_the_catalogue():
    article = owls()
    browser, payment = reader_of(article)
    library = shown(browser, "/library")
    assert "Owls" in library
    assert "$0.25" in library
    assert f"/receipts/{payment.grants.get().pk}" in library
    assert "In your library" in shown(browser, "/")
    assert "Your library is empty" in shown(Client(), "/library")
    assert "In your library" not in shown(Client(), "/")


def test_signing_in_moves_this_browsers_library_to_the_account():
    article = owls()
    browser, _ = reader_of(article)
    reader: User = cast.person("reader")
    cast.sign_in(browser, reader)
    assert "Owls" in shown(browser, "/library")
    elsewhere = cast.signed_in(reader)
    assert "Owls" in shown(elsewhere, "/library")
    assert CANARY in shown(elsewhere, article.get_absolute_url())


def test_a_receipt_shows_what_was_paid_and_its_signed_line_opens_the_article():
    article = owls()
    browser, payment = reader_of(article)
    page = shown(browser, f"/receipts/{payment.grants.get().pk}")
    assert "$0.25" in page
    assert payment.buyer.rsplit(":", 1)[1] in page
    signed = re.search(r"<code>(eyJ[^<]+)</code>", page)
    assert signed
    again = Client().get(f"{article.get_absolute_url()}.md", headers={"PAYMENT-RECEIPT": signed[1]})
    assert again.status_code == 200
    assert CANARY in again.content.decode()


def test_a_pasted_receipt_opens_the_article_in_another_browser():
    article = owls()
    signed = receipt_for(cast.sale(article), article)
    elsewhere = Client()
    answer = elsewhere.post("/library", {"receipt": f" {signed[:60]}\r\n{signed[60:]} "})
    assert answer.status_code == 302
    assert CANARY in shown(elsewhere, answer["Location"])
    assert "Owls" in shown(elsewhere, "/library")


@pytest.mark.parametrize("line", ["", "nonsense", "eyJhbGciOiJub25lIn0.e30.", "x" * 100_000])
def test_what_is_no_receipt_opens_nothing_and_says_so(line):
    browser = Client()
    answer = browser.post("/library", {"receipt": line}, follow=True)
    assert answer.redirect_chain == [("/library", 302)]
    assert "You have not been charged" in answer.content.decode()
    assert "Your library is empty" in answer.content.decode()


def test_a_receipt_of_a_sale_that_was_taken_back_opens_nothing():
    article = owls()
    payment = cast.sale(article)
    signed = receipt_for(payment, article)
    record.take_back(payment.transfers.get())
    browser = Client()
    browser.post("/library", {"receipt": signed})
    shown(browser, article.get_absolute_url(), 402)


def test_a_receipt_and_a_library_are_private_and_kept_by_no_cache():
    article = owls()
    browser, payment = reader_of(article)
    address = f"/receipts/{payment.grants.get().pk}"
    shown(Client(), address, 404)
    shown(cast.signed_in(cast.person("carol")), address, 404)
    for private in (address, "/library", article.get_absolute_url()):
        answer = browser.get(private, headers=HTML)
        assert {"private", "no-store"} <= {part.strip() for part in answer["Cache-Control"].split(",")}


# --- The frame ----------------------------------------------------------------------------------------


def test_no_page_has_inline_code_or_asks_another_host():
    article = owls()
    browser, payment = reader_of(article)
    browser.force_login(User.objects.create_user("reader@example.org", "a password of some length"))
    pages = [shown(browser, address) for address in ("/", "/about", "/library", article.get_absolute_url(), *ACCOUNT)]
    pages += [shown(Client(), address) for address in ENTRANCES]
    pages += [shown(Client(), article.get_absolute_url(), 402), shown(Client(), "/nowhere", 404)]
    pages.append(shown(browser, f"/receipts/{payment.grants.get().pk}"))
    for page in pages:
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page)
        for tag in re.findall(r"<script[^>]*>", page):
            assert "src=" in tag or 'type="application/json"' in tag
        assert not re.search(r'(?:src|<link[^>]*href)="(?:https?:)?//(?!localhost)', page)
        assert page.count("<h1") == 1
        assert "Skip to content" in page


def test_a_page_that_breaks_needs_nothing_to_say_so():
    page = render_to_string("500.html")
    assert "won't be charged twice" in page
    for name in ("400.html", "403.html", "403_csrf.html"):
        assert "<h1>" in render_to_string(name)


def test_staff_see_earnings_and_nobody_else_does():
    article = owls()
    cast.sale(article)
    staff = cast.staff()
    page = shown(cast.signed_in(staff), "/finance/earnings")
    assert "The Lantern" in page
    assert "$0.05" in page
    assert Client().get("/finance/earnings").status_code == 302


def test_signing_in_leads_publishers_to_the_studio_and_readers_to_their_library():
    alice, carol = cast.person("alice"), cast.person("carol")
    cast.publication(alice)
    assert cast.signed_in(alice).get("/welcome").headers["Location"] == "/studio/"
    assert cast.signed_in(carol).get("/welcome").headers["Location"] == "/library"


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ("0001-01-01", "", "This is not a date."),
        ("", "9999-12-31", "This is not a date."),
        ("2026-13-40", "2026-11-28", "This is not a date."),
        ("2026-11-01", "yesterday", "This is not a date."),
        ("2026-11-02", "2026-11-01", "The first day is after the last."),
        ("2025-01-01", "2026-11-01", "Choose at most 366 days."),
        ("2026-11-01", "2026-11-02", ""),
    ],
)
def test_a_strange_period_is_an_error_and_not_everything(first: str, last: str, said: str):
    answer = cast.signed_in(cast.staff()).get("/finance/earnings", {"from": first, "to": last})
    assert answer.status_code == (400 if said else 200)
    assert said in answer.content.decode()
    assert ("All time" in answer.content.decode()) is not bool(said)


def test_who_is_not_staff_is_told_that_the_page_is_not_theirs():
    """Sent to the sign-in page they would be sent back, for ever."""
    answer = cast.signed_in(cast.person("carol")).get("/finance/earnings", follow=True)
    assert answer.status_code == 403
    assert "You don't have access to this page" in answer.content.decode()


def test_the_examples_name_an_article_that_stock_clients_pay_for(settings):
    alices = cast.publication(cast.person("alice"))
    cheap = cast.article(alices, "Cheap")
    cast.article(alices, "Dear", agents=1_500_000)
    assert f"{settings.BASE_URL}/articles/{cheap.slug}.md" in shown(Client(), "/about")


def test_a_session_cookie_that_no_database_takes_is_no_session():
    browser = Client()
    browser.cookies["sessionid"] = '"aaaaaaaaaa\\000"'
    assert browser.get("/library").status_code == 200
