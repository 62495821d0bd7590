"""The test dollar does what USDC does, bad signatures included."""

import pytest
from eth_abi import encode
from eth_account import Account
from web3 import Web3

from .signing import (
    CHAIN_ID,
    FORMS,
    PAYEE,
    USDC,
    ZERO,
    authorization,
    call_of,
    high_s,
    mined,
    names,
    paid,
    reason,
    refused,
    signed,
)

# ---- The test dollar's surface -----------------------------------------------------------------


def test_it_presents_itself_as_usdc(dollar):
    read = dollar.functions
    assert read.name().call() == "USDC"
    assert read.symbol().call() == "USDC"
    assert read.version().call() == "2"
    assert read.decimals().call() == 6


def test_its_functions_are_those_of_usdc(dollar):
    """The selectors as they are on chain, not as our own source would compute them."""
    ours = {
        Web3.keccak(text=f"{f['name']}({','.join(i['type'] for i in f['inputs'])})")[:4].hex(): f["name"]
        for f in dollar.abi
        if f["type"] == "function"
    }
    usdc = {
        "06fdde03": "name",
        "95d89b41": "symbol",
        "54fd4d50": "version",
        "313ce567": "decimals",
        "e5a6b10f": "currency",
        "18160ddd": "totalSupply",
        "70a08231": "balanceOf",
        "dd62ed3e": "allowance",
        "a9059cbb": "transfer",
        "23b872dd": "transferFrom",
        "095ea7b3": "approve",
        "39509351": "increaseAllowance",
        "a457c2d7": "decreaseAllowance",
        "3644e515": "DOMAIN_SEPARATOR",
        "7ecebe00": "nonces",
        "30adf81f": "PERMIT_TYPEHASH",
        "d505accf": "permit",
        "9fd5a6cf": "permit",
        "e94a0102": "authorizationState",
        "a0cc6a68": "TRANSFER_WITH_AUTHORIZATION_TYPEHASH",
        "7f2eecc3": "RECEIVE_WITH_AUTHORIZATION_TYPEHASH",
        "d9169487": "CANCEL_AUTHORIZATION_TYPEHASH",
        "e3ee160e": "transferWithAuthorization",
        "cf092995": "transferWithAuthorization",
        "ef55bec6": "receiveWithAuthorization",
        "88b7ab63": "receiveWithAuthorization",
        "5a049a70": "cancelAuthorization",
        "b7b72899": "cancelAuthorization",
        "40c10f19": "mint",
    }
    assert ours == usdc


def test_its_typehashes_are_those_of_usdc(dollar):
    read = dollar.functions
    for ours, usdc in [
        (
            read.TRANSFER_WITH_AUTHORIZATION_TYPEHASH(),
            "7c7c6cdb67a18743f49ec6fa9b35f50d52ed05cbed4cc592e13b44501c1a2267",
        ),
        (
            read.RECEIVE_WITH_AUTHORIZATION_TYPEHASH(),
            "d099cc98ef71107a616c4f0f941f04c322d8e254fe26b3c6668db87aae413de8",
        ),
        (
            read.CANCEL_AUTHORIZATION_TYPEHASH(),
            "158b0a9edf7a828aad02f63cd515c68ef2f50ba807396f6d12842833a1597429",
        ),
        (read.PERMIT_TYPEHASH(), "6e71edae12b1b97f4d1f60370fef10105fa2faae0126114a169c64845d6126c9"),
    ]:
        assert ours.call().hex() == usdc


def test_its_domain_is_worked_out_from_where_it_is(w3, dollar, place, artefact):
    domain = "string name,string version,uint256 chainId,address verifyingContract"

    def separator(address):
        return Web3.keccak(
            encode(
                ["bytes32", "bytes32", "bytes32", "uint256", "address"],
                [
                    Web3.keccak(text=f"EIP712Domain({domain})"),
                    Web3.keccak(text="USDC"),
                    Web3.keccak(text="2"),
                    CHAIN_ID,
                    address,
                ],
            )
        )

    assert dollar.functions.DOMAIN_SEPARATOR().call() == separator(USDC)
    # What Base Sepolia's USDC answers.
    usdc = "71f17a3b2ff373b803d70a5a07c046c1a2bc8e89c09ef722fcb047abe94c9818"
    assert separator(USDC).hex() == usdc
    elsewhere = place("0x" + "ab" * 20, artefact("TestDollar")["deployedBytecode"])
    other = w3.eth.contract(address=elsewhere, abi=dollar.abi)
    assert other.functions.DOMAIN_SEPARATOR().call() == separator(elsewhere)


