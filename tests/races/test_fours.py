"""Fifty at once, four ways: one proof once, many proofs all, and nobody on a payment that fails.

The fourth, that without its guards each of these goes wrong, is in test_the_race_is_real.py.
"""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.purchase import Purchase
from tests.faults.stage import Stage
from tests.wallet import Wallet

from .barrier import COPIES, Answer, at_once, copies, statuses


def test_fifty_copies_of_one_payment_are_one_transfer_one_sale_and_one_grant(stage: Stage):
    purchase = stage.purchase()
    assert set(statuses(copies(purchase.url, purchase.header))) <= {200, 503}
    purchase.finish()
    assert set(statuses(copies(purchase.url, purchase.header))) == {200}
    purchase.was_bought_once()
    assert len(purchase.carriers(stage.node.sent)) == 1


@pytest.mark.slow
def test_two_thousand_copies_in_forty_rounds_are_forty_sales(stage: Stage):
    for purchase in stage.purchases(40):
        assert set(statuses(copies(purchase.url, purchase.header))) <= {200, 503}
        purchase.finish()
        purchase.was_bought_once()
        assert len(purchase.carriers(stage.node.sent)) == 1


def test_fifty_payers_of_one_article_are_all_served(stage: Stage):
    article = stage.shop.article()
    purchases = [Purchase(stage.shop, wallet, article) for wallet in stage.wallets(COPIES, 1_000_000)]
    answers = at_once([(purchase.url, {"PAYMENT-SIGNATURE": purchase.header}) for purchase in purchases])
    assert set(statuses(answers)) <= {200, 503}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(Purchase.finish, purchases))
    for purchase in purchases:
        purchase.was_bought_once()


def test_fifty_copies_of_a_payment_without_money_serve_nobody(stage: Stage):
    purchase = Purchase(stage.shop, Wallet(), stage.shop.article())
    answers = copies(purchase.url, purchase.header)
    assert set(statuses(answers)) <= {402, 503}
    refused = stage.shop.wait(lambda: (answer := purchase.send()).status_code == 402 and answer, "the refusal").json()
    assert (refused["error"], refused["charged"]) == ("insufficient_funds", False)
    purchase.was_not_bought()
    assert purchase.carriers(stage.node.sent) == set()


def test_fifty_payers_whose_money_is_gone_when_the_block_comes_are_not_served(stage: Stage):
    """Every check passes, and then none of them pays."""
    wallets = stage.wallets(10, 1_000_000)
    purchases = [Purchase(stage.shop, wallet, stage.shop.article()) for wallet in wallets]
    spending = [stage.spending(wallet, 1_000_000) for wallet in wallets]
    with stage.no_blocks():
        requests = [(purchase.url, {"PAYMENT-SIGNATURE": purchase.header}) for purchase in purchases] * 5
        assert set(statuses(at_once(requests))) == {503}
        for raw in spending:
            stage.shop.rpc("eth_sendRawTransaction", raw)
    for purchase in purchases:
        stage.shop.wait(lambda purchase=purchase: _refused(purchase), "the refusal")
        purchase.was_not_bought()


def test_fifty_signatures_of_one_payer_for_one_article_are_one_transfer(stage: Stage):
    """What a stock client does that is told "later" and signs anew, all at once."""
    wallet = stage.wallet()
    purchases = [Purchase(stage.shop, wallet, stage.shop.article()) for _ in range(COPIES)]
    answers = at_once([(purchase.url, {"PAYMENT-SIGNATURE": purchase.header}) for purchase in purchases])
    assert set(statuses(answers)) <= {200, 503}
    purchases[0].finish()
    purchases[0].was_bought_once()
    assert sum(bool(purchase.carriers(stage.node.sent)) for purchase in purchases) == 1


