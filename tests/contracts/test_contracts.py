"""The contracts on a real EVM: what the test dollar does, and that a batch carries each payment alone."""

import itertools
import secrets

import pytest
from eth_abi import decode, encode
from eth_account import Account
from web3 import Web3
from web3.exceptions import ContractCustomError, ContractLogicError

pytestmark = pytest.mark.contracts

CHAIN_ID = 84532
USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
ZERO = "0x" + "00" * 20
PAYEE = Web3.to_checksum_address("0x" + "99" * 20)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
FOREVER = 2**255

MOVE = "address,address,uint256,uint256,uint256,bytes32"
FIELDS = ["from:address", "to:address", "value:uint256", "validAfter:uint256", "validBefore:uint256", "nonce:bytes32"]
TYPES = {
    "TransferWithAuthorization": FIELDS,
    "ReceiveWithAuthorization": FIELDS,
    "CancelAuthorization": ["authorizer:address", "nonce:bytes32"],
    "Permit": ["owner:address", "spender:address", "value:uint256", "nonce:uint256", "deadline:uint256"],
}
FORMS = ["vrs", "bytes"]


# ---- Helpers -----------------------------------------------------------------------------------


def signed(key, kind, message, chain_id=CHAIN_ID, name="USDC", version="2"):
    """A 65-byte signature made by eth-account, which knows nothing of our Solidity."""
    return bytes(
        Account.sign_typed_data(
            key,
            {"name": name, "version": version, "chainId": chain_id, "verifyingContract": USDC},
            {kind: [dict(zip(("name", "type"), field.split(":"), strict=True)) for field in TYPES[kind]]},
            message,
        ).signature
    )


def authorization(payer, value=100, to=PAYEE, after=0, before=FOREVER, nonce=None):
    return {
        "from": payer,
        "to": to,
        "value": value,
        "validAfter": after,
        "validBefore": before,
        "nonce": nonce or secrets.token_bytes(32),
    }


def split(signature):
    return signature[64], signature[:32], signature[32:64]


def call_of(dollar, name, args, signature, form):
    """The call `name` in the form that takes v, r and s, or the one that takes bytes."""
    types = {"permit": "address,address,uint256,uint256", "cancelAuthorization": "address,bytes32"}.get(name, MOVE)
    if form == "vrs":
        return dollar.get_function_by_signature(f"{name}({types},uint8,bytes32,bytes32)")(*args, *split(signature))
    return dollar.get_function_by_signature(f"{name}({types},bytes)")(*args, signature)


def mined(w3, call, sender=None, gas=3_000_000):
    tx = call.transact({"from": sender or w3.eth.accounts[1], "gas": gas})
    return w3.eth.wait_for_transaction_receipt(tx)


def paid(w3, call, **kwargs):
    receipt = mined(w3, call, **kwargs)
    assert receipt.status == 1, reason(w3, receipt)
    return receipt


def reason(w3, receipt):
    trace = w3.provider.make_request(
        "debug_traceTransaction", [Web3.to_hex(receipt.transactionHash), {"tracer": "callTracer"}]
    )["result"]
    output = bytes.fromhex(trace.get("output", "0x")[2:])
    if output[:4] == bytes.fromhex("08c379a0"):
        return decode(["string"], output[4:])[0]
    return output.hex()


def refused(w3, call, why, **kwargs):
    """The call, mined, failed, and for this reason."""
    receipt = mined(w3, call, **kwargs)
    assert receipt.status == 0
    assert reason(w3, receipt) == why


def names(dollar, receipt):
    """The names of the dollar's events in the receipt, in order."""
    topics = {
        Web3.keccak(text=f"{e['name']}({','.join(i['type'] for i in e['inputs'])})"): e["name"]
        for e in dollar.abi
        if e["type"] == "event"
    }
    return [topics[log.topics[0]] for log in receipt.logs if log.address == dollar.address]


@pytest.fixture
def payer(w3, dollar):
    account = Account.create()
    paid(w3, dollar.functions.mint(account.address, 1_000))
    return account


@pytest.fixture
def batch(deploy):
    return deploy("BatchSettlement")


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


def high_s(signature):
    v, r, s = split(signature)
    return r + (ORDER - int.from_bytes(s)).to_bytes(32) + bytes([27 + 28 - v])


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


