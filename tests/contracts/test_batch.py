"""BatchSettlement: every payment that can be settled is, whatever the others do."""

import itertools
import secrets

import pytest
from eth_abi import decode, encode
from eth_account import Account
from web3 import Web3
from web3.exceptions import ContractCustomError, ContractLogicError

from .signing import (
    MOVE,
    PAYEE,
    ZERO,
    authorization,
    call_of,
    mined,
    names,
    paid,
    reason,
    refused,
    signed,
)

GAS_EACH = 150_000


@pytest.fixture
def batch(deploy):
    return deploy("BatchSettlement")


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
