"""Pay once, read again: by repetition for a minute, later by quote, receipt, wallet or session."""

import base64
import json
import time
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings as configured
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from payments.models import Grant, Payment
from payments.proofs import receipts, wallets
from tests import cast
from tests.wallet import Wallet, decoded

from .proofs import wallet_proof, wallet_proof_of
from .till import requoted

pytestmark = pytest.mark.django_db
FORMATS = ["", ".md", ".json"]
PAID = b"canary7731"


@pytest.fixture
def twin(owls):
    """Another article of the same publication at the same prices."""
    return cast.article(owls.publication, "Twin owls")


@pytest.fixture
def wallet(till):
    return till.wallet(1_000_000)


# --- Repetition ---------------------------------------------------------------------------------------


def test_a_repeated_header_is_served_for_a_minute_with_the_same_transaction(till, owls, wallet):
    header, first = till.buy(wallet, owls)
    observed = requoted(header, till.terms(owls))
    for suffix in FORMATS:
        answer = till.get(owls, suffix, payment_signature=header)
        assert answer.status_code == 200
        told, before = decoded(answer["PAYMENT-RESPONSE"]), decoded(first["PAYMENT-RESPONSE"])
        assert told["transaction"] == before["transaction"]
        assert till.get(owls, suffix, payment_signature=observed).status_code == 409
    assert till.chain.balance(wallet.address) == 950_000
    assert Payment.objects.count() == 1


def test_a_bare_repetition_gets_no_receipt_and_no_session(till, owls, wallet):
    version_1, answer = till.buy_v1(wallet, owls)
    assert "PAYMENT-RECEIPT" in answer
    again = till.get(owls, x_payment=version_1)
    assert again.status_code == 200
    assert "PAYMENT-RECEIPT" not in again
    assert "extensions" not in decoded(again["X-PAYMENT-RESPONSE"])
    assert not again.cookies


def test_a_bare_repetition_by_another_client_opens_nothing(till, owls, wallet):
    """Version 1 has no quote to prove who paid: within the minute the client's address has to do."""
    version_1, _ = till.buy_v1(wallet, owls)
    path = f"/articles/{owls.slug}.json"
    till.web.cookies.clear()
    for elsewhere in ("192.0.2.9", "2001:db8::9", "unix:"):
        answer = till.web.get(path, headers={"X-PAYMENT": version_1}, REMOTE_ADDR=elsewhere)
        assert answer.status_code == 409, elsewhere
    assert till.web.get(path, headers={"X-PAYMENT": version_1}).status_code == 200


def test_after_a_minute_a_bare_repetition_is_told_that_it_has_paid_and_how_to_come_back(till, owls, wallet, settings):
    header, _ = till.buy(wallet, owls)
    version_1, _ = till.buy_v1(till.wallet(), owls)
    settings.REPLAY_SECONDS = 0
    for shown in ({"payment_signature": requoted(header, till.terms(owls))}, {"x_payment": version_1}):
        answer = till.get(owls, **shown)
        assert answer.status_code == 409
        said = answer.json()
        assert (said["error"], said["charged"]) == ("already_paid", True)
        assert {way["header"] for way in said["ways_back_in"]} == {
            "PAYMENT-RECEIPT",
            "PAYMENT-SIGNATURE",
            "SIGN-IN-WITH-X",
        }
        page = till.get(owls, "", accept="text/html", **shown)
        assert page.status_code == 409
        for one in (answer, page):
            assert b"not charged" not in one.content.lower()
            assert PAID not in one.content
            assert "PAYMENT-RECEIPT" not in one
            assert one["Cache-Control"] == "no-store"
    assert till.chain.balance(wallet.address) == 950_000


def test_with_the_quote_that_was_paid_the_header_opens_the_article_for_good(till, owls, wallet, settings):
    header, _ = till.buy(wallet, owls)
    settings.REPLAY_SECONDS = 0
    for suffix in FORMATS:
        answer = till.get(owls, suffix, payment_signature=header)
        assert answer.status_code == 200
        assert "PAYMENT-RECEIPT" in answer
    # The quote has run out long ago and the authorization too: neither is bought with again.
    settings.QUOTE_SECONDS = 0
    Payment.objects.update(decided_at=timezone.now() - timedelta(days=400))
    assert till.get(owls, payment_signature=header).status_code == 200
    assert till.chain.balance(wallet.address) == 950_000


