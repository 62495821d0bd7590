"""What is no payment at all: junk, wrong types, numbers and addresses that are spelled otherwise.

All of it is 400 with a stable word, uncharged, unrecorded and without the chain (the fixture `refused` sees to that);
nothing is answered 500: the test client would raise it.
"""

import base64
import json

import pytest

from tests.wallet import Wallet, decoded

from .till import repacked

pytestmark = pytest.mark.django_db

INVALID = "invalid_payload"
VERSION = "invalid_x402_version"
MISMATCH = "no_matching_requirements"


def base64_of(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")).decode()


# --- No payment at all --------------------------------------------------------------------------------

JUNK = {
    "not base64": ("junk!", INVALID),
    "half of base64": ("e", INVALID),
    "two headers in one": ("e30=,e30=", INVALID),
    "not ASCII": ("é" * 40, INVALID),
    "white space": ("   ", INVALID),
    "not UTF-8": (base64_of(b"\xff\xfe{}"), INVALID),
    "UTF-16": (base64_of('{"x402Version":2}'.encode("utf-16")), INVALID),
    "a byte order mark": (base64_of(b"\xef\xbb\xbf{}"), INVALID),
    "not JSON": (base64_of("{'x402Version': 2}"), INVALID),
    "half of JSON": (base64_of('{"x402Version":2'), INVALID),
    "null": (base64_of("null"), INVALID),
    "a list": (base64_of("[]"), INVALID),
    "a string": (base64_of('"payment"'), INVALID),
    "a number": (base64_of("2"), INVALID),
    "NaN": (base64_of('{"x402Version":NaN}'), INVALID),
    "Infinity": (base64_of('{"x402Version":-Infinity}'), INVALID),
    "a number of 5,000 digits": (base64_of('{"x402Version":' + "9" * 5_000 + "}"), INVALID),
    "a name twice": (base64_of('{"x402Version":2,"x402Version":2}'), INVALID),
    "a name twice, deeper": (base64_of('{"x402Version":2,"payload":{"a":1,"a":2}}'), INVALID),
    "4,000 brackets": (base64_of("[" * 4_000), INVALID),
    "1,000 objects in each other": (base64_of('{"a":' * 1_000), INVALID),
    "250 brackets beside each other": (base64_of('{"a":[' + "[]," * 250 + "[]]}"), INVALID),
    "70 KB of brackets": (base64_of("[" * 70_000), "payload_too_large"),
    "8,193 characters": ("A" * 8_193, "payload_too_large"),
    "10 MB": ("A" * 10_000_000, "payload_too_large"),
    "no version": (base64_of("{}"), VERSION),
    "version null": (base64_of('{"x402Version":null}'), VERSION),
    "version 3": (base64_of('{"x402Version":3}'), VERSION),
    "version as text": (base64_of('{"x402Version":"2"}'), VERSION),
    "version in a list": (base64_of('{"x402Version":[2]}'), VERSION),
    "version 1e400": (base64_of('{"x402Version":1e400}'), VERSION),
}
HOLLOW = {
    "nothing else": '{"x402Version":%d}',
    "lone surrogates": '{"x402Version":%d,"scheme":"\\ud800","network":"\\udfff","payload":{}}',
    "NUL": '{"x402Version":%d,"scheme":"\\u0000","network":"exact","payload":{"authorization":{}}}',
    "an unknown payload": '{"x402Version":%d,"scheme":"exact","network":"eip155:84532","payload":{"permit2":{}}}',
}


@pytest.mark.parametrize("name", JUNK)
def test_what_is_no_payment(refused, name):
    header, word = JUNK[name]
    for field in ("payment_signature", "x_payment"):
        refused(400, word, **{field: header})


@pytest.mark.parametrize("name", HOLLOW)
def test_what_has_the_version_of_a_payment_and_nothing_else_of_it(refused, name):
    refused(400, INVALID, payment_signature=base64_of(HOLLOW[name] % 2))
    refused(400, INVALID, x_payment=base64_of(HOLLOW[name] % 1))


def test_one_versions_payment_in_the_other_versions_header(refused, till, owls):
    wallet = Wallet()
    second, first = till.sign(wallet, owls), till.sign_v1(wallet, owls)
    refused(400, VERSION, payment_signature=first)
    refused(400, VERSION, x_payment=second)


def test_an_empty_header_shows_nothing_and_is_asked_to_pay(till, owls):
    answer = till.get(owls, payment_signature="", x_payment="")
    assert (answer.status_code, answer.json()["error"]) == (402, "payment_required")


# --- Wrong types -----------------------------------------------------------------------------------------

WRONG = [None, True, 0, 1.5, [], {}, "", "text", ["0x00"], -1]
AUTHORIZATION = ["from", "to", "value", "validAfter", "validBefore", "nonce"]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("field", [*AUTHORIZATION, "signature", "authorization", "payload"])
def test_wrong_types_and_missing_fields_of_a_payment(refused, till, owls, version, field):
    message = decoded(till.sign(Wallet(), owls) if version == 2 else till.sign_v1(Wallet(), owls))
    for wrong in [*WRONG, "missing"]:
        changed = json.loads(json.dumps(message))
        place = {"payload": changed}.get(field, changed["payload"])
        if field in AUTHORIZATION:
            place = place["authorization"]
        if wrong == "missing":
            del place[field]
        else:
            place[field] = wrong
        shown = {"payment_signature" if version == 2 else "x_payment": repacked(changed)}
        refused(400, INVALID, **shown)


@pytest.mark.parametrize("field", ["scheme", "network", "amount", "asset", "payTo", "maxTimeoutSeconds", "extra"])
def test_wrong_types_and_missing_fields_of_the_accepted_terms(refused, till, owls, field):
    message = decoded(till.sign(Wallet(), owls))
    for wrong in [None, [], ["x"], "missing"]:
        changed = json.loads(json.dumps(message))
        if wrong == "missing":
            del changed["accepted"][field]
        else:
            changed["accepted"][field] = wrong
        # Without any extra the form is right and the quote is missing.
        status, word = (402, MISMATCH) if (field, wrong) == ("extra", "missing") else (400, INVALID)
        refused(status, word, payment_signature=repacked(changed))


@pytest.mark.parametrize("wrong", [None, [], "text", 7])
def test_accepted_terms_that_are_no_terms(refused, till, owls, wrong):
    message = decoded(till.sign(Wallet(), owls))
    refused(400, INVALID, payment_signature=repacked(message | {"accepted": wrong}))


# --- Spelled otherwise --------------------------------------------------------------------------------

SPELLINGS = ["50_000", " 50000 ", "50000\n", "５００００", "5００００", "+50000", "050000", "5e4", "50000.0",
             "-1", "-0", "0x", "", "0xc350", "٥٠٠٠٠", "²", "NaN", "50000\x00",
             "9" * 5_000, "1" + "0" * 78, str(2**256)]  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda text: ascii(text)[:12])
