"""The walls of a running server: paths, hosts and request lines as no library would write them, and a walk through
every address of the site in search of the paid text."""

import html
import re
import socket
import unicodedata
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from tests.shop import Shop
from tests.wallet import decoded

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PAGE_MAX = 30_000


# --- The paid text ----------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """Words without marks, entities, quotation marks and line ends: the same in HTML, Markdown and JSON."""
    text = re.sub(r"<[^>]*>", " ", text.replace("\\n", " "))
    text = unicodedata.normalize("NFKC", html.unescape(text))
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


@pytest.fixture(scope="module")
def canaries(shop: Shop) -> list[str]:
    """Twelve words in a row of every paid paragraph of every article, as long as no free text has them."""
    rows = shop.sql("SELECT body_html, teaser_html, summary, title FROM publishers_version")
    free = " ".join(plain(part) for row in rows for part in row[1:])
    found = []
    for body, *_ in rows:
        for paragraph in re.split(r"</(?:p|li|h[1-6]|blockquote|pre|td)>", body):
            words = plain(paragraph).split()
            middle = max(0, len(words) // 2 - 6)
            canary = " ".join(words[middle : middle + 12])
            if len(words) >= 12 and canary not in free:
                found.append(canary)
    assert len(found) > 100
    return found


def leaked(answer: httpx.Response, canaries: list[str]) -> list[str]:
    """The paid words in an answer's body or headers."""
    text = plain(f"{answer.headers!s} {answer.text}")
    return [canary for canary in canaries if canary in text]


def test_the_canaries_sing_in_every_format_of_a_bought_article(shop, canaries):
    """Otherwise no test here could fail."""
    article = shop.article()
    wallet = shop.wallet(1_000_000)
    receipt = shop.buy(wallet, article["json_url"]).headers["PAYMENT-RECEIPT"]
    for form in ("url", "md_url", "json_url"):
        answer = httpx.get(article[form], headers={"accept": BROWSER, "payment-receipt": receipt})
        assert len(leaked(answer, canaries)) > 3, form


# --- Every address ------------------------------------------------------------------------------------------


def routes(patterns: list | None = None, above: str = "") -> Iterator[str]:
    """Every route of the site, as the URLconf writes it."""
    for pattern in get_resolver("marketplace.urls").url_patterns if patterns is None else patterns:
        route = above + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield route


def slug_of(article: dict[str, Any]) -> str:
    return urlsplit(article["url"]).path.rsplit("/", 1)[1]


def filled(route: str, articles: list[dict[str, Any]], publications: list[str]) -> Iterator[str]:
    """Addresses of a route with what is really there, for some articles, and with what is not."""
    for article in articles:
        slug = slug_of(article)
        for suffix in ("", ".md", ".json"):
            for publication in publications:
                path = route.replace("(?P<slug>[a-z0-9-]+)", slug).replace("(?P<suffix>|\\.md|\\.json)", suffix)
                path = path.replace("<slug:publication>", publication).replace("<slug:slug>", publication)
                path = path.replace("<uuid:article_id>", article["id"]).replace("<slug:who>", "owner")
                path = path.replace("<int:number>", "1")
                path = re.sub(r"<uuid:\w+>", str(uuid.UUID(int=1)), path)
                path = re.sub(r"<\w+:\w+>|<\w+>|\(\?P<\w+>[^)]*\)", "1", path)
                yield "/" + path.replace("^", "").replace("$", "").replace("\\", "").replace("?:", "")


ELSEWHERE = [
    "/?q=the", "/?page=2", "/?page=last", "/?q=%00", "/feed", "/feed.xml", "/rss", "/atom.xml", "/sitemap.xml",
    "/robots.txt", "/llms.txt", "/llms-full.txt", "/articles", "/articles/", "/articles.json", "/api/", "/api/articles",
    "/oembed", "/.well-known/x402", "/static/", "/media/", "/studio/preview", "/admin/publishers/version/",
    "/admin/publishers/version/1/change/", "/.git/HEAD", "/manage.py", "/var/pennypress.sqlite3",
]  # fmt: skip


@pytest.fixture(scope="module", params=["nobody", "reader"])
def visitor(request: pytest.FixtureRequest, shop: Shop) -> Iterator[httpx.Client]:
    """Somebody without and with an account."""
    with httpx.Client(base_url=shop.url, timeout=30, headers={"accept": BROWSER}) as client:
        if request.param == "reader":
            login = shop.reader()
            page = client.get("/accounts/login/").text
            token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
            assert token
            form = {"login": login["email"], "password": login["password"], "csrfmiddlewaretoken": token[1]}
            signed_in = client.post("/accounts/login/", data=form, headers={"Referer": f"{shop.url}/accounts/login/"})
            assert signed_in.status_code == 302, signed_in.text[:500]
        yield client


def test_no_address_shows_paid_text_to_those_who_have_not_paid(shop, canaries, visitor):
    articles = shop.line["articles"][:4]
    publications = [row[0] for row in shop.sql("SELECT slug FROM publishers_publication")]
    paths = {path for route in routes() for path in filled(route, articles, publications)} | set(ELSEWHERE)
    assert len(paths) > 100
    counts: dict[int, int] = {}
    for path in sorted(paths):
        answer = visitor.get(path)
        counts[answer.status_code] = counts.get(answer.status_code, 0) + 1
        assert answer.status_code < 500, path
        assert leaked(answer, canaries) == [], path
    assert counts[402] >= 12
    assert counts[200] >= 5
    if "sessionid" not in visitor.cookies:
        assert not any(path.startswith("/studio") and visitor.get(path).status_code == 200 for path in paths)


def test_no_search_finds_words_of_the_paid_part(shop, canaries):
    """A search that found them would be an oracle of the text, a word at a time."""
    for canary in canaries[:: max(1, len(canaries) // 15)]:
        answer = httpx.get(f"{shop.url}/", params={"q": canary})
        assert answer.status_code == 200
        assert "/articles/" not in answer.text.split("<main", 1)[1], canary
        assert leaked(answer, [c for c in canaries if c != canary]) == []


def test_every_paywall_page_is_small_and_shows_a_fraction(shop, canaries):
    for article in shop.line["articles"]:
        page = httpx.get(article["url"], headers={"accept": BROWSER, "accept-encoding": "identity"})
        assert page.status_code == 402
        assert page.headers["Content-Type"].startswith("text/html")
        assert len(page.content) <= PAGE_MAX, article["title"]
        assert len(str(page.headers)) < 8_000
        assert leaked(page, canaries) == []
        assert "<!--" not in page.text
        for form in ("md_url", "json_url"):
            terms = httpx.get(article[form], headers={"accept": BROWSER})
            assert terms.status_code == 402
            assert terms.headers["Content-Type"] == "application/json"
            assert len(terms.content) < 2_000


# --- Request lines ------------------------------------------------------------------------------------------


def raw(shop: Shop, request: bytes) -> tuple[int, str]:
    """What the server says to these very bytes: the status (0: it hung up) and everything it sent."""
    where = urlsplit(shop.url)
    with socket.create_connection((where.hostname, where.port), timeout=20) as line:
        line.sendall(request)
        line.shutdown(socket.SHUT_WR)
        said = b"".join(iter(lambda: line.recv(65_536), b""))
    found = re.match(rb"HTTP/1\.[01] (\d{3})", said)
    return int(found[1]) if found else 0, said.decode("utf-8", "replace")


def asked(shop: Shop, target: bytes, *headers: bytes, method: bytes = b"GET", host: bytes | None = None) -> bytes:
    host = urlsplit(shop.url).netloc.encode() if host is None else host
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: " + host, b"Connection: close", *headers]
    return b"\r\n".join([*lines, b"", b""])


TRICKS = [
    b"/articles/%s", b"//articles/%s", b"///articles//%s", b"/./articles/%s", b"/articles/./%s",
    b"/articles/../articles/%s", b"/about/../articles/%s", b"/%%2e%%2e/articles/%s", b"/articles%%2f%s",
    b"/articles%%252f%s", b"%%2farticles/%s", b"/articles/%s/", b"/articles/%s//", b"/articles/%s;x=1",
    b"/articles;x/%s", b"/articles/%s%%0a", b"/articles/%s%%0d%%0a", b"/articles/%s%%00", b"/articles/%s%%00.md",
    b"/articles/%s%%20", b"/articles/%%20%s", b"/articles/%s.", b"/articles/%s.md.", b"/articles/%s.md/",
    b"/articles/%s.MD", b"/articles/%s.Md", b"/articles/%s%%2emd", b"/articles/%s.md%%20", b"/articles/%s.md.json",
    b"/articles/%s.html", b"/articles/%s.txt", b"/articles/%s.pdf", b"/articles/%s.xml", b"/articles/%s.amp",
    b"/articles/%s/amp", b"/articles/%s/print", b"/articles/%s/raw", b"/articles/%s/json", b"/Articles/%s",
    b"/ARTICLES/%s", b"/articles/%s?", b"/articles/%s#x", b"/articles/%s%%3f", b"/articles/%s%%23",
    b"/articles/%s%%c0%%ae", b"/articles/%s%%c0%%aemd", b"/articles/%s%%e0%%80%%ae", b"/articles/%s%%ff",
    b"/articles/%s\xcc\x81", b"/articles/%s%%cc%%81", b"/articles\\%s", b"/articles/%%5c%s", b"/articles/%s~",
    b"/articles/%s.md~", b"/articles/%s.bak", b"/static/../articles/%s", b"/static/%%2e%%2e/articles/%s.md",
    b"/admin/../articles/%s", b"/articles/%s%%2f..%%2f%s", b"articles/%s", b"*", b"/articles/%s\t",
    b"/articles/%s HTTP/1.1 x",
]  # fmt: skip


@pytest.fixture(scope="module")
def slug(shop: Shop) -> bytes:
    return urlsplit(shop.article()["url"]).path.rsplit("/", 1)[1].encode()


@pytest.mark.parametrize("trick", TRICKS, ids=lambda target: ascii(target)[2:34])
def test_no_spelling_of_a_path_passes_the_gate(shop, canaries, slug, trick):
    target = trick % tuple([slug] * trick.count(b"%s"))
    for accept in (b"Accept: text/html", b"Accept: text/markdown"):
        status, said = raw(shop, asked(shop, target, accept))
        assert status in (0, 301, 302, 400, 402, 404, 405), target
        assert not [canary for canary in canaries if canary in plain(said)], target


@pytest.mark.parametrize("change", [bytes.upper, bytes.title, bytes.swapcase])
def test_a_slug_in_other_letters_is_another_address(shop, slug, change):
    assert raw(shop, asked(shop, b"/articles/" + change(slug)))[0] == 404


HOSTS = [b"evil.example", b"", b"evil.example:80", b"127.0.0.1.evil.example", b"127.0.0.1@evil.example",
         b"evil.example@127.0.0.1", b"[::1]", b"localhost\xff", b"a b", b"." * 300]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: ascii(host)[2:26])
def test_a_host_that_is_not_ours_names_nothing_in_the_answer(shop, slug, host):
    for accept in (b"Accept: text/html", b"Accept: application/json"):
        status, said = raw(shop, asked(shop, b"/articles/" + slug, accept, host=host))
        assert status == 400
        assert "PAYMENT-REQUIRED" not in said


def test_an_absolute_request_line_and_forwarded_hosts_change_no_address(shop, slug):
    path = b"/articles/" + slug
    ours = shop.article()["url"]
    for target, headers in (
        (b"http://evil.example" + path, []),
        (b"https://evil.example" + path, []),
        (path, [b"X-Forwarded-Host: evil.example"]),
        (path, [b"Forwarded: host=evil.example"]),
        (path, [b"X-Forwarded-Proto: https", b"X-Forwarded-Port: 444"]),
    ):
        status, said = raw(shop, asked(shop, target, b"Accept: application/json", *headers))
        assert status in (400, 402), target
        assert "evil.example" not in said
        if status == 402:
            terms = decoded(re.search(r"PAYMENT-REQUIRED: (\S+)", said)[1])
            assert terms["resource"]["url"] == ours


def test_requests_that_are_two_requests_to_some_readers_get_no_article(shop, canaries, slug):
    body = b"GET /articles/%s HTTP/1.1\r\n\r\n" % slug
    for headers in (
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Transfer-Encoding: chunked, identity"],
        [b"Transfer-Encoding: x"],
        [b"Content-Length: -1"],
        [b"Content-Length: +5"],
    ):
        status, said = raw(shop, asked(shop, b"/articles/" + slug, *headers) + body)
        assert status in (0, 400, 402, 408, 413, 501), headers
        assert not [canary for canary in canaries if canary in plain(said)]


def test_two_payment_headers_in_one_request_are_no_payment(shop, slug):
    one = b"PAYMENT-SIGNATURE: e30="
    status, said = raw(shop, asked(shop, b"/articles/" + slug + b".json", one, one))
    assert status == 400
    assert '"invalid_payload"' in said
    # An underscore in a header's name is how some gateways confuse it with a hyphen.
    status, said = raw(shop, asked(shop, b"/articles/" + slug + b".json", b"PAYMENT_SIGNATURE: e30="))
    assert status in (400, 402)
    assert "invalid_payload" not in said