def test_an_owner_who_signs_again_is_served_and_not_charged(till, owls, wallet, settings):
    _, first = till.buy(wallet, owls)
    settings.REPLAY_SECONDS = 0
    for suffix in FORMATS:
        second = till.sign(wallet, owls, suffix)
        answer = till.get(owls, suffix, payment_signature=second)
        assert answer.status_code == 200
        assert decoded(answer["PAYMENT-RESPONSE"])["transaction"] == decoded(first["PAYMENT-RESPONSE"])["transaction"]
    answer = till.get(owls, x_payment=till.sign_v1(wallet, owls))
    assert answer.status_code == 200
    assert till.chain.balance(wallet.address) == 950_000
    assert Payment.objects.count() == Grant.objects.count() == 1


def test_a_buyer_who_signs_again_while_the_first_is_in_flight_pays_once(till, owls, wallet):
    till.asleep = True
    first, second = till.sign(wallet, owls), till.sign(wallet, owls)
    assert till.get(owls, payment_signature=first).status_code == 503
    assert till.get(owls, payment_signature=second).status_code == 503
    till.asleep = False
    served = till.get(owls, payment_signature=second)
    assert served.status_code == 200
    assert "PAYMENT-RECEIPT" in served
    assert till.get(owls, payment_signature=first).status_code == 200
    assert till.chain.balance(wallet.address) == 950_000


# --- Receipts -----------------------------------------------------------------------------------------


@pytest.fixture
def receipt(till, owls, wallet):
    return till.buy(wallet, owls)[1]["PAYMENT-RECEIPT"]


def test_a_receipt_opens_every_format_and_costs_nothing(till, owls, wallet, receipt, settings, asked):
    settings.REPLAY_SECONDS = 0
    for suffix in FORMATS:
        answer = till.get(owls, suffix, payment_receipt=receipt)
        assert answer.status_code == 200
        assert PAID in answer.content
        assert "PAYMENT-RECEIPT" in answer
        assert answer["Cache-Control"] == "private, no-store"
    assert asked == []
    assert till.chain.balance(wallet.address) == 950_000


def test_a_receipt_does_not_open_what_the_same_buyer_owns_besides(till, owls, twin, wallet, receipt):
    """It may have been given away like a paper: it says one article and opens that one."""
    other = till.buy(wallet, twin)[1]["PAYMENT-RECEIPT"]
    assert till.get(twin, payment_receipt=receipt).status_code == 402
    assert till.get(owls, payment_receipt=other).status_code == 402


def test_an_owners_head_has_no_body_and_a_heads_payment_is_not_taken(till, owls, receipt):
    path = f"/articles/{owls.slug}.md"
    head = Client().head(path, headers={"payment-receipt": receipt})
    assert (head.status_code, head.content, head["Cache-Control"]) == (200, b"", "private, no-store")
    unpaid = Client().head(path, headers={"payment-signature": till.sign(till.wallet(), owls)})
    assert unpaid.status_code == 402
    assert Payment.objects.count() == 1


def test_a_receipt_can_be_checked_by_anybody_with_the_published_key(till, owls, wallet, receipt):
    document = Client().get("/.well-known/did.json").json()
    method = document["verificationMethod"][0]
    assert jwt.get_unverified_header(receipt)["kid"] == method["id"]
    claims = jwt.decode(receipt, jwt.PyJWK(method["publicKeyJwk"] | {"alg": "EdDSA"}), algorithms=["EdDSA"])
    assert claims["resourceUrl"] == f"{configured.BASE_URL}/articles/{owls.slug}"
    assert claims["payer"].lower() == wallet.address.lower()
    assert claims["network"] == "eip155:84532"