def test_numbers_that_are_spelled_otherwise(refused, till, owls, spelling):
    for version, field in ((2, "payment_signature"), (1, "x_payment")):
        message = decoded(till.sign(Wallet(), owls) if version == 2 else till.sign_v1(Wallet(), owls))
        for name in ("value", "validAfter", "validBefore"):
            changed = json.loads(json.dumps(message))
            changed["payload"]["authorization"][name] = spelling
            sent = repacked(changed)
            refused(400, INVALID if len(sent) <= 8_192 else "payload_too_large", **{field: sent})


HEX = {
    "without 0x": lambda text: text[2:],
    "0X": lambda text: "0X" + text[2:],
    "a digit short": lambda text: text[:-1],
    "a byte longer": lambda text: text + "00",
    "white space inside": lambda text: text[:10] + " " + text[11:],
    "white space behind": lambda text: text + " ",
    "a line behind": lambda text: text + "\n",
    "no hex digit": lambda text: text[:-1] + "g",
    "a full-width digit": lambda text: text[:-1] + "１",
}


@pytest.mark.parametrize("name", HEX)
@pytest.mark.parametrize("field", ["from", "to", "nonce"])
def test_addresses_and_nonces_that_are_spelled_otherwise(refused, till, owls, field, name):
    message = decoded(till.sign(Wallet(), owls))
    said = message["payload"]["authorization"]
    said[field] = HEX[name](said[field])
    refused(400, INVALID, payment_signature=repacked(message))
