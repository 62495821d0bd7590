"""Twelve workers at one tab, one event or one charge: the card is charged once."""

import threading

import pytest
from django.db import connection

from payments import fulfilment, gate
from payments.cards import charges, checkout, tabs, webhooks
from payments.models import Charge, Purse
from tests import buyers
from tests.bank import paid_once
from tests.buyers import balance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def together(work, number: int = 12) -> list:
    """The same work by many threads at one moment, each on a connection of its own; what they returned or raised."""
    barrier, done = threading.Barrier(number), []

    def run() -> None:
        try:
            barrier.wait(20)
            done.append(work())
        except Exception as error:
            done.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def test_twelve_workers_settle_one_tab_once(bank):
    purse = bank.owing(600)
    together(lambda: tabs.charge_tab(purse.id))
    for _ in range(3):
        bank.later()
    assert Charge.objects.filter(purse=purse).count() == 1
    paid_once(bank, purse, 6_000_000)


def test_the_race_is_real(bank, monkeypatch):
    """Without the lock and the constraint each worker that has read the debt charges it."""
    purse = bank.owing(600)
    seen = [charges.begin(purse, "topup", 6_000_000) for _ in range(3)]
    assert len({charge.id for charge in seen}) == 3
    barrier = threading.Barrier(3)

    def unguarded() -> None:
        row = Purse.objects.get(id=purse.id)
        barrier.wait(10)
        made = charges.begin(row, "topup", -row.balance_micros)
        Charge.objects.filter(id=made.id).update(card=row.card)
        charges.drive(made)

    together(unguarded, 3)
    assert balance(purse) == 12_000_000  # Charged three times for one debt.


def test_concurrent_purchases_never_pass_the_limit(bank):
    purse = bank.tab(limit=1_000_000)
    numbers = iter(range(100, 200))
    lock = threading.Lock()

    def buy() -> str:
        with lock:
            number = next(numbers)
        try:
            buyers.press(purse, buyers.offer(number, 150_000))
        except gate.PaymentRequired as refused:
            return refused.word
        return "bought"

    said = together(buy)
    assert said.count("bought") == 6
    assert said.count("tab_limit_reached") == 6
    assert balance(purse) == -900_000


def test_the_same_event_in_twelve_threads_is_one_entry(bank):
    purse = buyers.purse()
    bank.pay(checkout.top_up(purse, 500, "/", buyers.offer()))
    events = bank.post()
    together(lambda: bank_brings(events))
    webhooks.apply_waiting()
    fulfilment.fulfil_paid()
    assert balance(purse) == 4_950_000
    paid_once(bank, purse, 5_000_000)


def bank_brings(events: list) -> None:
    for event in events:
        webhooks.receive(event["payload"].encode(), event["signature"])
    webhooks.apply_waiting()
    fulfilment.fulfil_paid()


def test_twelve_threads_drive_one_charge_once(bank):
    purse = bank.owing(600)
    charge = charges.begin(purse, "tab", 6_000_000)
    together(lambda: charges.drive(Charge.objects.get(id=charge.id)))  # Each has a row of its own in its hand.
    for _ in range(3):
        bank.later()
    paid_once(bank, purse, 6_000_000)
