"""What the books hold for a publication, and how much of it may be paid out."""

import pytest

from payments.books import reports
from payments.models import PaymentState
from payments.onchain import watcher
from tests.unit.payments.counter import Counter, offer

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_sale_on_the_chain_is_earned_when_it_is_final(counter: Counter):
    payment = counter.claim(counter.wallet(), offer())
    counter.turn()
    counter.mine()
    counter.turn()
    payment.refresh_from_db()
    assert payment.state == PaymentState.CONFIRMED
    held = reports.holdings(["publisher:7", "publisher:8"])
    assert held["publisher:7"] == reports.Holdings(0, 47_500, 0, 0)
    assert (held["publisher:7"].held_back_micros, held["publisher:7"].all_micros) == (47_500, 47_500)
    assert held["publisher:8"] == reports.Holdings(0, 0, 0, 0)
    counter.mine(3)
    watcher.watch()
    assert reports.holdings(["publisher:7"])["publisher:7"] == reports.Holdings(47_500, 0, 0, 0)
