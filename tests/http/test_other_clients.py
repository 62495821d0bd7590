"""What clients that we did not write ask for: scripts of other sites, strange methods, addresses of nothing."""

import time

import pytest
from django.test import Client

from marketplace.ops import parts
from tests.visitor import HTML, Visitor, owls

pytestmark = pytest.mark.django_db
_PREFLIGHT = "/articles/owls.json"


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ("payment-signature, x-request-id", "payment-signature, x-request-id"),
        ("x-a,x-b", "x-a,x-b"),
        ("*", "*"),
        ("x-evil\r\nSet-Cookie: a=b", None),
        ("x a", None),
        ("x," * 40 + "x", None),
        ("x" * 65, None),
        (None, None),
    ],
)
def test_scripts_of_other_sites_may_send_what_they_ask_for(asked: str | None, allowed: str | None):
    headers = {"Origin": "https://agent.example", "Access-Control-Request-Method": "GET"}
    headers |= {"Access-Control-Request-Headers": asked} if asked else {}
    answer = Client().options(_PREFLIGHT, headers=headers)
    assert answer.status_code == 204
    usual = "Accept, Authorization, PAYMENT-SIGNATURE, X-PAYMENT, PAYMENT-RECEIPT, SIGN-IN-WITH-X"
    assert answer["Access-Control-Allow-Headers"] == (allowed or f"{usual}, Access-Control-Expose-Headers")
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert answer["Access-Control-Max-Age"] == "86400"
    assert answer["Access-Control-Allow-Methods"] == answer["Allow"] == "GET, HEAD, OPTIONS"


def test_whoever_verifies_a_receipt_may_read_the_key_from_another_site():
    answer = Client().get("/.well-known/did.json", headers={"Origin": "https://verifier.example"})
    assert (answer.status_code, answer["Access-Control-Allow-Origin"]) == (200, "*")
    assert Client().post("/.well-known/did.json").status_code == 405


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
@pytest.mark.parametrize("suffix", ["", ".md", ".json"])
def test_another_method_is_told_which_one(settings, method: str, suffix: str):
    address = owls().get_absolute_url() + suffix
    answer = getattr(Client(), method)(address, headers={"Accept": "application/json"})
    said = answer.json()
    assert (answer.status_code, said["error"], said["charged"]) == (405, "method_not_allowed", False)
    assert said["documentation"] == f"{settings.BASE_URL}/about#agents"
    assert answer["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.usefixtures("cards_on")
@pytest.mark.parametrize("form", ["", "/buy", "/pay"])
def test_a_page_that_was_sent_or_reloaded_by_mistake_leads_to_the_article(form: str):
    address = owls().get_absolute_url()
    visitor = Visitor()
    visitor.see(address, 402)
    answer = visitor.client.get(address + form, headers=HTML) if form else Client().post(address, headers=HTML)
    assert (answer.status_code, answer["Location"]) == (303, address)


@pytest.mark.parametrize(
    ("address", "accept"),
    [
        ("/articles/nothing.json", "*/*"),
        ("/articles/nothing.md", HTML["Accept"]),
        ("/articles/nothing", "application/json"),
        ("/articles/NOTHING.json", "*/*"),
        ("/api/articles/nothing", HTML["Accept"]),
        ("/api/nothing", HTML["Accept"]),
    ],
)
def test_what_is_not_there_is_said_to_agents_in_json(settings, address: str, accept: str):
    answer = Client().get(address, headers={"Accept": accept})
    said = answer.json()
    assert (answer.status_code, said["error"], said["charged"]) == (404, "not_found", False)
    assert said["message"].endswith("You have not been charged.")
    assert said["documentation"] == f"{settings.BASE_URL}/about#agents"


def test_what_is_not_there_is_a_page_for_people():
    answer = Client().get("/articles/nothing", headers=HTML)
    assert (answer.status_code, "<h1>" in answer.content.decode()) == (404, True)


@pytest.mark.parametrize("people", [False, True])
def test_a_defect_is_said_in_the_form_that_was_asked_for(monkeypatch, people: bool):
    monkeypatch.setattr("marketplace.shop.article.listings.find", lambda slug: 1 // 0)
    client = Client(raise_request_exception=False)
    answer = client.get("/articles/owls", headers=HTML if people else {"Accept": "application/json"})
    assert answer.status_code == 500
    if people:
        assert "won't be charged twice" in answer.content.decode()
        return
    assert (answer.json()["error"], answer.json()["charged"]) == ("internal_error", None)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_come_by_a_bare_address_and_over_plain_http(settings, path: str):
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["shop.example"]
    answer = Client().get(path, headers={"Host": "10.1.2.3:8000"})
    assert answer.status_code in (200, 503)
    assert int(answer["Content-Length"]) == len(answer.content)
    assert Client().get("/", headers={"Host": "10.1.2.3:8000"}).status_code in (301, 400)


@pytest.mark.parametrize(("cards", "status"), [("sk_test_x", 200), ("", 503)])
def test_a_shop_of_cards_alone_can_be_ready(settings, monkeypatch, cards: str, status: int):
    monkeypatch.setattr(parts, "_began", time.monotonic())  # It has just started.
    settings.CHAIN_RPC_URL = settings.PAY_TO = ""
    settings.STRIPE_SECRET_KEY = cards
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["chain"], answer.json()["settler"]) == (
        status, "not_configured", "not_configured",
    )  # fmt: skip
