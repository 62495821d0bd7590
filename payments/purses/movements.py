"""The movements of a purse, read from the books' own postings. Writes nothing."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from payments.books import accounts
from payments.models import Account, Debit, Posting, Purse, Transaction


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


def pages(purse: Purse, size: int = 1000) -> Iterator[list[Movement]]:
    """The purse's statement from the books' own postings, newest first, each line with the balance after it.

    The purses of guests that were joined to it belong to it from their beginning, so joining them moves nothing. A page
    holds the movements of `size` postings and is read when it is asked for: a statement of any length needs the
    memory of one page, and no transaction stays open.
    """
    ids = [purse.id, *purse.joined.values_list("id", flat=True)]
    own = set(Account.objects.filter(code__in=map(accounts.balance, ids)).values_list("id", flat=True))
    lines = Posting.objects.filter(Q(source__in=own) | Q(target__in=own)).order_by("-id")
    after = sum(Purse.objects.filter(id__in=ids).values_list("balance_micros", flat=True))
    newer, page = dict[uuid.UUID, None](), lines
    while rows := list(page.values_list("id", "transaction_id")[:size]):
        # The postings of one transaction can be on both sides of the edge of a page.
        touched = dict.fromkeys(transaction_id for _, transaction_id in rows)
        found = _movements([pk for pk in touched if pk not in newer], lines, own, after)
        after -= sum(movement.amount_micros for movement in found)
        yield found
        newer, page = touched, lines.filter(id__lt=rows[-1][0])


def _movements(of: list[uuid.UUID], lines: QuerySet[Posting], own: set[int], after: int) -> list[Movement]:
    """The lines of these transactions, in their order. `lines` are the postings from and to the `own` accounts."""
    sums = dict.fromkeys(of, 0)
    moved = lines.filter(transaction__in=of).values_list("transaction_id", "source_id", "target_id", "amount_micros")
    for pk, source, target, amount in moved:
        sums[pk] += amount * ((target in own) - (source in own))
    entries = Transaction.objects.in_bulk(of)
    debits = _debits([entry.key for entry in entries.values()])
    found = []
    for pk, amount in sums.items():
        if not amount:
            continue  # Between two of these purses.
        entry = entries[pk]
        debit = debits.get(_sale_of(entry.key))
        found.append(
            Movement(
                entry.made_at,
                entry.kind,
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


def _debits(keys: list[str]) -> dict[str, Debit]:
    """The debits of these keys' sales, by payment id."""
    sales = [sale for key in keys if (sale := _sale_of(key))]
    return {str(row.payment_id): row for row in Debit.objects.filter(payment_id__in=sales).select_related("key")}


def _sale_of(key: str) -> str:
    """The id of the payment whose sale a key is about: the sale, its reversal, or a refund on to a joined purse."""
    _, is_sale, payment_id = key.rpartition(accounts.Kind.SALE.key(""))
    return payment_id if is_sale else ""
