"""An agent's key: what it buys, each of its limits with its word, and what is answered to one that is none."""

import json
import logging
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from x402.http.utils import decode_payment_required_header

from payments import gate, purses
from payments.books import accounts, ledger
from payments.models import ApiKey, Approval, Payment, Purse
from payments.offers import Presented
from payments.purses import api_keys
from tests.journeys.errors import promised
from tests.publishers import cast

from . import till

pytestmark = pytest.mark.django_db(transaction=True)
HTML = {"Accept": "text/html,*/*;q=0.8"}


@pytest.fixture
def address() -> str:
    """An article at 0.05 for agents and 0.25 for people."""
    return cast.article(cast.publication(cast.person("alice"))).get_absolute_url()


def shown(address: str, text: str, **headers: str) -> Any:
    return Client().get(address, headers={"Authorization": f"Bearer {text}"} | headers)


def refused(answer: Any) -> str:
    """The word of a refusal, which says all that every refusal says."""
    said = json.loads(answer.content)
    assert answer.status_code == 402, said
    assert said["charged"] is False
    assert said["message"].endswith("You have not been charged.")
    assert (promised()[said["error"]].status, promised()[said["error"]].charged) == (402, False)
    return str(said["error"])


def balance(purse: Purse) -> int:
    purse.refresh_from_db()
    assert purse.balance_micros == ledger.balance(accounts.balance(purse.id), "USD")
    return purse.balance_micros


# --- Buying and reading again -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "accept", "price"),
    [("", "*/*", 50_000), ("", HTML["Accept"], 250_000), (".md", "*/*", 50_000), (".json", "*/*", 50_000)],
)
def test_a_key_buys_in_every_form_and_reads_again_in_every_other(address, suffix, accept, price):
    purse = till.purse(1_000_000)
    text = till.key(purse, budget_micros=price)
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
    purse = till.purse(1_000_000)
    listing = shown(address, till.key(purse))
    assert listing.status_code == 200
    idle = till.key(purse, budget_micros=1, ceiling_micros=1, approve_above_micros=0)
    assert shown(address, idle).status_code == 200
    assert not Approval.objects.exists()


def test_the_receipt_of_a_key_opens_the_article_without_it(address):
    receipt = shown(address, till.key(till.purse(1_000_000)))["PAYMENT-RECEIPT"]
    assert Client().get(address, headers={"PAYMENT-RECEIPT": receipt}).status_code == 200


def test_a_page_read_with_a_key_leaves_nothing_in_a_session(address):
    """It would outlive the key."""
    browser = Client()
    text = till.key(till.purse(1_000_000))
    assert browser.get(address, headers=HTML | {"Authorization": f"Bearer {text}"}).status_code == 200
    assert browser.get(address, headers=HTML).status_code == 402


def test_head_buys_nothing_asks_nobody_and_shows_the_terms(address):
    purse = till.purse(1_000_000)
    text = till.key(purse, approve_above_micros=0)
    answer = Client().head(address, headers={"Authorization": f"Bearer {text}"})
    assert answer.status_code == 402
    assert not Approval.objects.exists()
    assert not Payment.objects.exists()
    assert ApiKey.objects.get().used_at is None


def test_two_keys_of_one_purse_buy_an_article_once(address):
    purse = till.purse(1_000_000)
    assert [shown(address, till.key(purse)).status_code for _ in range(2)] == [200, 200]
    assert balance(purse) == 950_000
    assert sorted(purse.keys.values_list("spent_micros", flat=True)) == [0, 50_000]


def test_a_key_never_spends_from_another_purse(address):
    """Not even in a browser in which somebody else is signed in, who has more."""
    rich, poor = cast.person("rich"), till.purse()
    till.purse(5_000_000, holder=f"user:{rich.pk}")
    answer = cast.signed_in(rich).get(address, headers={"Authorization": f"Bearer {till.key(poor)}"})
    assert refused(answer) == "insufficient_balance"
    assert not Payment.objects.exists()