def test_receipts_that_are_not_ours_or_not_for_this_article_open_nothing(till, owls, twin, receipt):
    key = receipts._key("", configured.SECRET_KEY)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    claims = jwt.decode(receipt, options={"verify_signature": False})
    head, body, signature = receipt.split(".")
    edited = _part(claims | {"resourceUrl": f"{configured.BASE_URL}/articles/{twin.slug}"})
    flipped = signature[:-4] + ("A" if signature[-4] != "A" else "B") + signature[-3:]
    forged = {
        "its claims edited": f"{head}.{edited}.{signature}",
        "its signature edited": f"{head}.{body}.{flipped}",
        "without signature": f"{head}.{body}.",
        "alg none": f"{_part({'alg': 'none', 'typ': 'JWT'})}.{body}.",
        "alg none, signature kept": f"{_part({'alg': 'none'})}.{body}.{signature}",
        "signed with the public key as a shared secret": _hs256(claims, public),
        "signed by another key": jwt.encode(claims, Ed25519PrivateKey.generate(), "EdDSA"),
        "ours, of an unknown payer": jwt.encode(claims | {"payer": "0x" + "11" * 20}, key, "EdDSA"),
        "ours, of another chain": jwt.encode(claims | {"network": "eip155:8453"}, key, "EdDSA"),
        "ours, with a number for a payer": jwt.encode(claims | {"payer": 7}, key, "EdDSA"),
        "ours, without a payer": jwt.encode({k: v for k, v in claims.items() if k != "payer"}, key, "EdDSA"),
        "not a receipt": "junk",
        "dots": ".." * 500,
        "not ASCII": "é" * 30,
        "nested": f"{base64.urlsafe_b64encode(b'[' * 1400).decode()}.e30.e30",
        "too long": receipt + "A" * 3000,
    }
    for what, paper in forged.items():
        answer = till.get(owls, payment_receipt=paper)
        assert answer.status_code == 402, what
        assert PAID not in answer.content, what
    assert till.get(twin, payment_receipt=receipt).status_code == 402
    assert till.get(owls, payment_receipt=receipt).status_code == 200


def test_a_receipt_opens_nothing_once_its_grant_is_revoked(till, owls, receipt):
    sale = Payment.objects.get()
    Grant.objects.filter(payment=sale).update(revoked_at=timezone.now())
    try:
        assert till.get(owls, payment_receipt=receipt).status_code == 402
    finally:
        Grant.objects.filter(payment=sale).update(revoked_at=None)


