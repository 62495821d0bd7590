"""Signatures: one canonical form passes, every spelling of one authorization is one claim, contracts may vouch.

A signature that the payer's key did not make may still be a contract wallet's: that one question to the chain is
capped, limited and remembered.
"""

import json
from pathlib import Path

import pytest
from eth_abi import encode

from payments.models import Authorization, Grant, Payment
from payments.onchain import payers
from payments.onchain import rpc as product_chain
from tests.shop import Shop
from tests.wallet import Wallet, decoded

from .proofs import wallet_proof
from .till import repacked, requoted

pytestmark = pytest.mark.django_db

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
WORD = "invalid_exact_evm_payload_signature"
CONTRACTS = Path(__file__).parents[2] / "payments" / "onchain" / "contracts"


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


# --- Contract wallets -----------------------------------------------------------------------------------------


def deployed(till, name: str, *arguments) -> str:
    """The address of a contract of this name, put on the chain by a stranger."""
    artefact = json.loads((CONTRACTS / f"{name}.json").read_text())
    data = artefact["bytecode"] + encode(["address"] * len(arguments), arguments).hex()
    sender = till.chain.accounts.minter.address
    tx = till.chain.rpc("eth_sendTransaction", {"from": sender, "data": "0x" + data.removeprefix("0x")})
    mined = Shop.wait(lambda: till.chain.rpc("eth_getTransactionReceipt", tx), "the contract")
    return mined["contractAddress"]


@pytest.fixture
def owner():
    return Wallet()


@pytest.fixture
def contract(till, owner):
    """A contract wallet with money whose owner has the key."""
    address = deployed(till, "EIP1271Wallet", owner.address)
    till.fund(address, 1_000_000)
    return address


@pytest.mark.parametrize("version", [1, 2])
def test_a_contract_wallet_pays_for_three_questions_to_the_chain(till, owls, owner, contract, asked, version):
    sign = till.sign if version == 2 else till.sign_v1
    header = sign(owner, owls, **{"from": contract})
    till.asleep = True
    asked.clear()
    shown = {"payment_signature": header} if version == 2 else {"x_payment": header}
    assert till.get(owls, **shown).status_code == 503
    # Is there code, does it accept the signature, and does it have the money.
    assert asked == ["eth_call"] * 3
    till.asleep = False
    assert till.get(owls, **shown).status_code == 200
    assert till.chain.balance(contract) == 950_000
    assert Authorization.objects.get().contract_wallet
    assert Grant.objects.get().buyer == f"eip155:84532:{contract.lower()}"


def test_a_contract_wallet_reads_again_by_proof(till, owls, owner, contract):
    header = till.sign(owner, owls, **{"from": contract})
    assert till.get(owls, payment_signature=header).status_code == 200
    terms = till.terms(owls)

    class AsContract:
        account = _Named(owner, contract)

    assert till.get(owls, sign_in_with_x=wallet_proof(terms, AsContract)).status_code == 200
    assert till.get(owls, sign_in_with_x=wallet_proof(terms, owner)).status_code == 402


class _Named:
    """The owner's key under the contract's address."""

    def __init__(self, owner: Wallet, address: str) -> None:
        self.address = address
        self.sign_message = owner.account.sign_message


def test_a_contract_wallet_refuses_a_strangers_signature(till, owls, contract, asked):
    header = till.sign(Wallet(), owls, **{"from": contract})
    asked.clear()
    answer = till.get(owls, payment_signature=header)
    assert (answer.status_code, answer.json()["error"], answer.json()["charged"]) == (402, WORD, False)
    assert asked == ["eth_call"] * 2
    assert till.chain.balance(contract) == 1_000_000


def test_a_contract_that_burns_all_gas_is_cut_off_and_refused(till, owls, monkeypatch):
    hostile = deployed(till, "HostileWallet")
    till.send_to(hostile, "0x" + product_chain._selector("arm()").hex())
    limits = []
    real = product_chain.request

    def watched(method, *params):
        limits.extend([int(params[0]["gas"], 16)] if "gas" in params[0] else [])
        return real(method, *params)

    header = till.sign(Wallet(), owls, **{"from": hostile})
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(product_chain, "request", watched)
        answer = till.get(owls, payment_signature=header)
    assert (answer.status_code, answer.json()["error"]) == (402, WORD)
    assert limits == [product_chain.EIP1271_GAS]


