"""Blocks that leave the chain after the article was served: the books follow the chain, and nobody is charged twice."""

import pytest

from .purchase import Purchase
from .stage import Stage


@pytest.mark.parametrize("deeper", [0, 1, 2])
def test_a_purchase_whose_block_is_replaced_is_settled_again(stage: Stage, deeper: int):
    purchase = stage.bought_on_old_money()
    stage.reorganise(purchase, deeper)
    stage.shop.wait(purchase.transfers, "the second settlement")
    purchase.finish()
    stage.books_agree()
    purchase.was_bought_anew()


def test_many_purchases_in_replaced_blocks_are_all_settled_again(stage: Stage):
    purchases = stage.purchases(6)
    stage.shop.rpc("anvil_mine", "0x4")
    for purchase in purchases:
        purchase.finish()
    stage.reorganise(purchases[0])
    for purchase in purchases:
        stage.shop.wait(purchase.transfers, "the second settlement")
        purchase.finish()
    stage.books_agree()
    for purchase in purchases:
        purchase.was_bought_anew()


def test_the_same_transaction_in_another_block_is_the_same_sale(stage: Stage):
    purchase = stage.bought_on_old_money()
    first = purchase.transfers()[0]
    stage.reorganise(purchase, deeper=1, instead=stage.node.sent[-1:])
    second = stage.shop.wait(purchase.transfers, "the transfer in its new block")[0]
    assert (second["transactionHash"], second["blockHash"] == first["blockHash"]) == (first["transactionHash"], False)
    seen = f"SELECT 1 FROM audit_chain_seen WHERE block = {int(second['blockNumber'], 16)}"
    stage.shop.wait(lambda: stage.shop.sql(seen), "the watcher")
    purchase.finish()
    stage.books_agree()
    purchase.was_bought_anew()


def test_a_buyer_whose_money_is_gone_on_the_new_chain_loses_the_article_and_is_told_so(stage: Stage):
    purchase = stage.purchase()
    elsewhere = stage.spending(purchase.wallet, purchase.held)
    stage.shop.rpc("anvil_mine", "0x4")
    purchase.finish()
    receipt = purchase.send().headers["PAYMENT-RECEIPT"]
    stage.reorganise(purchase, instead=[elsewhere])
    answer = stage.shop.wait(lambda: (a := purchase.send()).status_code == 402 and a, "the refusal").json()
    assert answer["charged"] is False
    # The old transaction may have been mined again before it was looked for.
    assert answer["error"] in ("insufficient_funds", "settlement_failed")
    assert stage.shop.http.get(purchase.url, headers={"PAYMENT-RECEIPT": receipt}).status_code == 402
    stage.books_agree()
    purchase.was_not_bought()
    # What was booked for the sale was booked back, nothing was erased.
    assert [kind for kind, _ in _journals(stage, purchase)] == ["sale", "reorganisation"]
    assert sum(amount for _, amount in _journals(stage, purchase)) == 0

    # The buyer buys once more when there is money again.
    stage.shop.mint(purchase.wallet.address, purchase.held)
    again = stage.purchase(purchase.wallet)
    again.finish()
    again.was_bought_once()


def test_a_transaction_of_ours_that_paid_nothing_and_is_replaced_leaves_no_gap(stage: Stage):
    first = stage.bought_on_old_money()
    purchase = stage.purchase()
    spending = stage.spending(purchase.wallet, purchase.held)
    stage.node.on("eth_sendRawTransaction", before=lambda: stage.shop.rpc("eth_sendRawTransaction", spending))
    stage.shop.wait(lambda: purchase.send().status_code == 402, "the refusal")
    stage.reorganise(first)
    later = stage.purchase()
    later.finish()
    for bought in (first, later):
        bought.finish()
    stage.books_agree()
    later.was_bought_once()


def test_settling_goes_on_while_the_chain_is_reorganised_again_and_again(stage: Stage):
    purchases = []
    for _ in range(3):
        purchases.append(stage.bought_on_old_money())
        stage.reorganise(purchases[-1], deeper=1)
    for purchase in purchases:
        stage.shop.wait(purchase.transfers, "the second settlement")
        purchase.finish()
    stage.books_agree()
    for purchase in purchases:
        purchase.was_bought_anew()


def _journals(stage: Stage, purchase: Purchase) -> list[tuple[str, int]]:
    """Every journal of a purchase, with what it gave to others than the world."""
    ((found,),) = stage.shop.sql(f"SELECT id FROM audit_payment WHERE payer = '{purchase.payer}'")
    rows = stage.shop.sql(
        "SELECT j.kind, sum(e.amount) FROM audit_journal j JOIN audit_entry e ON e.journal_id = j.id "
        f"WHERE replace(j.idem_key, '-', '') LIKE '%{found}%' AND e.kind <> 'world' GROUP BY j.id, j.kind ORDER BY j.id"
    )
    return [(str(kind), int(amount)) for kind, amount in rows]
