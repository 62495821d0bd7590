"""The node is unreachable, slow, forgetful or lies: buyers are told "later", and every payment ends paid once."""

import time
from concurrent.futures import ThreadPoolExecutor

from .stage import Stage

LOST_REPLIES = 20


def test_twenty_lost_replies_to_a_sent_transaction_are_twenty_paid_purchases(stage: Stage):
    for _ in range(LOST_REPLIES):
        purchase = stage.purchase()
        rule = stage.node.on("eth_sendRawTransaction", drop="after")
        purchase.finish()
        assert rule.hits == 1
        purchase.was_bought_once()


def test_a_transaction_that_never_reached_the_node_is_sent_again_with_the_same_bytes(stage: Stage):
    purchase = stage.purchase()
    rule = stage.node.on("eth_sendRawTransaction", drop="before", times=2)
    purchase.finish()
    assert rule.hits == 2
    purchase.was_bought_once()


def test_while_the_node_is_down_buyers_are_told_later_and_all_are_served_after_it(stage: Stage):
    purchases = stage.purchases(8)
    down = stage.node.down()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda purchase: purchase.send(), purchases))
    assert [(a.status_code, a.headers["Retry-After"]) for a in answers] == [(503, "2")] * 8
    assert down.hits > 0
    for purchase in purchases:
        purchase.was_not_bought()
    stage.node.clear()
    for purchase in purchases:
        purchase.finish()
        purchase.was_bought_once()


def test_the_node_goes_down_with_transactions_under_way(stage: Stage):
    purchases = stage.purchases(4)
    stage.node.on("eth_sendRawTransaction", before=stage.node.down, drop="after")
    with ThreadPoolExecutor(4) as pool:
        assert {a.status_code for a in pool.map(lambda purchase: purchase.send(), purchases)} == {503}
    time.sleep(1)
    stage.node.clear()
    for purchase in purchases:
        purchase.finish()
        purchase.was_bought_once()


def test_a_slow_node_makes_it_slow_and_nothing_else(stage: Stage):
    purchase = stage.purchase()
    for method in ("eth_call", "eth_sendRawTransaction", "eth_getTransactionReceipt", "eth_getLogs"):
        stage.node.on(method, delay=0.7)
    # Longer than the product waits for an answer: the same as a lost reply.
    stage.node.on("eth_getTransactionCount", delay=2.5)
    purchase.finish()
    purchase.was_bought_once()


def test_a_node_that_is_too_busy_is_asked_again(stage: Stage):
    purchase = stage.purchase()
    busy = {"code": -32005, "message": "daily request count exceeded, request rate limited"}
    rules = [
        stage.node.on(method, error=busy, times=2)
        for method in ("eth_call", "eth_sendRawTransaction", "eth_getTransactionReceipt", "eth_getLogs")
    ]
    purchase.finish()
    assert [rule.hits for rule in rules] == [2, 2, 2, 2]
    purchase.was_bought_once()


def test_a_node_that_refuses_to_take_a_transaction_is_asked_again(stage: Stage):
    purchase = stage.purchase()
    stage.node.on("eth_sendRawTransaction", error={"code": -32000, "message": "txpool is full"}, times=2)
    purchase.finish()
    purchase.was_bought_once()


def test_a_transaction_that_is_sent_twice_moves_the_money_once(stage: Stage):
    purchase = stage.purchase()
    stage.node.on("eth_sendRawTransaction", twice=True)
    purchase.finish()
    purchase.was_bought_once()


def test_a_node_that_forgets_the_logs_of_our_block_delays_the_sale_until_the_logs_are_there(stage: Stage):
    purchase = stage.purchase()
    rule = stage.node.on("eth_getTransactionReceipt", lie=lambda said: said and {**said, "logs": []}, times=2)
    purchase.finish()
    assert rule.hits
    purchase.was_bought_once()


def test_a_node_that_knows_no_receipts_delays_the_sale(stage: Stage):
    purchase = stage.purchase()
    rule = stage.node.on("eth_getTransactionReceipt", lie=lambda _: None, times=6)
    purchase.finish()
    assert rule.hits
    purchase.was_bought_once()


def test_a_node_whose_head_jumps_back_loses_nothing(stage: Stage):
    """What several nodes behind one address look like when one of them lags."""
    purchase = stage.purchase()
    stage.shop.rpc("anvil_mine", "0x4")
    old = stage.shop.rpc("eth_getBlockByNumber", hex(int(stage.shop.rpc("eth_blockNumber"), 16) - 3), False)
    for skip in range(0, 12, 2):
        stage.node.on("eth_getBlockByNumber", lie=lambda _: old, skip=skip, when=lambda params: params[0] == "latest")
    purchase.finish()
    stage.books_agree()
    purchase.was_bought_once()


def _is_the_settlers_look(params: list) -> bool:
    """It asks about payers in a block by its hash; a web worker at first in whatever block is the newest."""
    return "to" not in params[0] and isinstance(params[1], dict)


def test_a_node_that_says_the_authorization_is_spent_is_not_believed_without_its_log(stage: Stage):
    """Used may mean cancelled, or paid: only the log tells, so the payment waits for one and is then settled."""
    purchase = stage.purchase()
    no = "0x" + f"{32:064x}{1:064x}{0:064x}"  # The simulation's answer for one authorization.
    stage.node.on("eth_call", lie=lambda _: no, when=lambda params: "from" in params[0], times=2)
    spent = "0x" + f"{1 << 255:064x}"  # What the constructor says of one payer.
    stage.node.on("eth_call", lie=lambda _: spent, when=_is_the_settlers_look, times=2)
    purchase.finish()
    purchase.was_bought_once()


def test_a_transaction_count_that_was_too_high_leaves_no_gap(stage: Stage):
    high = stage.node.on("eth_getTransactionCount", lie=lambda count: hex(int(count, 16) + 3))
    _counts_anew(stage)
    for _ in range(2):
        purchase = stage.purchase()
        purchase.finish()
        purchase.was_bought_once()
    assert high.hits


def _counts_anew(stage: Stage) -> None:
    """A settler that has just started counts its transactions before the first sale."""
    stage.settler.stop(0)
    stage.settler.start()


def test_a_gap_before_transactions_under_way_is_filled(stage: Stage):
    """The count is too high for as long as it takes to sign with it."""
    purchases = stage.purchases(3)
    lie = {"lie": lambda count: hex(int(count, 16) + 3), "times": None}
    high = stage.node.on("eth_getTransactionCount", **lie)
    stage.node.on("eth_sendRawTransaction", after=stage.node.clear)
    _counts_anew(stage)
    for purchase in purchases:
        purchase.finish()
        purchase.was_bought_once()
    assert high.hits


def test_a_transaction_count_that_is_too_low_sends_nothing_twice(stage: Stage):
    first = stage.purchase()
    first.finish()
    low = stage.node.on("eth_getTransactionCount", lie=lambda count: hex(int(count, 16) - 2), times=2)
    _counts_anew(stage)
    second = stage.purchase()
    second.finish()
    assert low.hits
    for purchase in (first, second):
        purchase.was_bought_once()
