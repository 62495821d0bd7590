"""Others who act between the shop's checks and the block: observers, payers who spend the money, hostile wallets."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from eth_abi import encode

from dev.install import ROOT
from tests.wallet import Wallet

from .purchase import Purchase
from .stage import TOKEN, Stage

_ARM = "0x370419e5"  # HostileWallet.arm()


def test_a_payment_that_an_observer_settled_before_it_was_presented_buys_the_article(stage: Stage):
    purchase = stage.purchase()
    stage.front_run(purchase)
    stage.shop.wait(lambda: _in_suspense(stage, purchase), "the watcher")
    purchase.finish()
    purchase.was_bought_once()
    assert not _in_suspense(stage, purchase)


def test_a_payment_that_an_observer_settled_just_before_it_was_presented_buys_the_article(stage: Stage):
    purchase = stage.purchase()
    with stage.nobody_watches():
        stage.front_run(purchase)
        purchase.finish()
    purchase.was_bought_once()


def test_a_payment_that_an_observer_settles_while_it_is_being_sent_buys_the_article(stage: Stage):
    """The shop's own transaction is mined and pays nothing: that alone never means "not paid"."""
    purchase = stage.purchase()
    rule = stage.node.on("eth_sendRawTransaction", before=lambda: stage.front_run(purchase))
    purchase.finish()
    assert rule.hits == 1
    purchase.was_bought_once()


def test_an_observer_who_is_always_first_does_not_get_the_payer_refused(stage: Stage):
    wallet = stage.wallet()
    for _ in range(4):
        purchase = stage.purchase(wallet)
        stage.node.on("eth_sendRawTransaction", before=lambda purchase=purchase: stage.front_run(purchase))
        purchase.finish()


def test_a_payer_who_spends_the_money_between_the_check_and_the_block_is_not_served(stage: Stage):
    purchase = stage.purchase()
    spending = stage.spending(purchase.wallet, purchase.held)
    stage.node.on("eth_sendRawTransaction", before=lambda: stage.shop.rpc("eth_sendRawTransaction", spending))
    answer = _decided(stage, purchase)
    assert (answer["error"], answer["charged"]) == ("settlement_failed", False)
    purchase.was_not_bought()


def test_a_payer_who_has_cost_gas_three_times_is_refused_before_anything_is_sent(stage: Stage):
    wallet = stage.wallet(0)
    for _ in range(3):
        stage.shop.mint(wallet.address, 1_000_000)
        purchase = stage.purchase(wallet)
        spending = stage.spending(wallet, 1_000_000)
        stage.node.on("eth_sendRawTransaction", before=lambda tx=spending: stage.shop.rpc("eth_sendRawTransaction", tx))
        assert _decided(stage, purchase)["error"] == "settlement_failed"
    stage.shop.mint(wallet.address, 1_000_000)
    sent = stage.node.counts["eth_sendRawTransaction"]
    answer = stage.purchase(wallet).send()
    assert (answer.status_code, answer.json()["error"]) == (402, "too_many_failures")
    assert stage.node.counts["eth_sendRawTransaction"] == sent
    purchase.was_not_bought()


def test_a_payer_who_cancels_the_authorization_is_told_it_is_used(stage: Stage):
    purchase = stage.purchase()
    cancelling = stage.signed(_with_ether(stage, purchase.wallet), TOKEN, _cancellation(stage, purchase))
    stage.node.on("eth_sendRawTransaction", before=lambda: stage.shop.rpc("eth_sendRawTransaction", cancelling))
    answer = _decided(stage, purchase)
    assert (answer["error"], answer["charged"]) == ("authorization_used", False)
    purchase.was_not_bought()


