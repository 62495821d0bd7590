"""Hundreds of kills at random steps, and thousands of buyers: minutes long, so only when it is asked for.

PENNYPRESS_KILLS=500 PENNYPRESS_BUYERS=2000 PENNYPRESS_SEED=7 dev.py test tests/faults/test_campaign.py -m slow -s
"""

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from .purchase import Purchase
from .stage import Stage
from .test_crashes import RPC, SETTLER, WATCHER, WEB

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("PENNYPRESS_KILLS", "500"))
BUYERS = int(os.environ.get("PENNYPRESS_BUYERS", "2000"))
SEED = int(os.environ.get("PENNYPRESS_SEED", str(random.randrange(10**6))))
POINTS = [
    (role, step, moment)
    for role, points in (("settler", SETTLER), ("web", WEB), ("watcher", WATCHER))
    for step, moment, _ in points
]


def test_whoever_dies_whenever_every_payment_ends_paid_once(stage: Stage):
    print(f"\nseed {SEED}, {KILLS} kills")
    dice, kills, took = random.Random(SEED), 0, []
    while kills < KILLS:
        if dice.random() < 0.2:
            died, slowest = _at_a_call(stage, dice)
        else:
            died, slowest = _at_a_step(stage, dice)
        kills += died
        took.append(slowest)
        stage.books_agree()
        if died and kills % 50 == 0:
            print(f"{kills} kills, slowest purchase {max(took):.1f} s")
    took.sort()
    print(f"{kills} kills in {len(took)} rounds, p99 {took[int(len(took) * 0.99)]:.1f} s, slowest {took[-1]:.1f} s")
    assert took[-1] < 60
    assert took[int(len(took) * 0.99)] < 20


def test_thousands_of_buyers_behind_nodes_that_disagree_are_told_nothing_false(stage: Stage):
    """Every answer before the article is "later": "not charged" would make a buyer sign again, and pay twice."""
    took: list[float] = []
    while len(took) < BUYERS:
        purchases = stage.purchases(min(20, BUYERS - len(took)))
        with ThreadPoolExecutor(len(purchases)) as pool:
            took += pool.map(Purchase.finish, purchases)
        for purchase in purchases:
            purchase.was_bought_once()
        if len(took) % 200 == 0:
            print(f"{len(took)} buyers, slowest {max(took):.1f} s")
            stage.books_agree()
    took.sort()
    print(f"{len(took)} buyers, median {took[len(took) // 2]:.1f} s, p99 {took[int(len(took) * 0.99)]:.1f} s")


def _at_a_step(stage: Stage, dice: random.Random) -> tuple[bool, float]:
    """One kill at a step of the product's own, if somebody comes to it."""
    role, step, moment = dice.choice(POINTS)
    if role == "watcher" and "take_back" in step:
        purchases = [stage.bought_on_old_money()]
        stage.trap.arm(role, step, moment)
        stage.reorganise(purchases[0], deeper=dice.randrange(3))
        stage.shop.wait(purchases[0].transfers, "the second settlement")
    else:
        purchases = stage.purchases(dice.randint(1, 4))
        stage.trap.arm(role, step, moment)
    slowest = _all_bought(purchases, dice)
    died = stage.trap.sprung.exists()
    stage.trap.disarm()
    stage.trap.sprung.unlink(missing_ok=True)
    return died, slowest


def _at_a_call(stage: Stage, dice: random.Random) -> tuple[bool, float]:
    """One kill of settler or watcher at a call to the chain, whoever makes it."""
    method, moment = dice.choice(RPC)
    purchases = stage.purchases(dice.randint(1, 4))
    child = dice.choice([stage.settler, stage.watcher])
    with stage.death_of(child) as kill:
        rule = stage.node.on(method, drop=moment, skip=dice.randrange(3), **{moment: kill})
        slowest = _all_bought(purchases, dice)
        if not rule.hits:
            kill()
    stage.node.clear()
    return True, slowest


def _all_bought(purchases: list[Purchase], dice: random.Random) -> float:
    """The slowest of them, in seconds."""
    waits = [dice.random() * 0.5 for _ in purchases]

    def bought(purchase: Purchase, wait: float) -> float:
        time.sleep(wait)
        return purchase.finish(web_dies=True)

    with ThreadPoolExecutor(len(purchases)) as pool:
        slowest = max(pool.map(bought, purchases, waits))
    for purchase in purchases:
        purchase.was_bought_once()
    return slowest
