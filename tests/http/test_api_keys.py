"""An agent's key over HTTP: what it buys and reads again, what is no key, and where it is never seen."""

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from x402.http.utils import decode_payment_required_header

from payments.models import ApiKey, Approval, Payment
from payments.purses import api_keys
from tests import buyers, cast
from tests.buyers import balance
from tests.http.api_keys import HTML, SECRET, STRANGE, everything, refused, shown

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


@pytest.mark.parametrize(
    ("suffix", "accept", "price"),
    [("", "*/*", 50_000), ("", HTML["Accept"], 250_000), (".md", "*/*", 50_000), (".json", "*/*", 50_000)],
)
def test_a_key_buys_in_every_form_and_reads_again_in_every_other(address, suffix, accept, price):
    purse = buyers.purse(1_000_000)
    text = buyers.key(purse, budget_micros=price)
    first = shown(address + suffix, text, Accept=accept)
    assert first.status_code == 200
    assert b"canary7731" in first.content
    assert first["Cache-Control"] == "private, no-store"
    assert balance(purse) == 1_000_000 - price
    for form in ("", ".md", ".json"):
        again = shown(address + form, text)
        assert (again.status_code, b"canary7731" in again.content) == (200, True)
    assert balance(purse) == 1_000_000 - price
    assert Payment.objects.count() == 1


def test_what_its_person_bought_an_agent_reads_for_nothing(address):
    purse = buyers.purse(1_000_000)
    listing = shown(address, buyers.key(purse))
    assert listing.status_code == 200
    idle = buyers.key(purse, budget_micros=1, ceiling_micros=1, approve_above_micros=0)
    assert shown(address, idle).status_code == 200
    assert not Approval.objects.exists()


def test_the_receipt_of_a_key_opens_the_article_without_it(address):
    receipt = shown(address, buyers.key(buyers.purse(1_000_000)))["PAYMENT-RECEIPT"]
    assert Client().get(address, headers={"PAYMENT-RECEIPT": receipt}).status_code == 200


def test_a_page_read_with_a_key_leaves_nothing_in_a_session(address):
    """It would outlive the key."""
    browser = Client()
    text = buyers.key(buyers.purse(1_000_000))
    assert browser.get(address, headers=HTML | {"Authorization": f"Bearer {text}"}).status_code == 200
    assert browser.get(address, headers=HTML).status_code == 402


def test_head_buys_nothing_asks_nobody_and_shows_the_terms(address):
    purse = buyers.purse(1_000_000)
    text = buyers.key(purse, approve_above_micros=0)
    answer = Client().head(address, headers={"Authorization": f"Bearer {text}"})
    assert answer.status_code == 402
    assert not Approval.objects.exists()
    assert not Payment.objects.exists()
    assert ApiKey.objects.get().used_at is None


def test_two_keys_of_one_purse_buy_an_article_once(address):
    purse = buyers.purse(1_000_000)
    assert [shown(address, buyers.key(purse)).status_code for _ in range(2)] == [200, 200]
    assert balance(purse) == 950_000
    assert sorted(purse.keys.values_list("spent_micros", flat=True)) == [0, 50_000]


def test_a_key_never_spends_from_another_purse(address):
    """Not even in a browser in which somebody else is signed in, who has more."""
    rich, poor = cast.person("rich"), buyers.purse()
    buyers.purse(5_000_000, owner=f"user:{rich.pk}")
    answer = cast.signed_in(rich).get(address, headers={"Authorization": f"Bearer {buyers.key(poor)}"})
    assert refused(answer) == "insufficient_balance"
    assert not Payment.objects.exists()


def test_another_scheme_is_no_key_and_hides_nobody(address):
    reader = cast.person("reader")
    buyers.press(buyers.purse(1_000_000, owner=f"user:{reader.pk}"), _offer_of(address))
    basic = {"Authorization": "Basic cmVhZGVyOnNlY3JldA=="}
    assert cast.signed_in(reader).get(address, headers=basic).status_code == 200
    answer = Client().get(address, headers=basic)
    assert (answer.status_code, answer.json()["error"]) == (402, "payment_required")
    assert "message" not in answer.json()


def _offer_of(address: str) -> Any:
    from publishers.articles import catalogue

    return catalogue.find(address.rsplit("/", 1)[1]).offer("people", mime_type="text/html")


def test_a_revoked_key_is_dead_with_the_next_request_for_what_it_bought_too(address):
    purse = buyers.purse(1_000_000)
    text = buyers.key(purse)
    assert shown(address, text).status_code == 200
    api_keys.revoke(purse.keys.get())
    assert refused(shown(address, text)) == "invalid_key"


