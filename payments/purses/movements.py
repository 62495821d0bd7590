"""The movements of a purse, read from the books' own postings. Writes nothing."""

import uuid
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from payments.books import accounts
from payments.models import Debit, Posting, Purse


@dataclass(frozen=True, slots=True)
class Movement:
    """One line of a purse's statement: what happened, by how much, and the balance after it, in micros."""

    at: object
    kind: str
    key: str
    amount_micros: int
    after_micros: int
    title: str = ""
    agent: str = ""
    payment_id: uuid.UUID | None = None


def movements(purse: Purse, limit: int = 100) -> list[Movement]:
    """The purse's statement from the books' own postings, the newest first, each with the balance after it."""
    lines = _lines(purse).select_related("transaction", "source").order_by("-id")[:limit]
    rows = list(lines)
    account, sums = accounts.balance(purse.id), dict[uuid.UUID, int]()
    for line in rows:
        sign = -1 if line.source.code == account else 1
        sums[line.transaction_id] = sums.get(line.transaction_id, 0) + sign * line.amount_micros
    entries = {line.transaction_id: line.transaction for line in rows}
    if len(rows) == limit and len(sums) > 1:
        sums.pop(rows[-1].transaction_id)  # The limit may have cut off some of its postings.
    debits = _debits([entries[pk].key for pk in sums])
    after = Purse.objects.values_list("balance_micros", flat=True).get(id=purse.id)
    found = []
    for pk, amount in sums.items():
        entry = entries[pk]
        debit = debits.get(_sale_of(entry.key))
        found.append(
            Movement(
                entry.made_at,
                # A refund of what a guest bought goes to the guest's balance, and on to the account's.
                accounts.Kind.REFUND if debit and entry.kind == accounts.Kind.JOINED else entry.kind,
                entry.key,
                amount,
                after,
                debit.title if debit else "",
                debit.key.name if debit and debit.key else "",
                debit.payment_id if debit else None,
            )
        )
        after -= amount
    return found


def _lines(purse: Purse) -> QuerySet[Posting]:
    code = accounts.balance(purse.id)
    return Posting.objects.filter(Q(source__code=code) | Q(target__code=code))


def _debits(keys: list[str]) -> dict[str, Debit]:
    """The debits of these keys' sales, by payment id."""
    sales = [sale for key in keys if (sale := _sale_of(key))]
    return {str(row.payment_id): row for row in Debit.objects.filter(payment_id__in=sales).select_related("key")}


def _sale_of(key: str) -> str:
    """The id of the payment whose sale a key is about: the sale, its reversal, or a refund on to a joined purse."""
    _, is_sale, payment_id = key.rpartition(accounts.Kind.SALE.key(""))
    return payment_id if is_sale else ""