# ---- Contract wallets (EIP-1271) ---------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_a_contract_wallet_pays(w3, dollar, deploy, form):
    owner = Account.create()
    wallet = deploy("EIP1271Wallet", owner.address).address
    paid(w3, dollar.functions.mint(wallet, 1_000))
    message = authorization(wallet)
    for key in (Account.create().key, owner.key):
        signature = signed(key, "TransferWithAuthorization", message)
        call = call_of(dollar, "transferWithAuthorization", message.values(), signature, form)
        if key != owner.key:
            refused(w3, call, "FiatTokenV2: invalid signature")
    paid(w3, call)
    assert dollar.functions.balanceOf(PAYEE).call() == 100
    cancelled = {"authorizer": wallet, "nonce": b"\1" * 32}
    signature = signed(owner.key, "CancelAuthorization", cancelled)
    paid(w3, call_of(dollar, "cancelAuthorization", cancelled.values(), signature, form))


def test_a_wallet_of_its_owner_takes_no_spoilt_signature(w3, deploy):
    owner = Account.create()
    wallet = deploy("EIP1271Wallet", owner.address)
    digest = secrets.token_bytes(32)
    signature = bytes(Account.unsafe_sign_hash(digest, owner.key).signature)
    ask = wallet.functions.isValidSignature
    assert ask(digest, signature).call().hex() == "1626ba7e"
    for bad in (b"", signature[:64], signature + b"\0", high_s(signature), signature[:64] + b"\0"):
        assert ask(digest, bad).call().hex() == "ffffffff"
    assert ask(secrets.token_bytes(32), signature).call().hex() == "ffffffff"


def test_an_account_with_code_is_never_asked_by_its_key(w3, dollar, payer, place):
    """As with USDC: code decides, even if the key of that address signed."""
    message = authorization(payer.address)
    signature = signed(payer.key, "TransferWithAuthorization", message)
    call = call_of(dollar, "transferWithAuthorization", message.values(), signature, "vrs")
    # Code that answers with nothing; with a short answer; with another word; that reverts.
    for code in ("0x00", "0x631626ba7e60e01b5f5260045ff3", "0x60015f5260205ff3", "0x5f5ffd"):
        place(payer.address, code)
        refused(w3, call, "FiatTokenV2: invalid signature")
    place(payer.address, "0x631626ba7e60e01b5f5260205ff3")
    paid(w3, call)


def test_a_hostile_wallet_agrees_until_armed(w3, dollar, deploy):
    wallet = deploy("HostileWallet")
    paid(w3, dollar.functions.mint(wallet.address, 1_000))
    message = authorization(wallet.address)
    call = call_of(dollar, "transferWithAuthorization", message.values(), b"", "bytes")
    call.call({"from": w3.eth.accounts[1]})  # as a check beforehand would
    paid(w3, wallet.functions.arm())
    receipt = mined(w3, call, gas=300_000)
    assert receipt.status == 0
    assert receipt.gasUsed > 290_000


# ---- BatchSettlement ---------------------------------------------------------------------------

GAS_EACH = 150_000


def item(key, message):
    return (*message.values(), signed(key, "TransferWithAuthorization", message))


@pytest.fixture
def items(w3, dollar):
    """`items(n)`: n good authorizations of n payers."""

    def items(count):
        made = []
        for _ in range(count):
            account = Account.create()
            paid(w3, dollar.functions.mint(account.address, 1_000))
            made.append(item(account.key, authorization(account.address)))
        return made

    return items


def settle(w3, batch, dollar, items, gas_each=GAS_EACH, gas=10_000_000, sender=None):
    """Settles the batch; what it answered, and the receipt."""
    call = batch.functions.settle(dollar.address, gas_each, items)
    answer = call.call({"from": sender or w3.eth.accounts[1], "gas": gas})
    return answer, paid(w3, call, gas=gas, sender=sender)


@pytest.mark.parametrize("count", [0, 1, 2, 32])
def test_a_batch_settles_every_payment(w3, dollar, batch, items, count):
    made = items(count)
    answer, receipt = settle(w3, batch, dollar, made)
    assert answer == [True] * count
    assert names(dollar, receipt) == ["AuthorizationUsed", "Transfer"] * count
    assert [log.topics[2] for log in receipt.logs[::2]] == [one[5] for one in made]
    assert all(log.address == dollar.address for log in receipt.logs)  # no events of its own
    assert dollar.functions.balanceOf(PAYEE).call() == 100 * count
    # A second time there is nothing left to do, and that is no error.
    assert settle(w3, batch, dollar, made)[0] == [False] * count
    assert dollar.functions.balanceOf(PAYEE).call() == 100 * count


