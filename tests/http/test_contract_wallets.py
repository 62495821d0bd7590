"""Contract wallets: who pays with one is asked for at the chain, and the asking is capped, limited and remembered."""

import json
from pathlib import Path

import pytest
from eth_abi import encode

from payments.models import Authorization, Grant, Payment
from payments.onchain import payers
from payments.onchain import rpc as product_chain
from tests.shop import Shop
from tests.wallet import Wallet

from .proofs import wallet_proof
from .test_signatures import WORD, signature_of, with_signature
from .till import requoted

pytestmark = pytest.mark.django_db

CONTRACTS = Path(__file__).parents[2] / "payments" / "onchain" / "contracts"


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


def wrapped(signature: bytes) -> bytes:
    """For a wallet that a factory could deploy (ERC-6492)."""
    return encode(["address", "bytes", "bytes"], ["0x" + "fa" * 20, b"deploy", signature]) + b"\x64\x92" * 16


def test_a_wallet_without_code_yet_is_told_so_in_a_word_of_its_own(till, owls, asked):
    header = till.sign(Wallet(), owls, **{"from": Wallet().address})
    asked.clear()
    answer = till.get(owls, payment_signature=with_signature(header, wrapped(signature_of(header))))
    assert (answer.status_code, answer.json()["charged"]) == (402, False)
    assert answer.json()["error"] == "invalid_exact_evm_payload_undeployed_smart_wallet"
    assert asked == ["eth_call"]


def test_a_wrapping_that_makes_no_sense_is_an_invalid_signature(till, owls):
    header = till.sign(Wallet(), owls)
    head = encode(["address", "uint256", "uint256"], ["0x" + "fa" * 20, 2**255, 2**255])
    for junk in (b"", b"\xff" * 96, head, wrapped(b"")[:-32]):
        answer = till.get(owls, payment_signature=with_signature(header, junk + b"\x64\x92" * 16))
        assert answer.status_code == 402, junk
        assert answer.json()["charged"] is False


def test_a_deployed_wallet_may_wrap_its_signature_all_the_same(till, owls, owner, contract):
    header = till.sign(owner, owls, **{"from": contract})
    answer = till.get(owls, payment_signature=with_signature(header, wrapped(signature_of(header))))
    assert answer.status_code == 200
    assert till.chain.balance(contract) == 950_000


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