@pytest.mark.parametrize("name", ["TestDollar", "BatchSettlement", "HostileWallet"])
def test_code_that_is_placed_is_the_code_that_is_deployed(w3, deploy, artefact, name):
    """No immutables and no state from a constructor: placing the code loses nothing."""
    compiled = artefact(name)
    assert not [entry for entry in compiled["abi"] if entry["type"] == "constructor"]
    assert Web3.to_hex(w3.eth.get_code(deploy(name).address)) == compiled["deployedBytecode"]


# ---- ERC-20 ------------------------------------------------------------------------------------


def test_anyone_mints(w3, dollar):
    receipt = paid(w3, dollar.functions.mint(PAYEE, 7), sender=w3.eth.accounts[5])
    assert names(dollar, receipt) == ["Mint", "Transfer"]
    assert dollar.functions.balanceOf(PAYEE).call() == 7
    assert dollar.functions.totalSupply().call() == 7
    refused(w3, dollar.functions.mint(ZERO, 7), "FiatToken: mint to the zero address")
    assert mined(w3, dollar.functions.mint(PAYEE, 2**256 - 1)).status == 0


def test_transfer(w3, dollar):
    sender = w3.eth.accounts[1]
    paid(w3, dollar.functions.mint(sender, 10))
    assert dollar.functions.transfer(PAYEE, 4).call({"from": sender}) is True
    receipt = paid(w3, dollar.functions.transfer(PAYEE, 4))
    assert dollar.events.Transfer().process_receipt(receipt)[0].args == {
        "from": sender,
        "to": PAYEE,
        "value": 4,
    }
    assert dollar.functions.balanceOf(sender).call() == 6
    assert dollar.functions.balanceOf(PAYEE).call() == 4
    refused(w3, dollar.functions.transfer(PAYEE, 7), "ERC20: transfer amount exceeds balance")
    refused(w3, dollar.functions.transfer(ZERO, 1), "ERC20: transfer to the zero address")
    paid(w3, dollar.functions.transfer(sender, 6))  # to oneself: nothing appears or is lost
    assert dollar.functions.balanceOf(sender).call() == 6


def test_allowances(w3, dollar):
    owner, spender = w3.eth.accounts[1:3]
    allowance = dollar.functions.allowance(owner, spender)
    paid(w3, dollar.functions.mint(owner, 10))
    receipt = paid(w3, dollar.functions.approve(spender, 5))
    assert names(dollar, receipt) == ["Approval"]
    paid(w3, dollar.functions.increaseAllowance(spender, 4))
    assert allowance.call() == 9
    paid(w3, dollar.functions.decreaseAllowance(spender, 2))
    assert allowance.call() == 7
    refused(w3, dollar.functions.decreaseAllowance(spender, 8), "ERC20: decreased allowance below zero")
    assert mined(w3, dollar.functions.increaseAllowance(spender, 2**256 - 1)).status == 0
    take = dollar.functions.transferFrom
    refused(w3, take(owner, PAYEE, 8), "ERC20: transfer amount exceeds allowance", sender=spender)
    refused(w3, take(owner, PAYEE, 1), "ERC20: transfer amount exceeds allowance", sender=w3.eth.accounts[3])
    paid(w3, take(owner, PAYEE, 7), sender=spender)
    assert allowance.call() == 0
    assert dollar.functions.balanceOf(PAYEE).call() == 7
    refused(w3, dollar.functions.approve(ZERO, 1), "ERC20: approve to the zero address")


@pytest.mark.parametrize("form", FORMS)
def test_permit(w3, dollar, payer, form):
    spender = w3.eth.accounts[2]
    now = w3.eth.get_block("latest").timestamp

    def permit(deadline, nonce):
        message = {
            "owner": payer.address,
            "spender": spender,
            "value": 5,
            "nonce": nonce,
            "deadline": deadline,
        }
        signature = signed(payer.key, "Permit", message)
        return call_of(dollar, "permit", (payer.address, spender, 5, deadline), signature, form)

    refused(w3, permit(now - 1, 0), "FiatTokenV2: permit is expired")
    refused(w3, permit(now + 1000, 1), "EIP2612: invalid signature")
    paid(w3, permit(now + 1000, 0))
    assert dollar.functions.allowance(payer.address, spender).call() == 5
    assert dollar.functions.nonces(payer.address).call() == 1
    refused(w3, permit(now + 1000, 0), "EIP2612: invalid signature")
    paid(w3, permit(2**256 - 1, 1))