def test_another_scheme_is_no_key_and_hides_nobody(address):
    reader = cast.person("reader")
    till.press(till.purse(1_000_000, holder=f"user:{reader.pk}"), _offer_of(address))
    basic = {"Authorization": "Basic cmVhZGVyOnNlY3JldA=="}
    assert cast.signed_in(reader).get(address, headers=basic).status_code == 200
    answer = Client().get(address, headers=basic)
    assert (answer.status_code, answer.json()["error"]) == (402, "payment_required")
    assert "message" not in answer.json()


def _offer_of(address: str) -> Any:
    from publishers.articles import catalogue

    return catalogue.find(address.rsplit("/", 1)[1]).offer("people", mime_type="text/html")


# --- Each limit with its word -----------------------------------------------------------------------------

LIMITS = [
    ({"ceiling_micros": 49_999}, "price_above_ceiling"),
    ({"budget_micros": 49_999}, "budget_exhausted"),
    ({"day_budget_micros": 49_999}, "day_budget_exhausted"),
    ({"payees": ("publisher:8",)}, "publication_not_allowed"),
    ({"approve_above_micros": 49_999}, "approval_required"),
    ({"expires_at": timezone.now() - timedelta(seconds=1)}, "invalid_key"),
]


@pytest.mark.parametrize(("limit", "word"), LIMITS)
def test_a_limit_refuses_with_its_word_and_takes_nothing(limit, word):
    purse = till.purse(1_000_000)
    with pytest.raises(gate.PaymentRequired) as no:
        till.present(till.key(purse, **limit), till.offer())
    assert (no.value.word, no.value.charged) == (word, False)
    assert balance(purse) == 1_000_000
    assert (purse.keys.get().spent_micros, Payment.objects.count()) == (0, 0)


@pytest.mark.parametrize(("limit", "word"), LIMITS[:-1])
def test_at_its_edge_a_limit_allows(limit, word):
    purse = till.purse(1_000_000)
    roomy = {name: ("publisher:7",) if name == "payees" else 50_000 for name in limit}
    assert till.present(till.key(purse, **roomy), till.offer()).grant
    assert balance(purse) == 950_000


@pytest.mark.parametrize(("limit", "word"), LIMITS)
def test_the_sale_itself_refuses_too_when_a_limit_came_after_the_first_look(limit, word, monkeypatch):
    """What is checked early is checked again in the commit of the sale, by the row as it is then."""
    purse = till.purse(1_000_000)
    admission = gate.verify(Presented(authorization=f"Bearer {till.key(purse)}"), till.offer())
    assert admission.sells
    limit = limit | ({"payees": list(limit["payees"])} if "payees" in limit else {})
    purse.keys.update(**limit)
    with pytest.raises(gate.PaymentRequired) as no:
        admission.settle()
    assert no.value.word == word
    assert balance(purse) == 1_000_000
    assert (purse.keys.get().spent_micros, Payment.objects.count()) == (0, 0)


def test_budgets_end_exactly_and_a_new_day_has_a_new_one():
    purse = till.purse(1_000_000)
    text = till.key(purse, day_budget_micros=100_000, budget_micros=150_000)
    till.present(text, till.offer(1))
    till.present(text, till.offer(2))
    assert _word(text, 3) == "day_budget_exhausted"
    purse.keys.update(day=timezone.now().date() - timedelta(days=1))
    till.present(text, till.offer(3))
    key = purse.keys.get()
    assert (key.day_spent_micros, key.spent_micros) == (50_000, 150_000)
    assert api_keys.left(key) == (50_000, 0)
    assert _word(text, 4) == "budget_exhausted"
    assert till.present(text, till.offer(1)).grant
    assert balance(purse) == 850_000