def test_a_wallet_that_burns_all_gas_takes_nobody_down_with_it(stage: Stage):
    hostile = _hostile(stage)
    bad = stage.purchase(Wallet(), **{"from": hostile})
    good = stage.purchases(3)
    with ThreadPoolExecutor(4) as pool, stage.nobody_settles():
        under_way = [pool.submit(purchase.send) for purchase in (bad, *good)]
        for purchase in (bad, *good):
            stage.shop.wait(purchase.payments, "the claim")
        arming = stage.signed(stage.stranger(), hostile, _ARM)
        stage.node.on("eth_sendRawTransaction", before=lambda: stage.shop.rpc("eth_sendRawTransaction", arming))
    assert [answer.result().status_code for answer in under_way[1:]].count(402) == 0
    for purchase in good:
        purchase.finish()
        purchase.was_bought_once()
    assert _decided(stage, bad)["charged"] is False
    bad.was_not_bought()


def test_a_wallet_that_burns_all_gas_when_it_is_asked_costs_one_capped_call(stage: Stage):
    hostile = _hostile(stage)
    tx = stage.shop.rpc("eth_sendRawTransaction", stage.signed(stage.stranger(), hostile, _ARM))
    stage.shop.wait(lambda: stage.shop.rpc("eth_getTransactionReceipt", tx), "the arming")
    bad = stage.purchase(Wallet(), **{"from": hostile})
    answer = bad.send()
    assert (answer.status_code, answer.json()["error"]) == (402, "invalid_exact_evm_payload_signature")
    assert bad.payments() == []


@pytest.mark.parametrize("first", [0, 1])
def test_one_authorization_for_two_articles_buys_the_one_it_was_presented_for_first(stage: Stage, first: int):
    pair = stage.shop.twins()
    purchase = Purchase(stage.shop, stage.wallet(), pair[first])
    purchase.finish()
    other = stage.shop.http.get(pair[1 - first]["json_url"], headers={"PAYMENT-SIGNATURE": purchase.header})
    assert other.status_code == 402
    purchase.was_bought_once()


def _decided(stage: Stage, purchase: Purchase) -> dict:
    """What a buyer is told in the end, who is told "later" until then and is never served."""

    def refused():
        answer = purchase.send()
        assert answer.status_code in (402, 503), answer.text[:300]
        return answer.status_code == 402 and answer.json()

    return stage.shop.wait(refused, "the refusal")


def _in_suspense(stage: Stage, purchase: Purchase) -> bool:
    ours = f"SELECT 1 FROM audit_chain_seen WHERE \"from\" = '{purchase.payer}'"
    ((balance,),) = stage.shop.sql("SELECT coalesce(sum(amount), 0) FROM audit_entry WHERE kind = 'suspense'")
    return bool(stage.shop.sql(ours)) and int(balance) > 0


def _with_ether(stage: Stage, wallet: Wallet) -> Wallet:
    stage.shop.rpc("anvil_setBalance", wallet.address, hex(10**18))
    return wallet


def _cancellation(stage: Stage, purchase: Purchase) -> str:
    """cancelAuthorization(address,bytes32,bytes), signed by the payer."""
    asked = stage.shop.terms(purchase.url)["accepts"][0]
    domain = {"name": asked["extra"]["name"], "version": asked["extra"]["version"], "chainId": 84532}
    domain |= {"verifyingContract": TOKEN}
    types = {"CancelAuthorization": [{"name": "authorizer", "type": "address"}, {"name": "nonce", "type": "bytes32"}]}
    said = {"authorizer": purchase.wallet.address, "nonce": purchase.authorization["nonce"]}
    signature = bytes(purchase.wallet.account.sign_typed_data(domain, types, said).signature)
    nonce = bytes.fromhex(said["nonce"][2:])
    return "0xb7b72899" + encode(["address", "bytes32", "bytes"], [said["authorizer"], nonce, signature]).hex()


def _hostile(stage: Stage) -> str:
    code = json.loads((ROOT / "payments" / "onchain" / "contracts" / "HostileWallet.json").read_text())["bytecode"]
    deployment = {"from": stage.shop.stack.accounts.minter.address, "data": code, "gas": hex(1_000_000)}
    tx = stage.shop.rpc("eth_sendTransaction", deployment)
    receipt = stage.shop.wait(lambda: stage.shop.rpc("eth_getTransactionReceipt", tx), "the deployment")
    stage.shop.mint(receipt["contractAddress"], 1_000_000)
    return receipt["contractAddress"]
