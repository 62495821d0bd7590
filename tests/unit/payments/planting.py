"""Ways to break the books on purpose, past every guard, and to hear what the audit says of it."""

import io
from dataclasses import dataclass
from typing import Any

from django.core.management import call_command

from payments.books import ledger
from payments.books.ledger import Move
from payments.ids import uuid7
from payments.models import Account, Payment, PaymentState, Transaction, Transfer
from payments.onchain import watcher
from tests import databases

from .counter import Counter, offer


@dataclass
class Books:
    """Two sales, one arrival that nobody claimed, and one payment for which the wallet had too little."""

    counter: Counter
    sold: Payment
    other: Payment
    released: Payment
    arrival: Transfer

    def again(self) -> "Books":
        """The same, read anew: for a test of its own."""
        rows = (type(row).objects.get(pk=row.pk) for row in (self.sold, self.other, self.released, self.arrival))
        return Books(self.counter, *rows)

    def names(self) -> dict[str, Any]:
        sale = self.sold.sale
        lines = {p.target.code: p.id.hex for p in sale.postings.select_related("target")}
        return {
            "payment": self.sold.id.hex,
            "other": self.other.id.hex,
            "released": self.released.id.hex,
            "grant": self.sold.grants.get().id.hex,
            "transfer": self.sold.transfers.get().id,
            "arrival": self.arrival.id,
            "sale": sale.id.hex,
            "other_sale": self.other.sale_id.hex,
            "unclaimed": self.arrival.received_id.hex,
            "share": lines["publisher:7:earned"],
            "fee": lines["platform:fees"],
            "stranger": Account.objects.get_or_create(code="publisher:666:earned", asset="USDC")[0].id,
            "euro": Account.objects.get_or_create(code="publisher:7:earned", asset="EURC")[0].id,
            "new": uuid7().hex,
        }


def sell(counter: Counter) -> Books:
    """The books, by way of the product itself."""
    sold = counter.buy(counter.wallet(), offer(1))
    other = counter.buy(counter.wallet(), offer(2))
    released = counter.claim_without_money(offer(3))
    counter.chain.mint(counter.settings.PAY_TO, 1_234_567)
    counter.work()
    watcher.watch()
    released.refresh_from_db()
    assert released.state == PaymentState.RELEASED
    arrival = Transfer.objects.get(value=1_234_567)
    return Books(counter, sold, other, released, arrival)


def found() -> tuple[int, dict[str, str]]:
    """The exit code of `manage.py audit`, and what it said by word."""
    said = io.StringIO()
    try:
        call_command("audit", stdout=io.StringIO(), stderr=said)
        code = 0
    except SystemExit as stop:
        code = stop.code
    lines = [line.partition(": ") for line in said.getvalue().splitlines()]
    return code, {word: rest for word, _, rest in lines}


def past_the_guards(*statements: str) -> None:
    """Write as somebody who has got the better of triggers, foreign keys and roles."""
    databases.past_the_triggers(statements)


def with_digest(statement: str) -> None:
    """Change an entry and make its digest fit, as somebody would who has read the source."""
    past_the_guards(statement)
    for row in Transaction.objects.all():
        moves = row.postings.values_list("source__code", "target__code", "amount_micros", "source__asset")
        digest = ledger.digest(row.kind, moves[0][3], [move[:3] for move in moves])
        past_the_guards(f"UPDATE payments_transaction SET digest = '{digest}' WHERE id = '{row.id.hex}'")  # noqa: S608


def again(entry: Transaction) -> tuple[Move, ...]:
    """The moves of an entry, once more."""
    return tuple(Move(p.source.code, p.target.code, p.amount_micros) for p in entry.postings.all())