# ---- EIP-3009 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_transfer_with_authorization(w3, dollar, payer, form):
    message = authorization(payer.address)
    call = call_of(
        dollar,
        "transferWithAuthorization",
        message.values(),
        signed(payer.key, "TransferWithAuthorization", message),
        form,
    )
    state = dollar.functions.authorizationState(payer.address, message["nonce"])
    assert state.call() is False
    receipt = paid(w3, call)
    assert state.call() is True
    assert dollar.functions.balanceOf(PAYEE).call() == 100
    assert dollar.functions.balanceOf(payer.address).call() == 900
    assert names(dollar, receipt) == ["AuthorizationUsed", "Transfer"]
    used, moved = receipt.logs
    assert [Web3.to_hex(topic) for topic in used.topics[1:]] == [
        "0x" + "00" * 12 + payer.address[2:].lower(),
        "0x" + message["nonce"].hex(),
    ]
    assert dollar.events.Transfer().process_log(moved).args == {
        "from": payer.address,
        "to": PAYEE,
        "value": 100,
    }
    refused(w3, call, "FiatTokenV2: authorization is used or canceled")


def test_a_nonce_is_one_nonce_in_both_forms_and_for_receiving(w3, dollar, payer):
    message = authorization(payer.address, to=w3.eth.accounts[1])
    signature = signed(payer.key, "TransferWithAuthorization", message)
    paid(w3, call_of(dollar, "transferWithAuthorization", message.values(), signature, "vrs"))
    again = "FiatTokenV2: authorization is used or canceled"
    refused(w3, call_of(dollar, "transferWithAuthorization", message.values(), signature, "bytes"), again)
    other = signed(payer.key, "ReceiveWithAuthorization", message)
    refused(w3, call_of(dollar, "receiveWithAuthorization", message.values(), other, "bytes"), again)
    # The same nonce of another payer is another nonce.
    friend = Account.create()
    paid(w3, dollar.functions.mint(friend.address, 100))
    theirs = {**message, "from": friend.address}
    signature = signed(friend.key, "TransferWithAuthorization", theirs)
    paid(w3, call_of(dollar, "transferWithAuthorization", theirs.values(), signature, "bytes"))


@pytest.mark.parametrize("form", FORMS)
def test_receive_with_authorization_is_for_the_payee_alone(w3, dollar, payer, form):
    payee, other = w3.eth.accounts[1:3]
    message = authorization(payer.address, to=payee)
    signature = signed(payer.key, "ReceiveWithAuthorization", message)
    call = call_of(dollar, "receiveWithAuthorization", message.values(), signature, form)
    refused(w3, call, "FiatTokenV2: caller must be the payee", sender=other)
    # What was signed for receiving is not good for transferring, which anyone may call.
    wrong = call_of(dollar, "transferWithAuthorization", message.values(), signature, form)
    refused(w3, wrong, "FiatTokenV2: invalid signature", sender=payee)
    receipt = paid(w3, call, sender=payee)
    assert names(dollar, receipt) == ["AuthorizationUsed", "Transfer"]
    assert dollar.functions.balanceOf(payee).call() == 100
    refused(w3, call, "FiatTokenV2: authorization is used or canceled", sender=payee)


@pytest.mark.parametrize("form", FORMS)
def test_cancel_authorization(w3, dollar, payer, form):
    message = authorization(payer.address)
    cancelled = {"authorizer": payer.address, "nonce": message["nonce"]}
    signature = signed(payer.key, "CancelAuthorization", cancelled)
    stranger = signed(Account.create().key, "CancelAuthorization", cancelled)
    refused(
        w3,
        call_of(dollar, "cancelAuthorization", cancelled.values(), stranger, form),
        "FiatTokenV2: invalid signature",
    )
    cancel = call_of(dollar, "cancelAuthorization", cancelled.values(), signature, form)
    assert names(dollar, paid(w3, cancel)) == ["AuthorizationCanceled"]
    assert dollar.functions.authorizationState(*cancelled.values()).call() is True
    again = "FiatTokenV2: authorization is used or canceled"
    refused(w3, cancel, again)
    signature = signed(payer.key, "TransferWithAuthorization", message)
    refused(w3, call_of(dollar, "transferWithAuthorization", message.values(), signature, form), again)
    assert dollar.functions.balanceOf(PAYEE).call() == 0


