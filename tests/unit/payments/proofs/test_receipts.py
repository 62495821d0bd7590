"""A receipt is a signed paper: what it says is what was paid, anybody can check it, and nobody else can write one."""

import base64
import hmac
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from payments.proofs import receipts
from payments.proofs.receipts import Receipt

PAID = Receipt("https://shop.example/articles/owls", "0x" + "aa" * 20, "eip155:84532", "0x" + "bb" * 32)


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def claims() -> dict:
    return jwt.decode(receipts.issue(PAID), options={"verify_signature": False})


def public_key() -> str:
    return receipts.did_document()["verificationMethod"][0]["publicKeyJwk"]["x"]


def test_a_receipt_says_what_was_paid_in_the_standards_words():
    token = receipts.issue(PAID)
    assert receipts.read(token) == PAID
    said = claims()
    assert (said["version"], said["resourceUrl"], said["payer"]) == (1, PAID.resource_url, PAID.payer)
    assert set(said) == {"version", "network", "resourceUrl", "payer", "issuedAt", "transaction"}
    assert jwt.get_unverified_header(token)["kid"] == receipts.key_id()


def test_anybody_checks_it_with_the_published_key():
    jwk = receipts.did_document()["verificationMethod"][0]["publicKeyJwk"]
    key = jwt.PyJWK(jwk | {"alg": "EdDSA"})
    assert jwt.decode(receipts.issue(PAID), key, algorithms=["EdDSA"])["payer"] == PAID.payer


def test_the_key_is_the_configured_one_or_made_from_the_secret(settings):
    made = public_key()
    settings.SECRET_KEY = "another secret"
    assert public_key() != made
    settings.RECEIPT_KEY = "07" * 32
    configured = public_key()
    settings.SECRET_KEY = "a third secret"
    assert public_key() == configured != made


def test_a_receipt_of_a_former_key_still_opens_and_is_checked_with_its_own_published_key(settings):
    first = settings.SECRET_KEY
    derived = receipts.issue(PAID)
    settings.RECEIPT_KEY = "07" * 32
    configured = receipts.issue(PAID)
    assert receipts.read(derived) is None  # Who steals SECRET_KEY alone makes no receipts.
    settings.RECEIPT_KEY, settings.RECEIPT_KEY_FALLBACKS = "08" * 32, ["07" * 32, f"secret:{first}"]
    settings.SECRET_KEY = "another secret"
    published = {method["id"]: method["publicKeyJwk"] for method in receipts.did_document()["verificationMethod"]}
    assert len(published) == 3
    for token in (derived, configured, receipts.issue(PAID)):
        assert receipts.read(token) == PAID
        key = jwt.PyJWK(published[jwt.get_unverified_header(token)["kid"]] | {"alg": "EdDSA"})
        assert jwt.decode(token, key, algorithms=["EdDSA"])["payer"] == PAID.payer
    settings.RECEIPT_KEY_FALLBACKS = []
    assert receipts.read(derived) is None
    assert receipts.read(configured) is None
    settings.RECEIPT_KEY, settings.SECRET_KEY_FALLBACKS = "", [first]
    assert receipts.read(derived) == PAID


def forged(header: dict, key: bytes = b"") -> str:
    signed = f"{part(header)}.{part(claims())}"
    mac = hmac.digest(key, signed.encode(), "sha256") if key else b""
    return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def test_papers_without_our_signature_are_no_receipts(settings):
    body = receipts.issue(PAID).split(".")[1]
    stranger = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
    published = public_key()
    for paper in (
        "",
        "a.b.c",
        "...",
        "é" * 10,
        "\0",
        receipts.issue(PAID)[:-4],
        receipts.issue(PAID) + ".more",
        forged({"alg": "none"}),
        forged({"alg": "HS256"}, published.encode()),
        forged({"alg": "HS256"}, base64.urlsafe_b64decode(published + "=")),
        jwt.encode(claims(), stranger, "EdDSA", {"kid": receipts.key_id()}),
        jwt.encode(claims(), "a secret that is long enough for it" * 2, "HS256"),
        f"{part({'alg': 'EdDSA'})}.{body}.",
    ):
        assert receipts.read(paper) is None, paper


@pytest.mark.parametrize("place", [5, -5])
def test_a_changed_letter_is_noticed(place: int):
    token = receipts.issue(PAID)
    for at in range(len(token)):
        if token[at] != "." and at != len(token) - 1:
            other = "A" if token[at] != "A" else "B"
            assert receipts.read(token[:at] + other + token[at + 1 :]) is None


@pytest.mark.parametrize(
    "changes", [{"payer": 5}, {"payer": None}, {"resourceUrl": ["x"]}, {"network": {}}, {"transaction": 1.5}]
)
def test_a_paper_of_ours_that_says_something_else_is_no_receipt(changes: dict):
    key = receipts._key("", receipts.settings.SECRET_KEY)
    assert receipts.read(jwt.encode(claims() | changes, key, "EdDSA")) is None


def test_a_receipt_is_short_and_a_long_paper_is_not_looked_at():
    long = Receipt("https://shop.example/articles/" + "x" * 200, PAID.payer, PAID.network, PAID.transaction)
    assert receipts.read(receipts.issue(long)) == long
    huge = Receipt("x" * 4_000, PAID.payer, PAID.network, PAID.transaction)
    assert receipts.read(receipts.issue(huge)) is None
