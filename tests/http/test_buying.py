"""Buying over HTTP from a running shop: both protocol versions, every format, and reading again with what one has."""

import secrets
from typing import Any

import httpx
import pytest

from tests.shop import Shop
from tests.wallet import Wallet, decoded, encoded

from .proofs import wallet_proof
from .till import requoted

FORMATS = {"url": "text/html", "md_url": "text/markdown", "json_url": "application/json"}


@pytest.fixture(scope="module")
def article(shop: Shop) -> dict[str, Any]:
    """One whose price differs between people and agents, so that the wrong one would be noticed."""
    return next(a for a in shop.line["articles"] if a["people_price_micros"] != a["agent_price_micros"])


def price(article: dict[str, Any], form: str) -> int:
    return article["people_price_micros" if form == "url" else "agent_price_micros"]


def read(shop: Shop, url: str, **headers: str) -> httpx.Response:
    """One request of a client without memory."""
    sent = {"accept": "text/html"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(url, headers=sent, timeout=30)


@pytest.mark.parametrize("form", FORMATS)
def test_an_agent_buys_each_format_with_version_2(shop, article, form):
    wallet, url = shop.wallet(10_000_000), article[form]
    asked = read(shop, url)
    assert asked.status_code == 402
    terms = decoded(asked.headers["PAYMENT-REQUIRED"])
    assert terms["x402Version"] == 2
    assert terms["resource"]["url"] == article["url"]
    requirement = terms["accepts"][0]
    assert requirement["amount"] == str(price(article, form))
    custody = shop.balance(shop.line["pay_to"])
    bought = read(shop, url, payment_signature=wallet.pay(terms))
    assert bought.status_code == 200, bought.text[:500]
    assert bought.headers["Content-Type"].split(";")[0] == FORMATS[form]
    assert bought.headers["Cache-Control"] == "private, no-store"
    assert "Accept" in bought.headers["Vary"]
    assert len(bought.text) > 3_000
    _settled(shop, wallet, decoded(bought.headers["PAYMENT-RESPONSE"]), price(article, form))
    assert bought.headers["PAYMENT-RECEIPT"]
    assert shop.balance(wallet.address) == 10_000_000 - price(article, form)
    assert shop.balance(shop.line["pay_to"]) == custody + price(article, form)


@pytest.mark.parametrize("form", FORMATS)
def test_an_agent_buys_each_format_with_version_1(shop, article, form):
    """The body of a page is for people, so a version 1 agent asks as agents do."""
    wallet, url = shop.wallet(10_000_000), article[form]
    body = read(shop, url, accept="application/json").json()
    assert body["x402Version"] == 1
    first = body["accepts"][0]
    assert (first["network"], first["resource"]) == ("base-sepolia", article["url"])
    assert first["maxAmountRequired"] == str(article["agent_price_micros"])
    bought = read(shop, url, accept="application/json", x_payment=wallet.pay_v1(body, shop.line["chain_id"]))
    assert bought.status_code == 200, bought.text[:500]
    told = decoded(bought.headers["X-PAYMENT-RESPONSE"])
    assert told["network"] == "base-sepolia"
    _settled(shop, wallet, told, article["agent_price_micros"])
    assert bought.headers["PAYMENT-RECEIPT"]
    assert shop.balance(wallet.address) == 10_000_000 - article["agent_price_micros"]


def _settled(shop: Shop, wallet: Wallet, told: dict[str, Any], micros: int) -> None:
    """The answer says what the chain and the books say."""
    assert told["success"] is True
    assert told["payer"].lower() == wallet.address.lower()
    assert told["amount"] == str(micros)
    mined = shop.rpc("eth_getTransactionReceipt", told["transaction"])
    assert int(mined["status"], 16) == 1
    buyer = f"eip155:84532:{wallet.address.lower()}"
    rows = shop.sql(
        "SELECT p.amount_micros, SUM(l.amount_micros) FROM payments_payment p"  # noqa: S608
        " JOIN payments_posting l ON l.transaction_id = p.sale_id"
        f" WHERE p.buyer = '{buyer}' GROUP BY p.id, p.amount_micros"
    )
    assert [(int(charged), int(booked)) for charged, booked in rows] == [(micros, micros)]


def test_one_purchase_opens_every_format_in_every_way(shop, article):
    wallet = shop.wallet(10_000_000)
    terms = shop.terms(article["json_url"])
    header = wallet.pay(terms)
    bought = read(shop, article["json_url"], payment_signature=header)
    receipt = bought.headers["PAYMENT-RECEIPT"]
    transaction = decoded(bought.headers["PAYMENT-RESPONSE"])["transaction"]
    left = shop.balance(wallet.address)
    body = bought.json()["markdown"].strip()[-60:]
    for form in FORMATS:
        url = article[form]
        assert read(shop, url).status_code == 402
        with_receipt = read(shop, url, payment_receipt=receipt)
        with_quote = read(shop, url, payment_signature=header)
        with_wallet = read(shop, url, sign_in_with_x=wallet_proof(shop.terms(article["json_url"]), wallet))
        for answer in (with_receipt, with_quote, with_wallet):
            assert answer.status_code == 200, answer.text[:300]
            assert answer.headers["PAYMENT-RECEIPT"]
            assert answer.headers["Cache-Control"] == "private, no-store"
        assert decoded(with_quote.headers["PAYMENT-RESPONSE"])["transaction"] == transaction
    assert body in read(shop, article["md_url"], payment_receipt=receipt).text
    assert shop.balance(wallet.address) == left


def test_an_owner_who_signs_again_in_any_format_is_served_and_not_charged(shop, article):
    wallet = shop.wallet(10_000_000)
    first = shop.buy(wallet, article["json_url"])
    left = shop.balance(wallet.address)
    for form in FORMATS:
        again = shop.buy(wallet, article[form])
        assert again.status_code == 200
        told = decoded(again.headers["PAYMENT-RESPONSE"])
        assert told["transaction"] == decoded(first.headers["PAYMENT-RESPONSE"])["transaction"]
    version_1 = wallet.pay_v1(shop.http.get(article["json_url"]).json(), shop.line["chain_id"])
    assert read(shop, article["json_url"], x_payment=version_1).status_code == 200
    assert shop.balance(wallet.address) == left


def test_a_browser_that_bought_the_page_keeps_it(shop, article):
    wallet = shop.wallet(10_000_000)
    with httpx.Client(timeout=30, headers={"Accept": "text/html"}) as browser:
        terms = decoded(browser.get(article["url"]).headers["PAYMENT-REQUIRED"])
        bought = browser.get(article["url"], headers={"PAYMENT-SIGNATURE": wallet.pay(terms)})
        assert bought.status_code == 200
        assert "Cookie" in bought.headers["Vary"]
        for form in FORMATS:
            assert browser.get(article[form]).status_code == 200
        assert article["title"] in browser.get(f"{shop.url}/library").text
    assert shop.balance(wallet.address) == 10_000_000 - article["people_price_micros"]


def test_a_header_that_an_observer_rebuilds_with_a_quote_of_their_own_opens_nothing(shop, article):
    wallet = shop.wallet(10_000_000)
    terms = shop.terms(article["json_url"])
    header = wallet.pay(terms)
    assert read(shop, article["json_url"], payment_signature=header).status_code == 200
    seen = read(shop, article["url"], payment_signature=requoted(header, shop.terms(article["json_url"])))
    assert seen.status_code == 409
    assert "PAYMENT-RECEIPT" not in seen.headers
    assert "Set-Cookie" not in seen.headers
    assert read(shop, article["json_url"], payment_signature=header).status_code == 200


def test_a_purchase_for_one_article_opens_no_other_of_the_same_price(shop):
    one, other = shop.twins()
    wallet = shop.wallet(10_000_000)
    header = wallet.pay(shop.terms(one["json_url"]))
    bought = read(shop, one["json_url"], payment_signature=header)
    assert bought.status_code == 200
    for shown in (
        {"payment_signature": header},
        {"payment_signature": requoted(header, shop.terms(other["json_url"]))},
        {"payment_receipt": bought.headers["PAYMENT-RECEIPT"]},
        {"sign_in_with_x": wallet_proof(shop.terms(other["json_url"]), wallet)},
    ):
        refused = read(shop, other["json_url"], **shown)
        assert refused.status_code == 402
        assert len(refused.text) < 2_000
    assert shop.balance(wallet.address) == 10_000_000 - one["agent_price_micros"]


def test_distinct_buyers_of_one_article_pay_each(shop, article):
    before = shop.balance(shop.line["pay_to"])
    for _ in range(3):
        assert shop.buy(shop.wallet(1_000_000), article["json_url"]).status_code == 200
    assert shop.balance(shop.line["pay_to"]) == before + 3 * article["agent_price_micros"]


def test_junk_over_the_wire_is_refused_and_the_server_goes_on(shop, article):
    """What only a real server sees: enormous headers and bodies. No worker dies of them."""
    web = shop.stack.web.pids()
    nested = "[" * 70_000
    for headers, body in (
        ({"PAYMENT-SIGNATURE": "A" * 9_000}, None),
        ({"PAYMENT-SIGNATURE": "A" * 20_000}, None),
        ({"PAYMENT-SIGNATURE": "A" * 1_000_000}, None),
        ({"X-PAYMENT": encoded({"x402Version": 1})}, None),
        ({"Content-Type": "application/json"}, nested.encode()),
        ({"PAYMENT-RECEIPT": "." * 12_000}, None),
        ({"SIGN-IN-WITH-X": "W1tb" * 3_000}, None),
        ({"Accept": "text/html;q=" + "9" * 3_000}, None),
        ({"Cookie": f"sessionid={secrets.token_hex(16)}; " * 60}, None),
    ):
        try:
            answer = httpx.request("GET", article["json_url"], headers=headers, content=body, timeout=30)
        except httpx.TransportError:
            continue  # The server hung up on a header that no client would send.
        assert answer.status_code in (400, 402, 431), (list(headers), answer.status_code)
    assert shop.terms(article["json_url"])
    assert shop.stack.web.pids() == web
