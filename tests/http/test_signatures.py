"""Signatures: one canonical form passes, every spelling of one authorization is one claim, contracts may vouch.

A signature that the payer's key did not make may still be a contract wallet's: that one question to the chain is
capped, limited and remembered.
"""

import pytest

from payments.models import Authorization, Grant, Payment
from tests.wallet import Wallet, decoded

from .till import repacked

pytestmark = pytest.mark.django_db

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
WORD = "invalid_exact_evm_payload_signature"


def with_signature(header: str, signature: bytes) -> str:
    message = decoded(header)
    message["payload"]["signature"] = "0x" + signature.hex()
    return repacked(message)


def signature_of(header: str) -> bytes:
    return bytes.fromhex(decoded(header)["payload"]["signature"][2:])


def _high_s(good: bytes) -> bytes:
    s = ORDER - int.from_bytes(good[32:64], "big")
    return good[:32] + s.to_bytes(32, "big") + bytes([55 - good[64]])


def _compact(good: bytes) -> bytes:
    """The 64 bytes of EIP-2098."""
    return good[:32] + bytes([good[32] | (good[64] - 27) << 7]) + good[33:64]


MUTATIONS = {
    "a flipped bit in r": lambda good: bytes([good[0] ^ 1]) + good[1:],
    "a flipped bit in s": lambda good: good[:63] + bytes([good[63] ^ 1]) + good[64:],
    "the other v": lambda good: good[:64] + bytes([55 - good[64]]),
    "high s": _high_s,
    "v 28 and more": lambda good: good[:64] + b"\x1d",
    "v of EIP-155": lambda good: good[:64] + b"\x23",
    "v 255": lambda good: good[:64] + b"\xff",
    "64 bytes": lambda good: good[:64],
    "compact": _compact,
    "66 bytes": lambda good: good + b"\x00",
    "another signer's": None,
    "zeroes": lambda good: b"\x00" * 65,
    "r and s of zero": lambda good: b"\x00" * 64 + b"\x1b",
    "r and s of the order": lambda good: ORDER.to_bytes(32, "big") * 2 + b"\x1b",
    "1,024 bytes": lambda good: good * 15 + b"\x00" * 49,
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_signature_that_is_not_the_payers_canonical_one_costs_one_question_at_most(till, owls, asked, name):
    wallet = till.wallet()
    header = till.sign(wallet, owls)
    mutate = MUTATIONS[name]
    wrong = mutate(signature_of(header)) if mutate else signature_of(till.sign(Wallet(), owls))
    asked.clear()
    for _ in range(3):
        answer = till.get(owls, payment_signature=with_signature(header, wrong))
        assert (answer.status_code, answer.json()["error"], answer.json()["charged"]) == (402, WORD, False)
    assert asked == ["eth_call"], "an address without code is asked about once"
    assert not Payment.objects.exists()
    # The honest header is not harmed by what others made of it.
    assert till.get(owls, payment_signature=header).status_code == 200


@pytest.mark.parametrize(
    ("length", "status", "word"),
    [
        (0, 402, WORD),
        (1_025, 400, "invalid_payload"),
        (2_000, 400, "invalid_payload"),
        (5_000, 400, "payload_too_large"),
    ],
)
def test_a_signature_that_cannot_be_one_is_not_asked_about(refused, till, owls, length, status, word):
    refused(status, word, payment_signature=with_signature(till.sign(Wallet(), owls), b"\x11" * length))


DOMAINS = {
    "another token's name": {"name": "USD Coin"},
    "another version": {"version": "1"},
    "another chain": {"chainId": 8453},
    "another token": {"verifyingContract": "0x" + "66" * 20},
}


@pytest.mark.parametrize("name", DOMAINS)
def test_an_authorization_signed_for_another_domain(till, owls, asked, name):
    header = till.sign(Wallet(), owls, domain=DOMAINS[name])
    asked.clear()
    answer = till.get(owls, payment_signature=header)
    assert (answer.status_code, answer.json()["error"], answer.json()["charged"]) == (402, WORD, False)
    assert asked == ["eth_call"]
    assert not Payment.objects.exists()


# --- One authorization, many spellings ---------------------------------------------------------------------


def _authorization(header: str, **changes) -> str:
    message = decoded(header)
    said = message["payload"]["authorization"]
    for name, change in changes.items():
        said[name] = change(said[name])
    return repacked(message)


def _upper(text: str) -> str:
    return "0x" + text[2:].upper()


def _odd_checksum(text: str) -> str:
    return "0x" + text[2:].swapcase()


SPELLINGS = {
    "nonce in capitals": lambda header: _authorization(header, nonce=_upper),
    "payer in small letters": lambda header: _authorization(header, **{"from": str.lower}),
    "payer in capitals": lambda header: _authorization(header, **{"from": _upper}),
    "payer with a wrong checksum": lambda header: _authorization(header, **{"from": _odd_checksum}),
    "recipient in capitals": lambda header: _authorization(header, to=_upper),
    "recipient with a wrong checksum": lambda header: _authorization(header, to=_odd_checksum),
    "signature in capitals": lambda header: _signature(header, _upper),
    "v of 0 or 1": lambda header: with_signature(header, _small_v(signature_of(header))),
    "names in another order": lambda header: _reordered(header),
    "an unknown name more": lambda header: repacked(decoded(header) | {"comment": "hello"}),
    "base64 for addresses": lambda header: header.replace("+", "-").replace("/", "_").rstrip("="),
}


def _signature(header: str, change) -> str:
    message = decoded(header)
    message["payload"]["signature"] = change(message["payload"]["signature"])
    return repacked(message)


def _small_v(good: bytes) -> bytes:
    return good[:64] + bytes([good[64] - 27])


def _reordered(header: str) -> str:
    message = decoded(header)
    message["payload"]["authorization"] = dict(reversed(message["payload"]["authorization"].items()))
    return repacked(dict(reversed(message.items())))


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_of_one_authorization_is_one_claim(till, owls, name):
    wallet = till.wallet(1_000_000)
    header = till.sign(wallet, owls)
    other = SPELLINGS[name](header)
    first, second = till.get(owls, payment_signature=other), till.get(owls, payment_signature=header)
    assert (first.status_code, second.status_code) == (200, 200)
    told, again = (decoded(answer["PAYMENT-RESPONSE"]) for answer in (first, second))
    assert told["transaction"] == again["transaction"]
    assert Payment.objects.count() == Authorization.objects.count() == Grant.objects.count() == 1
    assert till.chain.balance(wallet.address) == 950_000


def test_a_claimed_authorization_with_another_signature_is_not_a_repetition_of_it(till, owls):
    header, _ = till.buy(till.wallet(), owls)
    good = signature_of(header)
    for wrong in (b"", bytes([good[0] ^ 1]) + good[1:], good[:64] + bytes([55 - good[64]]), _high_s(good)):
        answer = till.get(owls, payment_signature=with_signature(header, wrong))
        assert (answer.status_code, answer.json()["error"]) == (402, "authorization_spent_elsewhere")