def test_what_is_given_back_may_be_spent_again():
    purse = till.purse(1_000_000)
    text = till.key(purse, day_budget_micros=50_000, budget_micros=50_000)
    payment = till.present(text, till.offer(1)).payment
    purses.refund(payment.id, purse)
    assert (purse.keys.get().spent_micros, api_keys.spent_today(purse.keys.get())) == (0, 0)
    assert till.present(text, till.offer(2)).grant


@pytest.mark.parametrize("flag", ["past_due", "dispute", "fraud", "chargeback"])
def test_a_key_of_a_purse_that_is_not_in_order_buys_nothing_and_reads_what_was_bought(flag):
    purse = till.purse(1_000_000)
    text = till.key(purse)
    till.present(text, till.offer(1))
    Purse.objects.filter(id=purse.id).update(flag=flag)
    assert _word(text, 2) in ("purse_past_due", "purse_frozen")
    assert till.present(text, till.offer(1)).grant


def test_too_little_is_refused_and_leaves_the_budget_as_it_was():
    purse = till.purse(500_000)
    text = till.key(purse)
    with pytest.raises(gate.PaymentRequired) as no:
        till.present(text, till.offer(1, 500_001))
    assert no.value.word == "insufficient_balance"
    assert purse.keys.get().spent_micros == 0


def _word(text: str, number: int) -> str:
    with pytest.raises(gate.PaymentRequired) as no:
        till.present(text, till.offer(number))
    return no.value.word


# --- Changing and revoking --------------------------------------------------------------------------------


def test_a_revoked_key_is_dead_with_the_next_request_for_what_it_bought_too(address):
    purse = till.purse(1_000_000)
    text = till.key(purse)
    assert shown(address, text).status_code == 200
    api_keys.revoke(purse.keys.get())
    assert refused(shown(address, text)) == "invalid_key"


def test_a_key_revoked_between_the_look_and_the_sale_buys_nothing():
    purse = till.purse(1_000_000)
    admission = gate.verify(Presented(authorization=f"Bearer {till.key(purse)}"), till.offer())
    api_keys.revoke(purse.keys.get())
    with pytest.raises(gate.PaymentRequired) as no:
        admission.settle()
    assert no.value.word == "invalid_key"
    assert balance(purse) == 1_000_000


def test_limits_change_from_the_next_request_on_and_never_below_what_was_spent():
    purse = till.purse(1_000_000)
    text = till.key(purse)
    till.present(text, till.offer(1))
    key = purse.keys.get()
    with pytest.raises(purses.Refused) as no:
        api_keys.change(key, "reader", api_keys.Limits(budget_micros=49_999))
    assert no.value.word == "budget_below_spent"
    api_keys.change(key, "renamed", api_keys.Limits(budget_micros=50_000))
    assert _word(text, 2) == "budget_exhausted"
    assert purse.keys.get().name == "renamed"
    api_keys.revoke(key)
    with pytest.raises(purses.Refused) as no:
        api_keys.change(key, "alive", api_keys.Limits())
    assert no.value.word == "key_revoked"


def test_one_form_makes_one_key_and_fifty_are_enough():
    purse = till.purse()
    key, _ = api_keys.make(purse, "first", api_keys.Limits())
    with pytest.raises(purses.Refused) as no:
        api_keys.make(till.purse(), "first", api_keys.Limits(), key.id)
    assert no.value.word == "key_made_already"
    for _ in range(api_keys.KEYS_MAX - 1):
        till.key(purse)
    with pytest.raises(purses.Refused) as no:
        api_keys.make(purse, "one more", api_keys.Limits())
    assert no.value.word == "too_many_keys"
    api_keys.revoke(key)
    till.key(purse)


def test_the_last_use_is_known_to_the_minute_whether_it_bought_or_not(address):
    purse = till.purse()
    text = till.key(purse)
    assert refused(shown(address, text)) == "insufficient_balance"
    first = purse.keys.get().used_at
    shown(address, text)
    assert purse.keys.get().used_at == first
    purse.keys.update(used_at=first - timedelta(minutes=2))
    shown(address, text)
    assert purse.keys.get().used_at > first