def test_one_payer_buys_many_articles_at_once(stage: Stage):
    wallet = stage.wallet()
    purchases = [Purchase(stage.shop, wallet, article) for article in stage.shop.line["articles"]]
    answers = at_once([(purchase.url, {"PAYMENT-SIGNATURE": purchase.header}) for purchase in purchases])
    assert set(statuses(answers)) <= {200, 503}
    for purchase in purchases:
        purchase.finish()
    assert len(purchases[0].transfers()) == len(purchases) == len(purchases[0].grants()) == purchases[0].sales()
    assert stage.shop.balance(wallet.address) == 100_000_000 - sum(purchase.amount for purchase in purchases)


def test_money_for_one_of_many_articles_buys_exactly_one(stage: Stage):
    """The simulation of each alone would pass; of all together, one does."""
    wallet = Wallet()
    pair = _two_of_a_price(stage, same_publication=True)
    purchases = [Purchase(stage.shop, wallet, article) for article in pair]
    stage.shop.mint(wallet.address, purchases[0].amount)
    answers = at_once([(purchase.url, {"PAYMENT-SIGNATURE": purchase.header}) for purchase in purchases])
    assert set(statuses(answers)) <= {200, 402, 503}
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(lambda purchase: _in_the_end(stage, purchase), purchases)) == [200, 402]
    assert len(purchases[0].transfers()) == len(purchases[0].grants()) == 1


@pytest.mark.parametrize("same_publication", [True, False], ids=["twins", "of two publishers"])
def test_one_signature_for_two_articles_at_once_serves_one_of_them(stage: Stage, same_publication: bool):
    """Version 1 names no quote: nothing but the claim binds the signature to an article."""
    pair = _two_of_a_price(stage, same_publication)
    wallet = stage.wallet(1_000_000)
    earned = _earned(stage)
    terms = stage.shop.http.get(pair[0]["json_url"]).json()
    header = {"X-PAYMENT": wallet.pay_v1(terms, stage.shop.line["chain_id"])}
    answers = at_once([(article["json_url"], header) for article in pair] * (COPIES // 2))
    statuses(answers)
    served = [one for one in range(2) if _in_the_end_v1(stage, pair[one]["json_url"], header) == 200]
    assert len(served) == 1
    mine, others = answers[served[0] :: 2], answers[1 - served[0] :: 2]
    assert set(statuses(mine)) <= {200, 503}
    assert {_word(answer) for answer in others} <= {
        (402, "authorization_spent_elsewhere"),
        (503, "temporarily_unavailable"),  # The node was too busy to say whether the payer has the money.
    }
    price = pair[0]["agent_price_micros"]
    assert stage.shop.balance(wallet.address) == 1_000_000 - price
    grown = {account: now - earned.get(account, 0) for account, now in _earned(stage).items()}
    (grown_by,) = [amount for amount in grown.values() if amount]
    assert grown_by == price * 95 // 100


def _two_of_a_price(stage: Stage, same_publication: bool) -> tuple[dict, dict]:
    articles = stage.shop.line["articles"]
    for first in articles:
        for second in articles:
            same_price = first["agent_price_micros"] == second["agent_price_micros"]
            if (
                first is not second
                and same_price
                and (first["publication"] == second["publication"]) is same_publication
            ):
                return first, second
    raise AssertionError("the sample has no two such articles")


def _earned(stage: Stage) -> dict[str, int]:
    """What every publisher has earned, by the books."""
    rows = stage.shop.sql("SELECT account, sum(amount) FROM audit_entry WHERE kind = 'publisher' GROUP BY account")
    return {str(account): int(amount) for account, amount in rows}


def _refused(purchase: Purchase) -> bool:
    answer = purchase.send()
    assert answer.status_code in (402, 503), answer.text[:300]
    return answer.status_code == 402


def _in_the_end(stage: Stage, purchase: Purchase) -> int:
    """The first answer that is not "later"."""
    return stage.shop.wait(lambda: (status := purchase.send().status_code) != 503 and status, "an answer")


def _in_the_end_v1(stage: Stage, url: str, header: dict[str, str]) -> int:
    def asked() -> int | bool:
        status = stage.shop.http.get(url, headers=header).status_code
        return status != 503 and status

    return stage.shop.wait(asked, "an answer")


def _word(answer: Answer) -> tuple[int, str]:
    return answer.status, json.loads(answer.body).get("error", "")