@pytest.mark.parametrize("name", ["transfer", "receive"])
@pytest.mark.parametrize(
    ("after", "before", "why"),
    [
        (0, 0, "FiatTokenV2: authorization is expired"),
        (-1, 1, None),
        (-2, 1, None),
        (0, 1, "FiatTokenV2: authorization is not yet valid"),
        (1, 2, "FiatTokenV2: authorization is not yet valid"),
        (-1, 0, "FiatTokenV2: authorization is expired"),
        (-3, -1, "FiatTokenV2: authorization is expired"),
    ],
)
def test_both_ends_of_the_time_allowed_are_outside_it(w3, dollar, payer, name, after, before, why):
    """In seconds from the time of the very block the authorization is mined in."""
    now = w3.eth.get_block("latest").timestamp + 1000
    if why is not None and (after, before) == (0, 0):
        after, before = -now, 0  # valid since ever, until now
    message = authorization(payer.address, to=w3.eth.accounts[1], after=now + after, before=now + before)
    signature = signed(payer.key, f"{name.title()}WithAuthorization", message)
    call = call_of(dollar, f"{name}WithAuthorization", message.values(), signature, "bytes")
    w3.provider.make_request("evm_setNextBlockTimestamp", [now])
    receipt = mined(w3, call)
    assert w3.eth.get_block(receipt.blockNumber).timestamp == now
    if why is None:
        assert receipt.status == 1
    else:
        assert receipt.status == 0
        assert reason(w3, receipt) == why


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (high_s, "ECRecover: invalid signature 's' value"),
        (lambda s: s[:64] + bytes([s[64] - 27]), "ECRecover: invalid signature 'v' value"),
        (lambda s: s[:64] + bytes([29]), "ECRecover: invalid signature 'v' value"),
        (lambda s: s[:64] + bytes([27 + 28 - s[64]]), "FiatTokenV2: invalid signature"),
        (lambda s: bytes(32) + s[32:], "ECRecover: invalid signature"),
    ],
    ids=["high-s", "v-0-or-1", "v-29", "other-v", "no-r"],
)
def test_a_spoilt_signature_is_refused(w3, dollar, payer, form, spoil, why):
    message = authorization(payer.address)
    signature = signed(payer.key, "TransferWithAuthorization", message)
    refused(w3, call_of(dollar, "transferWithAuthorization", message.values(), spoil(signature), form), why)
    paid(w3, call_of(dollar, "transferWithAuthorization", message.values(), signature, form))


@pytest.mark.parametrize("change", [lambda s: s[:64], lambda s: s + b"\0", lambda s: b""])
def test_a_signature_of_another_length_is_refused(w3, dollar, payer, change):
    message = authorization(payer.address)
    signature = change(signed(payer.key, "TransferWithAuthorization", message))
    call = call_of(dollar, "transferWithAuthorization", message.values(), signature, "bytes")
    refused(w3, call, "ECRecover: invalid signature length")


@pytest.mark.parametrize("field", ["from", "to", "value", "validAfter", "validBefore", "nonce"])
def test_every_field_is_covered_by_the_signature(w3, dollar, payer, field):
    message = authorization(payer.address)
    signature = signed(payer.key, "TransferWithAuthorization", message)
    stranger = w3.eth.accounts[2]
    paid(w3, dollar.functions.mint(stranger, 1_000))
    other = {
        "from": stranger,
        "to": stranger,
        "value": 101,
        "validAfter": 1,
        "validBefore": 2**254,
        "nonce": b"1" * 32,
    }
    call = call_of(dollar, "transferWithAuthorization", {**message, field: other[field]}.values(), signature, "bytes")
    refused(w3, call, "FiatTokenV2: invalid signature")


@pytest.mark.parametrize("domain", [{"chain_id": 8453}, {"name": "USD Coin"}, {"version": "1"}])
def test_a_signature_for_another_dollar_is_refused(w3, dollar, payer, domain):
    message = authorization(payer.address)
    signature = signed(payer.key, "TransferWithAuthorization", message, **domain)
    call = call_of(dollar, "transferWithAuthorization", message.values(), signature, "bytes")
    refused(w3, call, "FiatTokenV2: invalid signature")


def test_an_authorization_for_nobody_or_for_too_much_is_refused_and_its_nonce_kept(w3, dollar, payer):
    for message, why in [
        (authorization(payer.address, to=ZERO), "ERC20: transfer to the zero address"),
        (authorization(payer.address, value=1_001), "ERC20: transfer amount exceeds balance"),
    ]:
        signature = signed(payer.key, "TransferWithAuthorization", message)
        refused(w3, call_of(dollar, "transferWithAuthorization", message.values(), signature, "bytes"), why)
        assert dollar.functions.authorizationState(payer.address, message["nonce"]).call() is False