# --- What is no key ---------------------------------------------------------------------------------------

SECRET = "A" * 32
STRANGE = [
    "Bearer",
    "Bearer ",
    "Bearer x",
    "bearer pp__",
    f"Bearer pp_unknownunkno_{SECRET}",
    f"Bearer pp_unknownunkno_{SECRET} and more",
    "Bearer " + "x" * 7_000,
    "Bearer pp_" + "é" * 12 + "_" + SECRET,
    "Bearer pp_%0d%0aaaaaaaa_" + SECRET,
    "Bearer \x00",
    "Bearer ' OR 1=1 --",
    "Bearer eyJhbGciOiJIUzI1NiJ9.e30.abc",
    "BEARER\tpp",
]


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
    purse = till.purse(1_000_000)
    assert refused(shown(address, spoil(till.key(purse)))) == "invalid_key"
    assert balance(purse) == 1_000_000


def test_the_secret_of_one_key_does_not_go_with_the_name_of_another(address):
    purse, other = till.purse(1_000_000), till.purse(1_000_000)
    first, second = till.key(purse), till.key(other)
    mixed = first.rpartition("_")[0] + "_" + second.rpartition("_")[2]
    assert refused(shown(address, mixed)) == "invalid_key"


def test_without_cards_nobody_is_offered_a_key_and_none_is_read(address, settings):
    text = till.key(till.purse(1_000_000))
    settings.STRIPE_SECRET_KEY = ""
    answer = shown(address, text)
    assert (answer.status_code, answer.json()["error"]) == (402, "payment_required")
    assert "WWW-Authenticate" not in answer
    assert "prepaid-key" not in decode_payment_required_header(answer["PAYMENT-REQUIRED"]).extensions


# --- What a 402 says --------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", ["*/*", "application/json", HTML["Accept"]])
def test_a_402_advertises_the_key_where_the_official_client_still_reads_the_terms(address, accept):
    answer = Client().get(address, headers={"Accept": accept})
    terms = decode_payment_required_header(answer["PAYMENT-REQUIRED"])
    info = terms.extensions["prepaid-key"]["info"]
    assert (info["header"], info["scheme"], info["keys"]) == (
        "Authorization", "Bearer", "http://localhost:8000/purse/keys",
    )  # fmt: skip
    assert int(info["amount"]) == (250_000 if "html" in accept else 50_000)
    assert answer["WWW-Authenticate"] == 'Bearer realm="pennypress"'


def test_other_sites_may_send_a_key_and_read_why_it_was_refused(address):
    answer = Client().options(address)
    assert "Authorization" in answer["Access-Control-Allow-Headers"]
    assert "WWW-Authenticate" in Client().get(address)["Access-Control-Expose-Headers"]


# --- A key is nowhere but with its agent ----------------------------------------------------------------


def test_a_key_is_in_no_column_of_any_table_and_in_no_line_of_the_log(address, caplog):
    purse = till.purse(1_000_000)
    with caplog.at_level(logging.DEBUG):
        text = till.key(purse)
        assert shown(address, text).status_code == 200
        refused(shown(address, text + "x"))
    secret = text.rpartition("_")[2]
    assert secret not in caplog.text
    dump = everything()
    assert text.split("_")[1] in dump
    assert secret not in dump


def everything() -> str:
    """Every row of every table, as text."""
    with connection.cursor() as cursor:
        rows = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608
            rows += cursor.fetchall()
    return repr(rows)


def test_a_key_can_hardly_be_guessed():
    purse = till.purse()
    texts = [till.key(purse) for _ in range(20)]
    assert len({text.rpartition("_")[2] for text in texts}) == 20
    assert all(len(text) == 48 for text in texts)