def _part(said: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")


def _hs256(claims: dict, secret: bytes) -> str:
    return jwt.encode(claims, secret, "HS256")


# --- Wallet proofs -------------------------------------------------------------------------------------


def test_a_wallet_proof_opens_every_format_for_its_buyer_only(till, owls, twin, wallet, settings, asked):
    till.buy(wallet, owls)
    settings.REPLAY_SECONDS = 0
    asked.clear()
    for suffix in FORMATS:
        answer = till.get(owls, suffix, sign_in_with_x=wallet_proof(till.terms(owls, ".json"), wallet))
        assert answer.status_code == 200
        assert PAID in answer.content
        assert "PAYMENT-RECEIPT" in answer
    assert asked == []
    assert till.get(twin, sign_in_with_x=wallet_proof(till.terms(twin), wallet)).status_code == 402
    assert till.get(owls, sign_in_with_x=wallet_proof(till.terms(owls), Wallet())).status_code == 402
    assert asked == ["eth_getBlockByNumber"]  # Once in a while: whether the watcher has read everything.


def test_wallet_proofs_for_another_article_or_changed_after_signing_open_nothing(till, owls, twin, wallet):
    till.buy(wallet, owls)
    here, there = till.terms(owls), till.terms(twin)
    info = here["extensions"]["sign-in-with-x"]["info"]
    wrong = {
        "another article's": wallet_proof(there, wallet),
        "another article's, said to be this one's": wallet_proof(there, wallet, uri=info["uri"], nonce=info["nonce"]),
        "another wallet's, said to be the buyer's": wallet_proof(here, Wallet(), address=wallet.address),
        "signed for another site": wallet_proof_of(here, wallet, domain="example.org"),
        "signed for another chain": wallet_proof_of(here, wallet, chain_id="eip155:8453"),
        "signed with a nonce of its own": wallet_proof_of(here, wallet, nonce="0" * 32),
        "signed with another article's nonce": wallet_proof_of(there, wallet, uri=info["uri"]),
        "signed for another address": wallet_proof_of(here, wallet, uri=there["resource"]["url"]),
        "signed an hour ahead": wallet_proof_of(here, wallet, issued_at=_in(3600)),
        "signed for later": wallet_proof_of(here, wallet, not_before=_in(3600)),
        "signed for yesterday": wallet_proof_of(here, wallet, expiration_time=_in(-86400)),
        "without a moment": wallet_proof(here, wallet, issued_at="yesterday"),
        "no signature": wallet_proof(here, wallet, signature="0x"),
        "half a signature": wallet_proof(here, wallet, signature="0x" + "11" * 32),
        "no hex": wallet_proof(here, wallet, signature="0xzz"),
        "a short address": wallet_proof(here, wallet, address="0x11"),
        "an odd address": wallet_proof(here, wallet, address="é" * 42),
    }
    for what, proof in wrong.items():
        answer = till.get(owls, sign_in_with_x=proof)
        assert answer.status_code == 402, what
        assert PAID not in answer.content, what
    for what in _JUNK:
        assert till.get(owls, sign_in_with_x=what).status_code == 402
    assert till.get(owls, sign_in_with_x=wallet_proof(here, wallet)).status_code == 200
    assert till.get(owls, sign_in_with_x=wallet_proof_of(here, wallet, statement="Mine.")).status_code == 200


_JUNK = (
    "junk",
    "é",
    "A" * 5000,
    *(base64.b64encode(raw).decode() for raw in (b"[" * 3000, b"\xff", b"9" * 2900, b'{"address":"\\ud800"}')),
)


def test_a_wallet_proof_is_good_for_five_minutes(till, owls, wallet, monkeypatch):
    till.buy(wallet, owls)
    now = time.time()

    class Earlier:
        @staticmethod
        def time() -> float:
            return now - 310

    with monkeypatch.context() as then:
        then.setattr(wallets, "time", Earlier)
        old = till.terms(owls)
    assert till.get(owls, sign_in_with_x=wallet_proof(old, wallet)).status_code == 402
    prolonged = wallet_proof_of(old, wallet, issued_at=_in(0), expiration_time=_in(300))
    assert till.get(owls, sign_in_with_x=prolonged).status_code == 402


def _in(seconds: int) -> str:
    return (timezone.now() + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- Sessions and libraries ----------------------------------------------------------------------------


def bought_in(browser: Client, till, owls, wallet):
    """Buy the page in this browser."""
    header = till.sign(wallet, owls, "")
    page = browser.get(f"/articles/{owls.slug}", headers={"accept": "text/html", "payment-signature": header})
    assert page.status_code == 200
    return page


def test_the_browser_that_bought_reads_every_format_again_and_others_do_not(till, owls, wallet, settings):
    browser = Client()
    bought_in(browser, till, owls, wallet)
    settings.REPLAY_SECONDS = 0
    for suffix in FORMATS:
        again = browser.get(f"/articles/{owls.slug}{suffix}", headers={"accept": "text/html"})
        assert again.status_code == 200
        assert PAID in again.content
        assert again["Cache-Control"] == "private, no-store"
        assert till.get(owls, suffix).status_code == 402
    assert owls.current_version.title.encode() in browser.get("/library").content
    grant = Grant.objects.get()
    assert browser.get(f"/receipts/{grant.id}").status_code == 200
    assert Client().get(f"/receipts/{grant.id}").status_code == 404


def test_an_expired_or_invented_session_opens_nothing(till, owls, wallet):
    browser = Client()
    bought_in(browser, till, owls, wallet)
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert browser.get(f"/articles/{owls.slug}.json").status_code == 402
    for cookie in ("", "x" * 32, "../../etc", "é"):
        stranger = Client()
        stranger.cookies[configured.SESSION_COOKIE_NAME] = cookie
        assert stranger.get(f"/articles/{owls.slug}.json").status_code == 402


def test_a_signed_in_reader_has_it_in_the_library_and_nobody_else_has(till, owls, wallet):
    reader, other = cast.person("rita"), cast.person("otto")
    bought_in(cast.signed_in(reader), till, owls, wallet)
    elsewhere = cast.signed_in(reader)
    assert elsewhere.get(f"/articles/{owls.slug}.json").status_code == 200
    assert elsewhere.get(f"/articles/{owls.slug}", headers={"accept": "text/html"}).status_code == 200
    assert cast.signed_in(other).get(f"/articles/{owls.slug}.json").status_code == 402


def test_signing_in_takes_what_this_browser_has_bought_along(till, owls, wallet):
    reader, browser = cast.person("rita"), Client()
    bought_in(browser, till, owls, wallet)
    cast.sign_in(browser, reader)
    assert owls.current_version.title.encode() in browser.get("/library").content
    assert cast.signed_in(reader).get(f"/articles/{owls.slug}.json").status_code == 200
