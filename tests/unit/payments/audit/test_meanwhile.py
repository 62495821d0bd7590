"""The audit while things happen: it holds up nobody, and takes nothing for corruption that is only under way."""

import pytest
from django.conf import settings as configured
from django.db import connection

from payments import audit
from payments.books import ledger
from payments.models import Payment
from payments.onchain import watcher
from tests.unit.payments.counter import Counter, offer
from tests.unit.payments.planting import Books, found

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_audit_holds_up_nobody_who_writes(committed_books: Books):
    """On SQLite too, where a transaction of the usual kind takes the only writer's place."""
    other = connection.copy()
    checks = audit._snapshot()
    with checks:
        assert Payment.objects.count() == 3
        with other.cursor() as cursor:
            cursor.execute("UPDATE payments_payment SET reason = 'meanwhile' WHERE state = 'released'")
        other.close()
        assert not Payment.objects.filter(reason="meanwhile").exists()
    assert Payment.objects.filter(reason="meanwhile").exists()


def test_money_that_just_arrives_is_no_corruption_before_and_after_it_is_seen(counter: Counter):
    counter.chain.mint(configured.PAY_TO, 5)
    assert found() == (0, {})
    watcher.watch()
    assert found() == (0, {})
    assert ledger.balance(f"suspense:eip155:{configured.CHAIN_ID}") == 5


def test_what_our_address_held_before_we_began_is_none_of_our_business(chain, transactional_db):
    chain.mint(configured.PAY_TO, 77)
    Counter(chain, configured)
    chain.mint(configured.PAY_TO, 5)
    watcher.watch()
    assert found() == (0, {})
    assert ledger.balance(f"suspense:eip155:{configured.CHAIN_ID}") == 5


@pytest.mark.planted
def test_a_payment_that_can_no_longer_happen_and_is_still_open_is_found(counter: Counter):
    payment = counter.claim_without_money(offer())
    counter.mine(2, seconds_later=300)
    assert found() == (0, {})
    counter.mine(3, seconds_later=150)
    code, said = found()
    assert (code, list(said)) == (1, ["undecided_too_long"])
    assert str(payment.id) in said["undecided_too_long"]
