"""What does not pay: terms that were never offered, authorizations for something else, and those out of time.

Each row is signed for real and consistently. Each is answered by its word and status, says that nobody was charged,
leaves no row behind and costs no call to the chain (the fixture `refused` sees to that).
"""

import base64
import time
from datetime import datetime
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from payments.models import Authorization, Payment
from payments.rails import exact
from publishers.models import Article
from tests import cast
from tests.wallet import Wallet, decoded, encoded

from .till import repacked

pytestmark = pytest.mark.django_db

MISMATCH = "no_matching_requirements"
VALUE = "invalid_exact_evm_payload_authorization_value_mismatch"
BEFORE = "invalid_exact_evm_payload_authorization_valid_before"
AFTER = "invalid_exact_evm_payload_authorization_valid_after"
RECIPIENT = "invalid_exact_evm_payload_recipient_mismatch"
SIGNATURE = "invalid_exact_evm_payload_signature"
STRANGER = "0x" + "77" * 20


# --- Terms that were never offered ------------------------------------------------------------------------

TAMPERED: dict[str, tuple[dict[str, Any], str]] = {
    "a lower amount": ({"amount": "49999"}, MISMATCH),
    "a higher amount": ({"amount": "50001"}, MISMATCH),
    "nothing": ({"amount": "0"}, MISMATCH),
    "the amount spelled otherwise": ({"amount": "050000"}, MISMATCH),
    "another recipient": ({"payTo": STRANGER}, MISMATCH),
    "another token": ({"asset": "0x" + "66" * 20}, MISMATCH),
    "another chain": ({"network": "eip155:8453"}, "invalid_network"),
    "a chain by its old name": ({"network": "base-sepolia"}, "invalid_network"),
    "a chain that is none": ({"network": ""}, "invalid_network"),
    "more time": ({"maxTimeoutSeconds": 301}, MISMATCH),
    "all the time": ({"maxTimeoutSeconds": 2**63}, MISMATCH),
    "another scheme": ({"scheme": "upto"}, "unsupported_scheme"),
    "a scheme in capitals": ({"scheme": "EXACT"}, "unsupported_scheme"),
    "another token's name": ({"extra.name": "USD Coin"}, MISMATCH),
    "another token's version": ({"extra.version": "1"}, MISMATCH),
    "a quote of one's own": ({"extra.quote": "A" * 67}, MISMATCH),
    "a quote that is a number": ({"extra.quote": 7}, MISMATCH),
    "a quote that is not ASCII": ({"extra.quote": "é"}, MISMATCH),
    "no quote": ({"extra.quote": ""}, MISMATCH),
    "another payment flow": ({"extra.paymentFlow": "upfront"}, MISMATCH),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_terms_that_were_changed_and_signed_consistently(refused, till, owls, name):
    changes, word = TAMPERED[name]
    terms = till.terms(owls)
    requirement = terms["accepts"][0]
    for path, value in changes.items():
        place = requirement["extra"] if path.startswith("extra.") else requirement
        place[path.removeprefix("extra.")] = value
    wallet = Wallet()
    signable = (
        requirement if requirement["network"].startswith("eip155:") else requirement | {"network": "eip155:84532"}
    )
    payload = wallet.authorize(signable)
    message = {"x402Version": 2, "accepted": requirement, "payload": payload, "resource": terms["resource"]}
    refused(402, word, payment_signature=encoded(message))


def test_a_quote_for_another_article(refused, till, owls):
    twin = cast.article(owls.publication, "Twin owls")
    refused(402, MISMATCH, payment_signature=till.sign(Wallet(), twin))


def test_a_quote_that_was_edited_to_a_lower_price(refused, till, owls):
    """Every byte of the quote is under the MAC."""
    terms = till.terms(owls)
    token = terms["accepts"][0]["extra"]["quote"]
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for place in range(0, len(raw), 3):
        forged = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        terms["accepts"][0]["extra"]["quote"] = base64.urlsafe_b64encode(forged).decode().rstrip("=")
        refused(402, MISMATCH, payment_signature=Wallet().pay(terms))


def test_a_quote_that_has_expired(refused, till, owls, settings):
    settings.QUOTE_SECONDS = 0
    refused(402, "quote_expired", late=True, payment_signature=till.sign(Wallet(), owls))


def test_a_quote_of_another_shop_or_key(refused, till, owls, settings):
    header = till.sign(Wallet(), owls)
    settings.SECRET_KEY = "another key for tests that signs nothing of value"
    refused(402, MISMATCH, payment_signature=header)


def test_a_quote_for_where_the_money_went_before(refused, till, owls, settings):
    header = till.sign(Wallet(), owls)
    terms = till.terms(owls)
    ours, settings.PAY_TO = settings.PAY_TO, STRANGER
    refused(402, MISMATCH, payment_signature=header)
    terms["accepts"][0]["payTo"] = STRANGER
    refused(402, MISMATCH, payment_signature=Wallet().pay(terms))
    settings.PAY_TO = ours


VERSION_1: dict[str, tuple[dict[str, Any], str]] = {
    "another chain": ({"network": "base"}, "invalid_network"),
    "another chain's new name": ({"network": "eip155:8453"}, "invalid_network"),
    "another scheme": ({"scheme": "upto"}, "unsupported_scheme"),
}


@pytest.mark.parametrize("name", VERSION_1)
def test_version_1_payments_of_another_kind(refused, till, owls, name):
    changes, word = VERSION_1[name]
    message = decoded(till.sign_v1(Wallet(), owls))
    refused(402, word, x_payment=repacked(message | changes))


# --- Authorizations for something else --------------------------------------------------------------------


@pytest.mark.parametrize("value", [49_999, 50_001, 0, 1, 2**63, 2**64, 2**256 - 1])
def test_authorizations_of_another_amount(refused, till, owls, value):
    refused(402, VALUE, payment_signature=till.sign(Wallet(), owls, value=value))
    refused(402, VALUE, x_payment=till.sign_v1(Wallet(), owls, value=value))


def test_an_authorization_for_somebody_else(refused, till, owls):
    refused(402, RECIPIENT, payment_signature=till.sign(Wallet(), owls, to=STRANGER))
    refused(402, RECIPIENT, x_payment=till.sign_v1(Wallet(), owls, to=STRANGER))


def test_the_shop_does_not_pay_itself(refused, till, owls):
    """Nothing would move, and the books would say that it did."""
    custody = Wallet.of(till.chain.accounts.pay_to.key)
    refused(402, RECIPIENT, payment_signature=till.sign(custody, owls))


# --- Time -----------------------------------------------------------------------------------------------

NEVER = 2**256 - 1
REFUSED_WINDOWS = {
    "over": (0, -1, BEFORE),
    "over now": (0, 0, BEFORE),
    "about to be over": (0, 5, BEFORE),
    "a second too long": (0, 361, BEFORE),
    "an hour": (0, 3_600, BEFORE),
    "for ever": (0, NEVER, BEFORE),
    "not yet": (1, 300, AFTER),
    "in a minute": (60, 300, AFTER),
    "never": (NEVER, 300, AFTER),
    "over before it begins": (60, 30, AFTER),
}


@pytest.fixture
def noon(monkeypatch):
    """The product's clock stands still."""
    now = int(time.time())

    class Clock:
        @staticmethod
        def time() -> float:
            return float(now)

    monkeypatch.setattr(exact, "time", Clock)
    return now


def _at(noon: int, seconds: int) -> int:
    return NEVER if seconds == NEVER else noon + seconds


@pytest.mark.parametrize("name", REFUSED_WINDOWS)
def test_authorizations_that_are_not_valid_now_or_for_too_long(refused, till, owls, noon, name):
    after, before, word = REFUSED_WINDOWS[name]
    window = {"validAfter": _at(noon, after) if after else 0, "validBefore": _at(noon, before)}
    late = not after and before <= 5
    refused(402, word, late=late, payment_signature=till.sign(Wallet(), owls, **window))
    refused(402, word, late=late, x_payment=till.sign_v1(Wallet(), owls, **window))


@pytest.mark.parametrize("window", [(0, 6), (0, 30), (0, 300), (0, 360), (-1, 300)])
def test_authorizations_at_the_edges_are_accepted(till, owls, noon, window):
    till.asleep = True
    after, before = window
    header = till.sign(till.wallet(), owls, validAfter=noon + after if after else 0, validBefore=noon + before)
    assert till.get(owls, payment_signature=header).status_code == 503
    assert Payment.objects.get().amount_micros == 50_000


# --- What is asked by other means --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE"])
def test_only_get_pays(till, owls, asked, method):
    header = till.sign(till.wallet(), owls)
    asked.clear()
    answer = Client().generic(method, f"/articles/{owls.slug}.json", headers={"payment-signature": header})
    assert answer.status_code in (402, 204, 405)
    assert asked == []
    assert not Payment.objects.exists()


@pytest.mark.parametrize("shown", ["payment_signature", "x_payment"])
def test_a_person_reads_the_same_refusal_on_the_page(till, owls, shown):
    """The same word, for scripts, and the sentence; nobody is left to guess whether they were charged."""
    good = {"payment_signature": till.sign, "x_payment": till.sign_v1}[shown](Wallet(), owls, value=1)
    for header, status, word in (("junk!", 400, "invalid_payload"), (good, 402, VALUE)):
        page = till.get(owls, "", accept="text/html", **{shown: header})
        assert page.status_code == status
        assert page["Content-Type"].startswith("text/html")
        assert f'data-word="{word}"' in page.content.decode()
        assert b"You have not been charged." in page.content
        assert ("PAYMENT-REQUIRED" in page) == (status == 402)


def test_a_person_whose_payment_is_on_its_way_is_not_told_that_it_is_not(till, owls):
    till.asleep = True
    page = till.get(owls, "", accept="text/html", payment_signature=till.sign(till.wallet(), owls))
    assert page.status_code == 503
    assert 'data-word="settlement_pending"' in page.content.decode()
    assert int(page["Retry-After"]) > 0
    assert b"not charged" not in page.content.lower()


def test_a_payer_that_cost_us_gas_three_times_waits_an_hour(till, owls):
    wallet = Wallet()
    for number in range(3):
        _wasted(owls, bytes.fromhex(wallet.address[2:]), number, timezone.now())
    header = till.sign(wallet, owls)
    answer = till.get(owls, payment_signature=header)
    assert (answer.status_code, answer.json()["error"], answer.json()["charged"]) == (402, "too_many_failures", False)
    assert Payment.objects.count() == 3


def _wasted(article: Article, payer: bytes, number: int, at: datetime) -> None:
    payment = Payment.objects.create(
        rail="exact",
        buyer=f"eip155:84532:0x{payer.hex()}",
        resource=f"article:{article.pk}",
        version=1,
        payee=f"publisher:{article.publication_id}",
        audience="agents",
        price_id=1,
        amount_micros=50_000,
        state="failed",
    )
    Authorization.objects.create(
        payment=payment,
        chain_id=84532,
        token=b"\x02" * 20,
        payer=payer,
        nonce=number.to_bytes(32, "big"),
        recipient=b"\x01" * 20,
        valid_after=0,
        valid_before=1,
        signature=b"\x00" * 65,
        wasted_at=at,
    )
