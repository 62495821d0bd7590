"""How long an audit takes when there is much to audit."""

import time

import pytest
from django.db import connection

from payments import audit
from payments.models import Payment, PaymentState, Posting
from tests.unit.payments.planting import past_the_guards

from . import volume

SALES = 100_000
SECONDS = 30


@pytest.mark.slow
@pytest.mark.planted  # Audited here, and without a chain that has these transfers.
@pytest.mark.django_db(transaction=True)
def test_a_hundred_thousand_sales_are_audited_in_seconds(record_property, capsys):
    """The limit is for a machine that does much else meanwhile; the number is printed."""
    volume.sell(SALES)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    began = time.perf_counter()
    assert list(audit.findings()) == []
    took = time.perf_counter() - began
    record_property("seconds", took)
    with capsys.disabled():
        print(f"\n{SALES} sales audited in {took:.1f} s on {connection.vendor}")
    assert Payment.objects.filter(state=PaymentState.FINAL).count() == SALES
    assert took < SECONDS
    # And among so many, one micro that is missing is found.
    line = Posting.objects.all()[SALES]
    past_the_guards(f"UPDATE payments_posting SET amount_micros = amount_micros - 1 WHERE id = '{line.id.hex}'")
    assert {finding.word: finding.ids for finding in audit.findings()} == {
        "entry_broken": (str(line.transaction_id),),
        "sale_differs": (str(Payment.objects.get(sale=line.transaction_id).id),),
        "transfer_differs": (str(line.transaction.transfer.id),),
    }