def test_nothing_a_bad_payment_does_stops_the_others(w3, dollar, batch, items, deploy):
    good = items(7)
    poor, forger = Account.create(), Account.create()
    wallet_owner = Account.create()
    wallet = deploy("EIP1271Wallet", wallet_owner.address)
    hostile = deploy("HostileWallet")
    for contract in (wallet, hostile):
        paid(w3, dollar.functions.mint(contract.address, 1_000))
    paid(w3, hostile.functions.arm())

    last = list(good[6])
    last[4] = 1  # expired, and not what was signed
    batch_items = [
        good[0],
        item(forger.key, authorization(good[1][0])),  # another's signature
        good[0],  # a duplicate within the batch
        good[1],
        item(poor.key, authorization(poor.address)),  # no money
        good[2],
        (*authorization(hostile.address).values(), b"\7" * 200),  # burns all its gas
        good[3],
        item(wallet_owner.key, authorization(wallet.address)),  # a contract pays, after a longer signature
        (*good[4][:6], b""),  # no signature
        good[4],
        (*authorization(ZERO).values(), good[0][6]),  # from nobody
        tuple(last),
        good[5],
    ]
    expected = [True, False, False, True, False, True, False, True, True, False, True, False, False, True]
    answer, receipt = settle(w3, batch, dollar, batch_items)
    assert answer == expected
    settled = [one for one, ok in zip(batch_items, expected, strict=True) if ok]
    assert [log.topics[2] for log in receipt.logs[::2]] == [one[5] for one in settled]
    assert dollar.functions.balanceOf(PAYEE).call() == 100 * len(settled)
    nonces = {one[5] for one in settled}
    for one in batch_items:
        assert dollar.functions.authorizationState(one[0], one[5]).call() is (one[5] in nonces)


def test_many_hostile_wallets_cost_what_they_were_given_and_no_more(w3, dollar, batch, items, deploy):
    hostile = deploy("HostileWallet")
    paid(w3, dollar.functions.mint(hostile.address, 1_000))
    paid(w3, hostile.functions.arm())
    bad = [(*authorization(hostile.address).values(), b"") for _ in range(8)]
    answer, receipt = settle(w3, batch, dollar, [*bad, *items(1)])
    assert answer == [False] * 8 + [True]
    assert receipt.gasUsed < 9 * GAS_EACH + 100_000


def test_an_address_with_dirt_in_it_fails_alone(w3, dollar, batch, items):
    """Bytes no ABI encoder would write, but anyone may send."""
    good = items(2)
    data = batch.functions.settle(dollar.address, GAS_EACH, good)._encode_transaction_data()
    payer = "00" * 12 + good[0][0][2:].lower()
    assert data.count(payer) == 1
    data = data.replace(payer, "01" + payer[2:])
    answer = w3.eth.call({"to": batch.address, "data": data, "gas": 5_000_000})
    assert decode(["bool[]"], answer)[0] == (False, True)


@pytest.mark.parametrize("lengths", [(65,), (0, 1), (200, 65, 0, 31, 32, 33, 64, 65, 96), (3000, 1)])
def test_the_token_gets_exactly_what_was_authorized(w3, batch, place, lengths):
    """A token that logs the calldata it gets, against another encoder's idea of it."""
    token = place("0x" + "cd" * 20, "0x365f5f37365fa000")
    made = [
        (*authorization(Account.create().address, value=n, after=n).values(), secrets.token_bytes(n)) for n in lengths
    ]
    receipt = paid(w3, batch.functions.settle(token, GAS_EACH, made))
    types = [*MOVE.split(","), "bytes"]
    selector = Web3.keccak(text=f"transferWithAuthorization({','.join(types)})")[:4]
    assert [bytes(log.data) for log in receipt.logs] == [selector + encode(types, one) for one in made]


def test_anyone_may_settle_and_nobody_gains_by_it(w3, dollar, batch, items):
    for sender in w3.eth.accounts[2:4]:
        assert settle(w3, batch, dollar, items(1), sender=sender)[0] == [True]
        assert dollar.functions.balanceOf(sender).call() == 0
    assert dollar.functions.balanceOf(batch.address).call() == 0
    assert dollar.functions.balanceOf(PAYEE).call() == 200


def test_a_token_without_code_settles_nothing(w3, batch, dollar, items):
    nowhere = Web3.to_checksum_address("0x" + "ef" * 20)
    call = batch.functions.settle(nowhere, GAS_EACH, items(1))
    error = Web3.keccak(text="TokenHasNoCode(address)")[:4] + encode(["address"], [nowhere])
    with pytest.raises(ContractCustomError) as raised:
        call.call()
    assert raised.value.data == Web3.to_hex(error)
    refused(w3, call, error.hex())


