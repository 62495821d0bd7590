"""Fifty at once at one purse and one tab, in fours: one thing once, many things all, nobody on what is refused, and
without its guard each of these goes wrong. Then everybody at once who may touch one purse."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from payments import fulfilment, gate, purses, tasks
from payments.books import accounts, ledger
from payments.cards import checkout, refunds, tabs, webhooks
from payments.models import CardRefund, Charge, Debit, Grant, Payment, PaymentState, Purse
from payments.purses import joining
from tests import buyers
from tests.bank import CENT, Bank, make_due

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]
MANY, PRICE = 50, 60_000
OFFERS = [buyers.offer(number, PRICE) for number in range(1, MANY + 1)]


def at_once(acts: Sequence[Callable[[], Any]]) -> list[Any]:
    """All of them at one moment, each in a thread with a connection of its own; what each answered,
    or the word it was refused with. Any other error is raised."""
    barrier, answers = threading.Barrier(len(acts)), [None] * len(acts)

    def run(number: int, act: Callable[[], Any]) -> None:
        try:
            barrier.wait(60)
            answers[number] = act()
        except (gate.PaymentRequired, gate.PaymentInFlight, purses.PurseRefused) as no:
            answers[number] = no.word
        except Exception as error:
            answers[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def buying(purse: Purse, offers: Sequence[Any]) -> list[Callable[[], Any]]:
    return [lambda wanted=wanted: buyers.press(purse, wanted) for wanted in offers]


def words(answers: list[Any]) -> Counter[str]:
    """How often each word; "served" for those who were. No word: a purse that was joined shows nothing."""
    return Counter("served" if isinstance(answer, gate.Admitted) else answer for answer in answers)


def balance(purse: Purse) -> int:
    purse.refresh_from_db()
    assert purse.balance_micros == ledger.balance(accounts.balance(purse.id), "USD")
    return purse.balance_micros


# --- One balance -----------------------------------------------------------------------------------------------


def exactly(purse: Purse, micros: int) -> None:
    """Fill it, and spend all but so much."""
    buyers.fill(purse, 1_000_000)
    buyers.press(purse, buyers.offer(999, 1_000_000 - micros))


def test_money_for_one_of_fifty_articles_buys_exactly_one_and_serves_nobody_else():
    purse = buyers.purse()
    exactly(purse, PRICE)
    answers = at_once(buying(purse, OFFERS))
    assert words(answers) == {"served": 1, "insufficient_balance": MANY - 1}
    (served,) = [answer.grant for answer in answers if isinstance(answer, gate.Admitted)]
    assert list(Grant.objects.exclude(resource="article:999")) == [served]
    assert Payment.objects.count() == Debit.objects.count() == 2
    assert balance(purse) == 0


def test_without_the_floor_all_fifty_are_bought_and_the_purse_is_overdrawn(monkeypatch: pytest.MonkeyPatch):
    """In the same race: only the condition of the update is not there."""
    purse = buyers.purse()
    exactly(purse, PRICE)
    move = purses.move
    monkeypatch.setattr(purses, "move", lambda purse_id, micros, floor=False: move(purse_id, micros))
    assert words(at_once(buying(purse, OFFERS))) == {"served": MANY}
    assert balance(purse) == -(MANY - 1) * PRICE


def test_fifty_articles_of_one_purse_are_all_bought():
    purse = buyers.purse(MANY * PRICE)
    assert words(at_once(buying(purse, OFFERS))) == {"served": MANY}
    assert Grant.objects.count() == MANY
    assert balance(purse) == 0


def test_fifty_purses_buy_one_article_all():
    owners = [buyers.purse(500_000) for _ in range(MANY)]
    assert words(at_once([lambda owner=owner: buyers.press(owner, OFFERS[0]) for owner in owners])) == {"served": MANY}
    assert Grant.objects.filter(resource="article:1").count() == MANY
    assert [balance(owner) for owner in owners] == [500_000 - PRICE] * MANY


def test_fifty_copies_of_one_purchase_are_one_sale_and_all_read():
    purse = buyers.purse(MANY * PRICE)
    answers = at_once(buying(purse, OFFERS[:1] * MANY))
    assert words(answers) == {"served": MANY}
    assert len({answer.grant.id for answer in answers}) == 1
    assert Payment.objects.count() == Debit.objects.count() == Grant.objects.count() == 1
    assert balance(purse) == (MANY - 1) * PRICE


def test_a_person_and_an_agent_who_buy_the_same_pay_once():
    purse = buyers.purse(MANY * PRICE)
    text = buyers.key(purse)
    pair = [lambda: buyers.press(purse, OFFERS[0]), lambda: buyers.present(text, OFFERS[0])]
    assert words(at_once(pair * (MANY // 2))) == {"served": MANY}
    assert balance(purse) == (MANY - 1) * PRICE
    assert purse.keys.get().spent_micros in (0, PRICE)


def test_a_purse_that_is_frozen_meanwhile_serves_nobody_after(bank: Bank):
    """Who was served has paid, whoever came first."""
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    bank.do("disputes", charge=charge.stripe_charge_id, amount=100, kind="fraudulent")
    events = bank.post()
    answers = at_once([*buying(purse, OFFERS), lambda: hear(events)])
    said = words(answers[:-1])
    assert said.keys() <= {"served", "purse_frozen"}
    assert Grant.objects.count() == said["served"]
    assert balance(purse) == 4_000_000 - said["served"] * PRICE
    assert words(at_once(buying(purse, [buyers.offer(77, PRICE)] * 4))) == {"purse_frozen": 4}


# --- Money back ------------------------------------------------------------------------------------------------


def given_back(payment: Payment) -> str:
    purses.refund(payment.id, payment.debit.purse)
    return "given back"


def test_fifty_returns_of_one_article_give_its_price_back_once():
    purse = buyers.purse(1_000_000)
    payment = buyers.press(purse, OFFERS[0]).payment
    answers = at_once([lambda: given_back(payment)] * MANY)
    assert Counter(answers) == {"given back": 1, "refund_too_late": MANY - 1}
    assert balance(purse) == 1_000_000
    assert not Grant.objects.filter(revoked_at=None).exists()


def test_a_return_and_a_purchase_of_one_article_at_once_leave_one_or_none():
    purse = buyers.purse(1_000_000)
    payment = buyers.press(purse, OFFERS[0]).payment
    pair = [lambda: given_back(payment), lambda: buyers.press(purse, OFFERS[0])]
    answers = at_once(pair * (MANY // 2))
    assert answers.count("given back") == 1
    assert words(answers).keys() <= {"served", "given back", "refund_too_late", "settlement_pending"}
    owned = Payment.objects.filter(state=PaymentState.CONFIRMED).count()
    assert Grant.objects.filter(revoked_at=None).count() == owned <= 1
    assert balance(purse) == 1_000_000 - owned * PRICE


def test_what_is_unspent_goes_back_to_the_card_or_is_spent_but_not_both(bank: Bank):
    purse = buyers.purse()
    charge = bank.top_up(purse, 500)
    back = [lambda: refunds.to_card(purse, charge, 4_900_000).amount_micros] * 10
    answers = at_once([*back, *buying(purse, [buyers.offer(n, 400_000) for n in range(1, 11)])])
    spent = sum(isinstance(answer, gate.Admitted) for answer in answers)
    gone = answers.count(4_900_000)
    assert (gone, spent) in {(1, 0), (0, 10)}
    CardRefund.objects.update(made_at=timezone.now() - timedelta(hours=1))
    bank.later()
    assert balance(purse) == 5_000_000 - gone * 4_900_000 - spent * 400_000 >= 0
    assert len(bank.state().get("refund", {})) == gone
    bank.agrees()


# --- The tab -----------------------------------------------------------------------------------------------------


def test_fifty_purchases_never_pass_the_limit_of_a_tab():
    purse = buyers.purse(tab=7 * PRICE)
    assert words(at_once(buying(purse, OFFERS))) == {"served": 7, "tab_limit_reached": MANY - 7}
    assert balance(purse) == -7 * PRICE
    assert Grant.objects.count() == 7


def test_a_tab_that_is_paid_settled_and_heard_of_at_once_is_charged_once(bank: Bank):
    purse = bank.owing(600)

    def pay() -> str:
        charge = tabs.pay_now(purse)
        return charge.state if charge else ""

    def settle() -> str:
        charge = tabs.charge_tab(purse.id)
        return charge.state if charge else ""

    at_once([pay, settle, tabs.charge_due, lambda: hear(bank.post()), swept] * 4)
    hear(bank.post())
    for _ in range(3):
        swept()
    assert [one.amount_micros for one in Charge.objects.filter(state="succeeded")] == [6_000_000]
    assert sum(one["amount"] for one in bank.state()["charge"].values() if one["paid"]) * CENT == 6_000_000
    assert balance(purse) == 0
    bank.agrees()


def test_purchases_while_the_tab_is_charged_are_owed_afterwards(bank: Bank):
    purse = bank.tab()
    buyers.press(purse, buyers.offer(500, 6_000_000))
    answers = at_once([*buying(purse, OFFERS[:20]), *[lambda: tabs.charge_tab(purse.id)] * 4])
    bought = words(answers[:20])
    for _ in range(3):
        swept()
    charged = sum(Charge.objects.filter(state="succeeded").values_list("amount_micros", flat=True))
    assert bought == {"served": 20}
    assert balance(purse) == charged - 6_000_000 - 20 * PRICE
    assert 6_000_000 <= charged <= 6_000_000 + 20 * PRICE
    bank.agrees()


# --- Everybody at once ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("round_", range(4))
def test_a_guest_who_joins_buys_and_is_heard_of_at_once_loses_and_gains_nothing(bank: Bank, round_: int):
    """Two webhooks of paid pages, the way back from them, purchases and the joining, all at the same moment."""
    guest, owner = buyers.purse(owner=f"guest:{round_}"), buyers.purse()
    bank.top_up(guest, 500)
    pages = [
        checkout.top_up(guest, 500, "/", buyers.offer(70, PRICE)),
        checkout.direct(guest, buyers.offer(71, 3_000_000), "/"),
    ]
    for page in pages:
        assert bank.pay(page)["paid"]
    events = bank.post()
    waiting = list(Charge.objects.exclude(state="succeeded").values_list("id", flat=True))
    back = [lambda one=one: fulfilment.returned(one).state for one in waiting]
    acts = [
        *buying(guest, OFFERS[:8]),
        *[lambda: hear(events)] * 2,
        *back,
        *[lambda: joining.join(guest, owner)] * 2,
        swept,
    ]
    answers = at_once(acts)
    bought = words(answers[:8])
    assert bought.keys() <= {"served", "", "insufficient_balance"}  # A purse that was joined has nothing more.
    hear(events)
    for _ in range(3):
        swept()
    assert (balance(guest), balance(owner)) == (0, 13_000_000 - (bought["served"] + 1) * PRICE - 3_000_000)
    assert Charge.objects.filter(state="succeeded", purse=owner).count() == 3
    assert Debit.objects.exclude(purse=owner).count() == 0
    assert Grant.objects.count() == bought["served"] + 2
    bank.agrees()


def hear(events: list[Any]) -> None:
    """Webhooks come, and are applied."""
    for event in events:
        webhooks.receive(event["payload"].encode(), event["signature"])
    webhooks.apply_waiting()
    fulfilment.fulfil_paid()


def swept() -> None:
    make_due()
    tasks.sweep_cards()
