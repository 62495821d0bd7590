"""A quote is a price under a MAC: for one article, one payee, one way to pay, and a while. Nothing of it is stored."""

import base64
import dataclasses

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as some

from payments import quotes
from payments.offers import Price

from .counter import offer

BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def test_a_quote_says_what_was_promised():
    promised = quotes.issue(offer(3, micros=70_000))
    again = quotes.read(promised.token, offer(3))
    assert again == promised
    assert (again.price, again.expired) == (Price(3, "agents", 70_000), False)


def test_a_quote_of_a_former_key_is_honoured_until_the_key_is_forgotten(settings):
    promised = quotes.issue(offer())
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another secret", [settings.SECRET_KEY]
    assert quotes.read(promised.token, offer()) == promised
    assert quotes.read(quotes.issue(offer()).token, offer())
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(quotes.QuoteRefused):
        quotes.read(promised.token, offer())


def test_every_quote_is_one_of_a_kind():
    assert len({quotes.issue(offer()).id for _ in range(500)}) == 500


def test_a_quote_needs_no_table(django_assert_num_queries, db):
    with django_assert_num_queries(0):
        quotes.read(quotes.issue(offer()).token, offer())


def test_the_price_of_the_moment_does_not_matter_while_the_quote_lives():
    promised = quotes.issue(offer(3, micros=70_000))
    dearer = dataclasses.replace(offer(3), price=Price(9, "people", 900_000), version=8)
    assert quotes.read(promised.token, dearer).price.amount_micros == 70_000


@pytest.mark.parametrize(
    "other",
    [
        offer(2),
        offer(1, payee="publisher:8"),
        dataclasses.replace(offer(1), resource="article:1|publisher:7", payee=""),
        dataclasses.replace(offer(1), resource="article:1|publisher", payee="7"),
    ],
    ids=["article", "payee", "both in one word", "both cut elsewhere"],
)
def test_a_quote_is_for_one_article_and_one_payee(other):
    token = quotes.issue(offer(1)).token
    if other.resource == "article:1|publisher":
        other = dataclasses.replace(other, payee=":7")
    with pytest.raises(quotes.QuoteRefused):
        quotes.read(token, other)


@pytest.mark.parametrize(
    ("name", "value"), [("PAY_TO", "0x" + "22" * 20), ("CHAIN_ID", 8453), ("CHAIN_ASSET", "0x" + "33" * 20)]
)
def test_a_quote_is_for_one_way_to_pay(settings, name: str, value):
    settings.PAY_TO = "0x" + "11" * 20
    token = quotes.issue(offer()).token
    setattr(settings, name, value)
    with pytest.raises(quotes.QuoteRefused):
        quotes.read(token, offer())


def test_a_quote_is_ours(settings):
    token = quotes.issue(offer()).token
    settings.SECRET_KEY = "another shop's"
    with pytest.raises(quotes.QuoteRefused):
        quotes.read(token, offer())


def test_an_expired_quote_is_known_and_says_so(settings, monkeypatch):
    promised = quotes.issue(offer())
    monkeypatch.setattr("time.time", lambda: promised.expires_at - 0.5)
    assert not quotes.read(promised.token, offer()).expired
    monkeypatch.setattr("time.time", lambda: float(promised.expires_at))
    assert quotes.read(promised.token, offer()).expired


def test_every_changed_bit_is_noticed():
    token = quotes.issue(offer()).token
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(quotes.QuoteRefused):
            quotes.read(base64.urlsafe_b64encode(bytes(changed)).decode().rstrip("="), offer())


def test_every_shortened_or_lengthened_quote_is_noticed():
    token = quotes.issue(offer()).token
    for length in range(len(token)):
        with pytest.raises(quotes.QuoteRefused):
            quotes.read(token[:length], offer())
    for more in ("A", "AAAA", "====", "\n", " "):
        with pytest.raises(quotes.QuoteRefused):
            quotes.read(token + more, offer())


@given(some.one_of(some.text(max_size=120), some.text(BASE64, max_size=120), some.binary(max_size=90).map(str)))
@examples(max_examples=100, deadline=None)
def test_nothing_else_is_a_quote(token: str):
    with pytest.raises(quotes.QuoteRefused):
        quotes.read(token, offer())