def test_with_too_little_gas_the_whole_batch_reverts(w3, dollar, batch, items):
    """With any gas at all, either every good payment is settled or none is.

    Without the check there is a range of gas in which the last item fails and the rest is paid.
    """
    made = items(3)
    call = batch.functions.settle(dollar.address, GAS_EACH, made)
    outcomes = set()
    needed = call.estimate_gas({"from": w3.eth.accounts[1], "gas": 10_000_000})
    for gas in itertools.chain(range(30_000, 120_000, 15_000), range(120_000, needed + GAS_EACH, 2_500)):
        try:
            answer = tuple(call.call({"from": w3.eth.accounts[1], "gas": gas}))
        except (ContractLogicError, ContractCustomError, ValueError):
            outcomes.add("reverted" if gas <= needed else f"reverted although {gas} gas is enough")
        except Exception as error:  # Out of gas before the first check.
            outcomes.add("out of gas" if "gas" in str(error).lower() else str(error))
        else:
            outcomes.add(answer)
    assert outcomes - {"out of gas"} == {"reverted", (True, True, True)}

    receipt = mined(w3, call, gas=needed - GAS_EACH // 2)
    assert receipt.status == 0
    assert reason(w3, receipt)[:8] == Web3.keccak(text="NotEnoughGas(uint256)")[:4].hex()
    assert dollar.functions.balanceOf(PAYEE).call() == 0
    paid(w3, call, gas=needed)
    assert dollar.functions.balanceOf(PAYEE).call() == 300


def test_an_item_really_gets_the_gas_it_was_promised(w3, batch, place, items):
    """A token that notes the gas it starts with, at the least gas the batch lets through."""
    token = place("0x" + "cd" * 20, "0x5a5f5260205fa0")  # GAS, logged
    made = [(*authorization(Account.create().address).values(), b"x" * n) for n in (0, 3000, 65)]
    gas_each = 1_000_000
    call = batch.functions.settle(token, gas_each, made)
    low, high = 100_000, 10_000_000
    while high - low > 1:
        middle = (low + high) // 2
        try:
            call.call({"from": w3.eth.accounts[1], "gas": middle})
            high = middle
        except Exception:
            low = middle
    receipt = paid(w3, call, gas=high)
    for log in receipt.logs:
        assert int.from_bytes(log.data) == gas_each - 2  # GAS itself costs 2
    assert len(receipt.logs) == 3
    # And the check does not ask for much more than it must.
    assert high < 21_000 + 60_000 + gas_each * 64 // 63 + 10_000


@pytest.mark.parametrize("gas_each", [2**256 - 1, 2**256 - 1_000, 2**64, 2**128])
def test_an_absurd_promise_of_gas_does_not_slip_past_the_check(w3, dollar, batch, items, gas_each):
    call = batch.functions.settle(dollar.address, gas_each, items(1))
    error = Web3.keccak(text="NotEnoughGas(uint256)")[:4] + encode(["uint256"], [0])
    refused(w3, call, error.hex())


def test_an_item_gets_no_more_gas_than_allowed(w3, dollar, batch, items):
    assert settle(w3, batch, dollar, items(2), gas_each=20_000)[0] == [False, False]


def test_a_huge_answer_is_not_paid_for(w3, batch, place):
    """A token that spends nearly all its gas on the length of its answer."""
    gas_each = 1_000_000
    for end in ("f3", "fd"):  # RETURN, REVERT
        token = place("0x" + "cd" * 20, "0x620a00005f" + end)  # 640 KiB
        call = batch.functions.settle(token, gas_each, [(*authorization(PAYEE).values(), b"")])
        receipt = paid(w3, call)
        assert 800_000 < receipt.gasUsed < gas_each + 50_000
    # A revert is a failure, whatever came with it.
    assert call.call() == [False]


def test_a_batch_is_cheaper_than_calls_one_by_one(w3, dollar, batch, items):
    paid(w3, dollar.functions.mint(PAYEE, 1))
    (one,) = items(1)
    direct = paid(w3, call_of(dollar, "transferWithAuthorization", one[:6], one[6], "bytes")).gasUsed
    each = {n: settle(w3, batch, dollar, items(n))[1].gasUsed / n for n in (1, 8, 32)}
    print(f"gas: direct {direct}, in a batch of n, each: {each}")
    assert each[1] < direct + 10_000
    assert each[8] < direct * 0.75
    assert each[32] < direct * 0.70