def test_the_last_use_is_known_to_the_minute_whether_it_bought_or_not(address):
    purse = buyers.purse()
    text = buyers.key(purse)
    assert refused(shown(address, text)) == "insufficient_balance"
    first = purse.keys.get().used_at
    shown(address, text)
    assert purse.keys.get().used_at == first
    purse.keys.update(used_at=first - timedelta(minutes=2))
    shown(address, text)
    assert purse.keys.get().used_at > first


@pytest.mark.parametrize("sent", STRANGE)
@pytest.mark.parametrize("suffix", ["", ".md", ".json"])
def test_what_is_no_key_is_refused_with_one_word(address, sent, suffix):
    answer = Client().get(address + suffix, headers={"Authorization": sent})
    if sent.startswith("BEARER\t"):
        assert answer.json()["error"] == "payment_required"
        return
    assert refused(answer) == "invalid_key"
    assert answer["WWW-Authenticate"] == 'Bearer realm="pennypress", error="invalid_token"'


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-1],
        lambda text: text + "x",
        lambda text: text[:-1] + ("a" if text[-1] != "a" else "b"),
        lambda text: text.lower() if text != text.lower() else text.upper(),
        lambda text: f"{text}\r\nX-Evil: 1",
        lambda text: f"{text}\n",
        lambda text: f"{text},Bearer {text}",
        lambda text: text + " " * 300 + "x",
        lambda text: text.rpartition("_")[0] + "_" + SECRET,
    ],
)
def test_almost_a_key_is_none(address, spoil):
    purse = buyers.purse(1_000_000)
    assert refused(shown(address, spoil(buyers.key(purse)))) == "invalid_key"
    assert balance(purse) == 1_000_000


def test_the_secret_of_one_key_does_not_go_with_the_name_of_another(address):
    purse, other = buyers.purse(1_000_000), buyers.purse(1_000_000)
    first, second = buyers.key(purse), buyers.key(other)
    mixed = first.rpartition("_")[0] + "_" + second.rpartition("_")[2]
    assert refused(shown(address, mixed)) == "invalid_key"


def test_without_cards_nobody_is_offered_a_key_and_none_is_read(address, settings):
    text = buyers.key(buyers.purse(1_000_000))
    settings.STRIPE_SECRET_KEY = ""
    answer = shown(address, text)
    assert (answer.status_code, answer.json()["error"]) == (402, "payment_required")
    assert "WWW-Authenticate" not in answer
    assert "prepaid-key" not in decode_payment_required_header(answer["PAYMENT-REQUIRED"]).extensions


@pytest.mark.parametrize("accept", ["*/*", "application/json", HTML["Accept"]])
def test_a_402_advertises_the_key_where_the_official_client_still_reads_the_terms(address, accept):
    answer = Client().get(address, headers={"Accept": accept})
    terms = decode_payment_required_header(answer["PAYMENT-REQUIRED"])
    info = terms.extensions["prepaid-key"]["info"]
    assert (info["header"], info["scheme"], info["keys"]) == (
        "Authorization", "Bearer", "http://localhost:8000/purse/keys",
    )  # fmt: skip
    assert int(info["amount"]) == (250_000 if "html" in accept else 50_000)
    # Only who tries a key is challenged: another client may take the challenge for its own, and give up.
    assert "WWW-Authenticate" not in answer
    tried = shown(address, buyers.key(buyers.purse()))
    assert tried["WWW-Authenticate"] == 'Bearer realm="pennypress"'


def test_other_sites_may_send_a_key_and_read_why_it_was_refused(address):
    answer = Client().options(address)
    assert "Authorization" in answer["Access-Control-Allow-Headers"]
    assert "WWW-Authenticate" in Client().get(address)["Access-Control-Expose-Headers"]


def test_a_key_is_in_no_column_of_any_table_and_in_no_line_of_the_log(address, caplog):
    purse = buyers.purse(1_000_000)
    with caplog.at_level(logging.DEBUG):
        text = buyers.key(purse)
        assert shown(address, text).status_code == 200
        refused(shown(address, text + "x"))
    secret = text.rpartition("_")[2]
    assert secret not in caplog.text
    dump = everything()
    assert text.split("_")[1] in dump
    assert secret not in dump


@pytest.fixture
def address() -> str:
    """An article at 0.05 for agents and 0.25 for people."""
    return cast.article(cast.publication(cast.person("alice"))).get_absolute_url()