def test_a_wallet_that_vouches_now_and_burns_gas_later_stops_nobody_else(till, owls):
    """It passes the check and is armed before it is settled; an honest payment waits in the same batch."""
    hostile = deployed(till, "HostileWallet")
    till.fund(hostile, 1_000_000)
    honest = till.wallet(1_000_000)
    bad = till.sign(Wallet(), owls, **{"from": hostile})
    good = till.sign(honest, owls)
    till.asleep = True
    assert till.get(owls, payment_signature=bad).status_code == 503
    assert till.get(owls, payment_signature=good).status_code == 503
    till.send_to(hostile, "0x" + product_chain._selector("arm()").hex())
    till.asleep = False
    assert till.get(owls, payment_signature=good).status_code == 200
    answer = till.get(owls, payment_signature=bad)
    assert (answer.status_code, answer.json()["charged"]) == (402, False)
    assert till.chain.balance(hostile) == 1_000_000
    assert Grant.objects.count() == 1


def test_junk_signatures_of_unknown_addresses_use_up_no_check_of_a_contract_wallet(
    till, owls, owner, contract, asked, settings, monkeypatch
):
    settings.CONTRACT_WALLET_CHECKS_PER_MINUTE = 2
    monkeypatch.setattr(payers, "_PAUSE_SECONDS", 0.0)
    for _ in range(5):
        answer = till.get(owls, payment_signature=till.sign(Wallet(), owls, **{"from": Wallet().address}))
        assert (answer.status_code, answer.json()["error"]) == (402, WORD)
    assert till.get(owls, payment_signature=till.sign(owner, owls, **{"from": contract})).status_code == 200


def test_checks_of_contract_wallets_are_limited_by_source_and_honest_keys_go_on(
    till, owls, owner, contract, asked, settings
):
    settings.CONTRACT_WALLET_CHECKS_PER_MINUTE = 3
    flood = [till.sign(Wallet(), owls, **{"from": contract}) for _ in range(5)]
    honest = till.sign(till.wallet(), owls)
    answers = [till.get(owls, payment_signature=header) for header in flood]
    assert [answer.status_code for answer in answers] == [402] * 3 + [503] * 2
    for answer in answers[3:]:
        assert (answer.json()["error"], answer.json()["charged"]) == ("temporarily_unavailable", False)
        assert int(answer["Retry-After"]) > 0
    assert not Payment.objects.exists()
    assert till.get(owls, payment_signature=honest).status_code == 200
    # The contract's owner comes from elsewhere.
    signed = till.sign(owner, owls, **{"from": contract})
    path = f"/articles/{owls.slug}.json"
    assert till.web.get(path, headers={"PAYMENT-SIGNATURE": signed}, REMOTE_ADDR="192.0.2.7").status_code == 200


# --- When the chain does not answer --------------------------------------------------------------------------


def _unreachable(method, *params):
    raise product_chain.ChainUnreachable(method)


def _refuses(method, *params):
    raise product_chain.RpcRefused(-32000, "header not found")


NODES = {
    "unreachable": _unreachable,
    "null": lambda method, *params: None,
    "a number": lambda method, *params: 7,
    "a list": lambda method, *params: [],
    "no hex": lambda method, *params: "0xzz",
    "half a byte": lambda method, *params: "0x1",
}


@pytest.mark.parametrize("node", NODES)
def test_without_an_answer_about_a_contract_wallet_nobody_is_refused_or_charged(till, owls, owner, contract, node,
                                                                                 monkeypatch):  # fmt: skip
    header = till.sign(owner, owls, **{"from": contract})
    with monkeypatch.context() as broken:
        broken.setattr(product_chain, "request", NODES[node])
        answer = till.get(owls, payment_signature=header)
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert answer.json()["charged"] is False
    assert not Payment.objects.exists()
    assert till.get(owls, payment_signature=header).status_code == 200


SILENT = NODES | {"refuses": _refuses, "nothing": lambda method, *params: "0x"}


@pytest.mark.parametrize("node", SILENT)
def test_an_owner_who_signs_again_while_the_chain_is_silent_is_never_told_not_charged(till, owls, node, monkeypatch):
    wallet = till.wallet()
    till.buy(wallet, owls)
    second = till.sign(wallet, owls)
    with monkeypatch.context() as broken:
        broken.setattr(product_chain, "request", SILENT[node])
        answer = till.get(owls, payment_signature=second)
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0
    assert answer.json()["charged"] is not False
    assert b"not charged" not in answer.content.lower()
    assert till.get(owls, payment_signature=second).status_code == 200
    assert Payment.objects.count() == 1


def test_a_repetition_of_a_contract_wallets_payment_is_known_without_the_chain(till, owls, owner, contract,
                                                                                          asked):  # fmt: skip
    header = till.sign(owner, owls, **{"from": contract})
    assert till.get(owls, payment_signature=header).status_code == 200
    observed = requoted(header, till.terms(owls))
    asked.clear()
    assert till.get(owls, payment_signature=observed).status_code == 409
    assert till.get(owls, payment_signature=header).status_code == 200
    assert asked == []
