"""Timed blocks, as real chains have them: transactions wait, are outbid, dropped, and become too cheap to be mined."""

from concurrent.futures import ThreadPoolExecutor

from tests.shop import Shop

from .purchase import Purchase
from .stage import Stage


def test_load_makes_the_batch_larger_and_not_the_queue_longer(timed_stage: Stage):
    purchases = timed_stage.purchases(24)
    before = _submissions(timed_stage)
    with ThreadPoolExecutor(24) as pool:
        with timed_stage.no_blocks():
            under_way = [pool.submit(purchase.finish) for purchase in purchases]
            for purchase in purchases:
                timed_stage.shop.wait(purchase.payments, "the claim")
        for answer in under_way:
            answer.result()
    for purchase in purchases:
        purchase.was_bought_once()
    # Four may be under way; whatever else came meanwhile is in the fifth.
    assert _submissions(timed_stage) - before <= 5


def test_an_observer_who_is_first_in_the_same_block_has_paid_for_the_buyer(timed_stage: Stage):
    purchase = timed_stage.purchase()
    with timed_stage.no_blocks(), purchase.under_way():
        _until_pending(timed_stage)
        rival = timed_stage.front_run(purchase)
        timed_stage.shop.rpc("evm_mine")
    purchase.finish()
    assert [log["transactionHash"] for log in purchase.transfers()] == [rival]
    purchase.was_bought_once()


def test_a_dropped_transaction_is_sent_again(timed_stage: Stage):
    purchases = timed_stage.purchases(3)
    with timed_stage.no_blocks(), ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(purchase.send) for purchase in purchases]
        assert {answer.result().status_code for answer in asked} == {503}
        _attempts_for(timed_stage, purchases)
        _until_pending(timed_stage)
        with timed_stage.node.holding("eth_sendRawTransaction"):
            timed_stage.shop.rpc("anvil_dropAllTransactions")
            assert _pending(timed_stage) == []
    for purchase in purchases:
        purchase.finish()
        purchase.was_bought_once()


def test_the_first_of_two_transactions_dropped_does_not_hold_up_the_second(timed_stage: Stage):
    first, second = timed_stage.purchases(2)
    with timed_stage.no_blocks():
        assert first.send().status_code == 503
        (dropped,) = _until_pending(timed_stage)
        assert second.send().status_code == 503
        timed_stage.shop.rpc("anvil_dropTransaction", dropped)
    for purchase in (first, second):
        purchase.finish()
        purchase.was_bought_once()


def test_when_fees_jump_a_stuck_transaction_is_replaced_and_later_ones_are_not_held_up(timed_stage: Stage):
    """300 gwei is within MAX_FEE_GWEI, though twice as much is not; and it stays so."""
    first, later = timed_stage.purchases(2)
    with timed_stage.no_blocks():
        assert first.send().status_code == 503
        _one_block(timed_stage.shop, 300)
        assert first.transfers() == []
        timed_stage.shop.wait(lambda: _sent_then_mined(later, 300), "the replacement")
        assert first.transfers()
    for purchase in (first, later):
        purchase.finish()
        purchase.was_bought_once()


def test_above_the_highest_fee_settlement_waits_and_goes_on_when_fees_fall(timed_stage: Stage):
    purchase = timed_stage.purchase()
    with timed_stage.no_blocks():
        for _ in range(4):
            assert purchase.send().status_code == 503
            _one_block(timed_stage.shop, 2_000)
        assert purchase.transfers() == []
        assert _highest_fee(timed_stage) <= 500 * 10**9
    purchase.finish()
    purchase.was_bought_once()


def test_while_no_block_comes_every_buyer_is_told_later_and_nobody_is_charged_twice(timed_stage: Stage):
    just_before, *purchases = timed_stage.purchases(5)
    # What the settler remembers of the fees is older than the last block now.
    just_before.finish()
    with timed_stage.no_blocks():
        attempts = None
        for _ in range(4):
            with ThreadPoolExecutor(4) as pool:
                assert {answer.status_code for answer in pool.map(Purchase.send, purchases)} == {503}
            attempts = attempts or _attempts_for(timed_stage, purchases)
        # A higher fee does not make a block come: it would only have to be paid when one does.
        assert _attempts(timed_stage) == attempts
    for purchase in purchases:
        purchase.finish()
        purchase.was_bought_once()


def _pending(stage: Stage) -> list[str]:
    content = stage.shop.rpc("txpool_content")
    waiting = [*content["pending"].values(), *content["queued"].values()]
    return [transaction["hash"] for by_nonce in waiting for transaction in by_nonce.values()]


def _until_pending(stage: Stage) -> list[str]:
    return stage.shop.wait(lambda: _pending(stage), "the settlement transaction")


def _sent_then_mined(purchase: Purchase, base_fee_gwei: int) -> list:
    """Its transfers, after another look at the article and another block."""
    purchase.send()
    _one_block(purchase.shop, base_fee_gwei)
    return purchase.transfers()


def _one_block(shop: Shop, base_fee_gwei: int) -> None:
    shop.rpc("anvil_setNextBlockBaseFeePerGas", hex(base_fee_gwei * 10**9))
    shop.rpc("evm_mine")


def _submissions(stage: Stage) -> int:
    ((number,),) = stage.shop.sql("SELECT count(*) FROM payments_submission")
    return int(number)


def _highest_fee(stage: Stage) -> int:
    ((highest,),) = stage.shop.sql("SELECT max(max_fee) FROM payments_attempt")
    return int(highest)


def _attempts_for(stage: Stage, purchases: list[Purchase]) -> int:
    """How many there are once each of these is in a transaction: on a slow day a buyer is told "later" before that."""
    signed = {"signed"}
    stage.shop.wait(lambda: {state for one in purchases for _, state in one.payments()} == signed, "the signatures")
    return _attempts(stage)


def _attempts(stage: Stage) -> int:
    ((number,),) = stage.shop.sql("SELECT count(*) FROM payments_attempt")
    return int(number)
