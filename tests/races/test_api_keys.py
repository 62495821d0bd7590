"""Two hundred requests with agents' keys at once, four ways: one sale each, no budget overspent, nobody for nothing.

The fourth, that without its guard a budget is overspent, is in test_the_race_of_budgets_is_real.py.
"""

import json
from collections import Counter

import pytest

from tests.faults.stage import Stage

from .api_keys import PRICE, Made, Purse, make, run
from .barrier import Answer, at_once, statuses

MANY, WINNERS = 200, 7


@pytest.fixture(scope="module")
def addresses(_stage: Stage) -> list[str]:
    """Two hundred articles, all at one price."""
    return make(_stage, articles=MANY).addresses


def asked(texts: list[str], addresses: list[str]) -> list[Answer]:
    """Each key at its address, all at once."""
    pairs = zip(texts, addresses, strict=True)
    return at_once([(address, {"Authorization": f"Bearer {text}"}) for text, address in pairs])


def words(answers: list[Answer]) -> Counter[str]:
    """Why the refused were refused; they got nothing to read, and were told that they paid nothing."""
    refused = [answer for answer in answers if answer.status == 402]
    assert not [answer for answer in refused if b"canary7731" in answer.body]
    said = [json.loads(answer.body) for answer in refused]
    assert all(one["charged"] is False for one in said)
    return Counter(one["error"] for one in said)


def balance(stage: Stage, made: Made) -> list[int]:
    """By the purses' own column; the audit compares it with the books after every test."""
    rows = stage.shop.sql("SELECT id, balance_micros FROM payments_purse")
    held = {str(pk).replace("-", ""): int(micros) for pk, micros in rows}
    return [held[purse.replace("-", "")] for purse in made.purses]


def sold(stage: Stage, made: Made) -> int:
    """Grants that these purses have."""
    names = ", ".join(f"'purse:{purse}'" for purse in made.purses)
    ((found,),) = stage.shop.sql(
        f"SELECT count(*) FROM payments_grant WHERE revoked_at IS NULL AND buyer IN ({names})"  # noqa: S608
    )
    return int(found)


def test_two_hundred_copies_of_one_request_are_one_sale_and_all_read(stage: Stage, addresses: list[str]):
    made = make(stage, Purse(1_000_000, limits={"budget_micros": PRICE, "day_budget_micros": PRICE}))
    answers = asked(made.texts * MANY, addresses[:1] * MANY)
    assert statuses(answers) == {200: MANY}
    assert (sold(stage, made), balance(stage, made)) == (1, [1_000_000 - PRICE])


def test_two_hundred_keys_of_four_purses_all_buy(stage: Stage, addresses: list[str]):
    made = make(stage, *[Purse(10_000_000, keys=MANY // 4, limits={"budget_micros": PRICE}) for _ in range(4)])
    assert statuses(asked(made.texts, addresses)) == {200: MANY}
    assert (sold(stage, made), balance(stage, made)) == (MANY, [10_000_000 - MANY // 4 * PRICE] * 4)


ROOM = WINNERS * PRICE + PRICE - 1


@pytest.mark.parametrize(
    ("purse", "word"),
    [
        (Purse(20_000_000, limits={"budget_micros": ROOM}), "budget_exhausted"),
        (Purse(500_000 + ROOM, limits={}), "insufficient_balance"),
        pytest.param(
            Purse(20_000_000, limits={"day_budget_micros": ROOM}), "day_budget_exhausted", marks=pytest.mark.slow
        ),
        pytest.param(Purse(0, tab=ROOM), "tab_limit_reached", marks=pytest.mark.slow),
    ],
    ids=["in all", "balance", "of a day", "tab"],
)
def test_what_is_there_for_seven_of_two_hundred_buys_exactly_seven(stage, addresses, purse, word):
    winners = WINNERS + (10 if word == "insufficient_balance" else 0)  # Card money comes in half dollars at least.
    made = make(stage, purse)
    answers = asked(made.texts * MANY, addresses)
    assert statuses(answers) == {200: winners, 402: MANY - winners}
    assert words(answers) == {word: MANY - winners}
    assert (sold(stage, made), balance(stage, made)) == (winners, [purse.micros - winners * PRICE])
    ((spent,),) = _spent(stage, made)
    assert int(spent) == winners * PRICE
    again = asked(made.texts * MANY, addresses)
    assert [answer.status for answer in again] == [answer.status for answer in answers]


def test_two_keys_of_one_purse_never_take_more_than_is_in_it(stage: Stage, addresses: list[str]):
    made = make(stage, Purse(500_000 + ROOM, keys=2, limits={"budget_micros": 10_000_000}))
    winners = WINNERS + 10
    answers = asked([*made.texts] * (MANY // 2), addresses)
    assert statuses(answers) == {200: winners, 402: MANY - winners}
    assert (sold(stage, made), balance(stage, made)) == (winners, [500_000 + ROOM - winners * PRICE])


def test_a_key_is_dead_within_five_seconds_of_its_revocation_under_load(stage: Stage, addresses: list[str]):
    """In fact with the next request: what is asked after the commit is refused, also for what it has bought."""
    made = make(stage, Purse(10_000_000))
    half = MANY // 2
    assert statuses(asked(made.texts * half, addresses[:half])) == {200: half}
    _revoke(stage, made.texts[0])
    answers = asked(made.texts * MANY, addresses)
    assert words(answers) == {"invalid_key": MANY}
    assert sold(stage, made) == half


def _spent(stage: Stage, made: Made) -> list[tuple]:
    public = made.texts[0].split("_")[1]
    return stage.shop.sql(f"SELECT spent_micros FROM payments_apikey WHERE public = '{public}'")  # noqa: S608


def _revoke(stage: Stage, text: str) -> None:
    run(
        stage,
        "import os; from payments.purses import api_keys; from payments.models import ApiKey;"
        "api_keys.revoke(ApiKey.objects.get(public=os.environ['PUBLIC']))",
        PUBLIC=text.split("_")[1],
    )
