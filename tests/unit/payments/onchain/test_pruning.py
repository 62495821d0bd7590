"""Claims that reached nothing may be deleted, and no other row."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from payments import tasks
from payments.models import Authorization, Payment, PaymentState
from payments.onchain import watcher
from tests.unit.payments.counter import Counter, offer
from tests.wallet import decoded

pytestmark = pytest.mark.django_db(transaction=True)


def failed(counter: Counter, number: int = 1) -> Payment:
    payment = counter.claim_without_money(offer(number))
    counter.work()
    counter.mine(4, seconds_later=400)
    watcher.watch()
    payment.refresh_from_db()
    assert payment.state == PaymentState.FAILED
    return payment


def aged(payment: Payment) -> None:
    Payment.objects.filter(id=payment.id).update(decided_at=timezone.now() - timedelta(days=1, seconds=1))


def test_a_failed_claim_is_deleted_a_day_later(counter: Counter):
    payment = failed(counter)
    tasks.prune_claims()
    assert Payment.objects.count() == 1
    aged(payment)
    tasks.prune_claims()
    assert not Payment.objects.exists()
    assert not Authorization.objects.exists()


def test_what_is_undecided_paid_or_has_cost_gas_is_kept(counter: Counter):
    paid = counter.buy(counter.wallet(), offer(1))
    wasted = failed(counter, 2)
    Authorization.objects.filter(payment=wasted).update(wasted_at=timezone.now())
    released = counter.claim_without_money(offer(3))
    counter.work()
    for payment in (paid, wasted, released):
        aged(payment)
    tasks.prune_claims()
    assert Payment.objects.count() == 3


@pytest.mark.parametrize("where", [PaymentState.CLAIMED, PaymentState.SIGNED, PaymentState.RELEASED])
def test_the_database_keeps_every_claim_that_may_still_be_paid(counter: Counter, where: str):
    payment = failed(counter)
    Payment.objects.update(state=where)
    for table in ("payments_authorization", "payments_payment"):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {table}")
    Payment.objects.update(state=PaymentState.FAILED)
    # Nor the payment before its authorization.
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM payments_payment")
    assert Payment.objects.get() == payment


def test_the_database_keeps_a_failed_claim_whose_money_came(counter: Counter):
    """An authorization that a stranger settled is the reason why the transfer is not anybody's."""
    wallet = counter.wallet()
    header = counter.sign(wallet, offer())
    counter.claim_without_money(offer(), header)
    nonce = decoded(header)["payload"]["authorization"]["nonce"]
    counter.settle_as_observer(counter.sign(wallet, offer(), nonce=nonce, value=1))
    watcher.watch()
    Payment.objects.update(state=PaymentState.FAILED)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM payments_authorization")
    Payment.objects.update(state=PaymentState.CLAIMED)
    counter.work()
