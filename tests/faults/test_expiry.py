"""An authorization runs out while its fate is unknown: only a block decides, never our clock."""

import time

from .stage import Stage

_SOON = 10  # The product asks for six seconds at least.


def test_paid_in_time_and_learnt_of_too_late_is_paid(stage: Stage):
    wallet = stage.wallet(1_000_000)
    stage.node.on("eth_sendRawTransaction", before=stage.node.down, drop="after")
    ends = max(_chain_time(stage), int(time.time())) + _SOON
    purchase = stage.purchase(wallet, validBefore=ends)
    assert purchase.send().status_code == 503
    stage.shop.wait(purchase.transfers, "the block")
    stage.shop.wait(lambda: min(_chain_time(stage), time.time()) > ends, "the end of its time")
    assert purchase.send().status_code == 503
    stage.node.clear()
    purchase.finish()
    purchase.was_bought_once()


def test_not_mined_in_time_is_not_paid_and_said_so_once_it_is_certain(timed_stage: Stage):
    ends = max(_chain_time(timed_stage), int(time.time())) + 60
    purchase = timed_stage.purchase(validBefore=ends)
    with timed_stage.no_blocks():
        assert purchase.send().status_code == 503
        timed_stage.shop.rpc("evm_setNextBlockTimestamp", ends)
        timed_stage.shop.rpc("evm_mine")
    answer = timed_stage.shop.wait(lambda: (a := purchase.send()).status_code == 402 and a, "the refusal").json()
    assert (answer["error"], answer["charged"]) == ("authorization_expired", False)
    timed_stage.shop.wait(lambda: [state for _, state in purchase.payments()] == ["failed"], "the end")
    purchase.was_not_bought()


def _chain_time(stage: Stage) -> int:
    return int(stage.shop.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
