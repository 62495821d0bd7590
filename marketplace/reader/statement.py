"""A purse's activity in words, for the page and the CSV file. It only reads."""

import datetime
import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from payments.models import Charge, Grant, Purse
from payments.money import format_usd
from payments.purses import movements
from payments.purses.movements import Movement

CSV_COLUMNS = (
    *("at_utc", "what", "article", "agent", "currency", "amount_usd", "balance_usd", "amount_micros", "balance_micros"),
    "reference",
)
_WORDS = {
    "sale": "Purchase",
    "refund": "Refund",
    "joined": "Balance moved from this browser",
    "refund_reserved": "Refund to your card",
    "refund_released": "Refund to your card canceled",
    "card_refund": "Refund to your card",
    "card_refund_failed": "Refund to your card returned by your bank",
    "refund_fee": "Card fee of a refund",
    "forgiven": "Small debt written off",
    "dispute": "Disputed card payment",
    "dispute_lost": "Written off",
}
_PAID = {
    Charge.Purpose.TOPUP: "Top-up by card",
    Charge.Purpose.TAB: "Tab payment by card",
    Charge.Purpose.DIRECT: "Card payment for one article",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One movement. Amounts are in micros; `receipt` is the grant it paid for, unless that was revoked."""

    at: datetime.datetime
    what: str
    title: str
    agent: str
    amount_micros: int
    after_micros: int
    key: str
    receipt: uuid.UUID | None


def lines(purse: Purse, limit: int) -> list[Line]:
    """The newest movements, in a constant number of queries."""
    # A purchase has two postings.
    pages = map(_in_words, movements.pages(purse, 2 * limit))
    return list(itertools.islice(itertools.chain.from_iterable(pages), limit))


def csv_rows(purse: Purse) -> Iterator[tuple[object, ...]]:
    """Every movement as a row under CSV_COLUMNS: decimal dollars and whole micros."""
    for line in itertools.chain.from_iterable(map(_in_words, movements.pages(purse))):
        at = line.at.astimezone(datetime.UTC).isoformat(timespec="seconds")
        amounts = (format_usd(line.amount_micros), format_usd(line.after_micros), line.amount_micros, line.after_micros)
        yield (at, line.what, line.title, line.agent, "USD", *amounts, line.key)


def _in_words(moved: list[Movement]) -> list[Line]:
    paid = {move.key.removeprefix("card_paid:") for move in moved if move.kind == "card_paid"}
    purposes = dict(Charge.objects.filter(stripe_charge_id__in=paid).values_list("stripe_charge_id", "purpose"))
    payments = [move.payment_id for move in moved if move.payment_id]
    receipts = dict(Grant.objects.filter(payment_id__in=payments, revoked_at=None).values_list("payment_id", "id"))
    return [
        Line(
            move.at,
            _PAID.get(purposes.get(move.key.removeprefix("card_paid:")), "Card payment")
            if move.kind == "card_paid"
            else _WORDS.get(move.kind, move.kind.replace("_", " ").capitalize()),
            move.title,
            move.agent,
            move.amount_micros,
            move.after_micros,
            move.key,
            receipts.get(move.payment_id),
        )
        for move in moved
    ]
