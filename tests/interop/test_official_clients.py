"""Official clients, as they come, buy from the running shop: what they get, and what leaves their wallets."""

import json

import pytest

from tests.interop import proof
from tests.interop.clients import KINDS, Client
from tests.interop.wire import tapped
from tests.shop import Shop
from tests.wallet import Wallet

HTML = {"Accept": "text/html"}
# Address, headers beside the client's own, and whose price it is.
FORMS = {
    "as it comes": ("url", {}, "agent"),
    "Markdown": ("md_url", {}, "agent"),
    "JSON": ("json_url", {}, "agent"),
    "HTML": ("url", HTML, "people"),
}
PAIRS = [(kind, form) for kind in KINDS for form in FORMS if kind.reads_headers or form != "HTML"]


@pytest.mark.parametrize(("client", "form"), PAIRS, ids=lambda value: str(value), indirect=["client"])
def test_it_buys_an_article_in_every_form(client: Client, form: str, shop: Shop):
    article, wallet = shop.article(1), shop.wallet()
    address, headers, whose = FORMS[form]
    price = article[f"{whose}_price_micros"]
    before = shop.balance(shop.line["pay_to"])

    bought = client.get(wallet, article[address], **headers)

    assert bought["status"] == 200
    assert proof.delivered(shop, article, bought)
    assert shop.balance(shop.line["pay_to"]) == before + price
    proof.paid_once(shop, client.kind, wallet, article, price, bought["settled"])


def test_who_asks_again_is_served_and_not_charged(client: Client, shop: Shop):
    article, wallet = shop.article(2), shop.wallet()
    first = client.get(wallet, article["md_url"])
    if client.kind.pays_once:
        # The client forgets that it has finished a payment, and hands the terms to its caller without signing.
        again = client.get(wallet, article["md_url"])
        assert (again["status"], json.loads(again["text"])["error"]) == (402, "payment_required")
    forms = ("md_url", "json_url", "url")
    answers = [client.get(wallet, article[form], instance=client.kind.another(form)) for form in forms]
    assert [answer["status"] for answer in answers] == [200, 200, 200]
    assert all(proof.delivered(shop, article, answer) for answer in answers)
    proof.paid_once(shop, client.kind, wallet, article, article["agent_price_micros"], first["settled"])
    assert {answer["settled"]["transaction"] for answer in answers} == {first["settled"]["transaction"]}


def test_above_a_dollar_the_client_itself_refuses_where_it_has_such_a_limit(client: Client, shop: Shop, dear_url: str):
    wallet = shop.wallet()
    with tapped(shop.url) as wire:
        answer = client.get(wallet, wire.url(f"{dear_url}.md"))
    if client.kind.refuses_above_a_dollar:
        assert "maxamountperpayment" in answer["raised"].lower().replace("_", "")
        assert (len(wire.requests), wire.payments(wallet), proof.transfers(shop, wallet)) == (1, [], [])
        assert proof.states(shop, wallet) == []
    else:
        assert answer["status"] == 200
        assert [name for name, _ in wire.payments(wallet)] == [client.kind.sent_in]
        assert [transfer.micros for transfer in proof.transfers(shop, wallet)] == [1_500_000]


def test_an_empty_wallet_is_told_so_and_may_buy_once_it_is_filled(client: Client, shop: Shop):
    article, wallet = shop.article(3), Wallet()

    refused = client.get(wallet, article["md_url"])

    said = json.loads(refused["text"])
    assert (refused["status"], said["error"], said["charged"]) == (402, "insufficient_funds", False)
    assert said["message"] == "The wallet does not have enough funds. You have not been charged."
    assert proof.transfers(shop, wallet) == []
    assert proof.states(shop, wallet) == []

    shop.mint(wallet.address, article["agent_price_micros"])
    bought = client.get(wallet, article["md_url"], instance=client.kind.another("filled"))

    assert bought["status"] == 200
    assert proof.delivered(shop, article, bought)
    assert shop.balance(wallet.address) == 0
    assert len(proof.transfers(shop, wallet)) == 1


@pytest.mark.parametrize("client", [kind for kind in KINDS if not kind.reads_headers], ids=str, indirect=True)
def test_version_1_cannot_read_terms_from_a_page_but_its_receipt_opens_the_page(client: Client, shop: Shop):
    article, wallet = shop.article(4), shop.wallet()

    confused = client.get(wallet, article["url"], **HTML)

    assert "PaymentError" in confused["raised"]
    assert proof.states(shop, wallet) == []
    bought = client.get(wallet, article["md_url"], instance=client.kind.another("second"))
    receipt = bought["headers"]["payment-receipt"]
    page = client.get(wallet, article["url"], instance=client.kind.another("third"), PAYMENT_RECEIPT=receipt, **HTML)
    assert page["status"] == 200
    assert proof.delivered(shop, article, page)
    proof.paid_once(shop, client.kind, wallet, article, article["agent_price_micros"], bought["settled"])


@pytest.mark.parametrize("client", [kind for kind in KINDS if kind.runs_in_browsers], ids=str, indirect=True)
def test_a_page_of_another_site_may_send_what_the_client_sends_and_read_what_it_reads(client: Client, shop: Shop):
    article, wallet = shop.article(6), shop.wallet()
    with tapped(shop.url) as wire:
        bought = client.get(wallet, wire.url(article["json_url"]))
    unpaid, paid = ({name.lower() for name in headers} for headers in wire.requests)

    preflight = shop.http.options(article["json_url"])

    assert paid - unpaid <= words(preflight.headers["access-control-allow-headers"])
    readable = words(bought["headers"]["access-control-expose-headers"])
    assert readable >= {"payment-required", "payment-response", "x-payment-response", "payment-receipt"}
    for headers in (preflight.headers, bought["headers"]):
        assert headers["access-control-allow-origin"] == "*"


def words(header: str) -> set[str]:
    return {word.strip().lower() for word in header.split(",")}
