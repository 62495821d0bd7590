"""The purse: one balance per buyer, filled by cards, emptied by purchases, for a person and that person's agents.

Every change is a transaction in the books and a conditional update of the balance, in one commit. A purchase from a
purse moves no money outside, so it is decided the moment it is claimed. The publisher's share is pending until the hold
on the card money behind it ends (payments.cards.holds).
"""

import uuid
from collections.abc import Iterable
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Case, F, When
from django.db.models.functions import Now
from django.utils import timezone

from payments import events, notify
from payments.books import accounts, ledger
from payments.books.accounts import Kind
from payments.books.ledger import Entry, Move
from payments.models import ApiKey, Debit, Grant, Payment, PaymentState, Purse

# The name of the rail that pays from purses.
RAIL = "purse"
CARD_FLOOR_MICROS = 500_000
_BY_BUYER = "buyer"


class PurseRefused(Exception):
    """Nothing was taken from the purse. `word` is for agents, `sentence` for people.

    `approve_at` is the address where the owner can approve the purchase.
    """

    def __init__(self, word: str, sentence: str, *, approve_at: str = "") -> None:
        super().__init__(word)
        self.word = word
        self.sentence = sentence
        self.approve_at = approve_at


def get_or_create(owner: str, email: str = "") -> Purse:
    """The purse of an owner ("user:12"), created when there is none."""
    purse, made = Purse.objects.get_or_create(owner=owner, defaults={"email": email})
    if email and purse.email != email and not made:
        Purse.objects.filter(id=purse.id).update(email=email)
        purse.email = email
    return purse


def find(owner: str) -> Purse | None:
    """The owner's purse, or None. Creates nothing."""
    return Purse.objects.filter(owner=owner).first()


def buyers(purse: Purse) -> list[str]:
    """Every buyer name of this purse: its own and those of guests' purses that were joined to it."""
    return [purse.buyer, *(Purse.buyer_of(pk) for pk in purse.joined.values_list("id", flat=True))]


def locked(purse_id: uuid.UUID) -> Purse:
    """The purse, or the one it was joined to, locked until the caller's transaction ends.

    Every writer locks the purse before any row that belongs to it: a fixed lock order prevents deadlocks.
    """
    while True:
        # Joining is final, so this read is stale at most once.
        owner_id = Purse.objects.values_list("joined_to_id", flat=True).get(id=purse_id) or purse_id
        with transaction.atomic():
            both = Purse.objects.select_for_update().filter(id__in={purse_id, owner_id}).order_by("id")
            rows = {purse.id: purse for purse in both}
            if (rows[purse_id].joined_to_id or purse_id) == owner_id:
                return rows[owner_id]
            transaction.set_rollback(True)  # It was joined meanwhile: release the lock, and lock both in order.


# --- Filling and emptying: inside the caller's transaction ------------------------------------------------


def move(purse_id: uuid.UUID, micros: int, *, floor: bool = False) -> bool:
    """Add signed micros to a balance in the caller's database transaction; True when the row was changed.

    The caller posts the same amount to the books. With `floor` the purse must be in order, and may not go below what
    its tab allows.
    """
    rows = Purse.objects.filter(id=purse_id)
    if floor:
        rows = rows.filter(flag=Purse.Flag.NONE, joined_to=None)
        rows = rows.filter(balance_micros__gte=-micros - F("tab_limit_micros"))
    after = F("balance_micros") + micros
    owing = Case(
        When(balance_micros__gte=-micros, then=None),
        When(owing_since=None, then=Now()),
        default=F("owing_since"),
    )
    return rows.update(balance_micros=after, owing_since=owing) == 1


def paid_up(purse_id: uuid.UUID) -> None:
    """Lift the flag of an unpaid tab once less is owed than a card can be charged."""
    late = Purse.objects.filter(id=purse_id, flag=Purse.Flag.PAST_DUE, balance_micros__gt=-CARD_FLOOR_MICROS)
    late.update(flag=Purse.Flag.NONE)
    # With the tab closed and nothing owed, the buyer's consent to off-session charges ends.
    closed = Purse.objects.filter(id=purse_id, tab_limit_micros=0, balance_micros__gte=0)
    closed.exclude(tab_opened_at=None).update(tab_opened_at=None)


def sell(payment: Payment, debit: Debit) -> None:
    """Take a claimed payment's amount from the purse: posting, grant and balance in the caller's database transaction.

    Raises PurseRefused; the caller must then roll back.
    """
    purse = debit.purse
    if not move(purse.id, -payment.amount_micros, floor=True):
        raise _why_not(purse.id, payment.amount_micros)
    moves = accounts.sale_moves(accounts.balance(purse.id), accounts.pending(payment.payee), payment.amount_micros)
    sale = ledger.post(Kind.SALE, Kind.SALE.key(payment.id), moves, asset=accounts.USD)
    now = timezone.now()
    Payment.objects.filter(id=payment.id).update(state=PaymentState.CONFIRMED, sale=sale, decided_at=now)
    payment.state, payment.sale, payment.decided_at = PaymentState.CONFIRMED, sale, now
    debit.save(force_insert=True)
    Grant.objects.create(
        payment=payment, buyer=payment.buyer, resource=payment.resource, version=payment.version, made_at=now
    )
    events.note("sale", "sold", payment=payment.id, amount_micros=payment.amount_micros, rail=RAIL)


def _why_not(purse_id: uuid.UUID, amount_micros: int) -> PurseRefused:
    purse = Purse.objects.get(id=purse_id)
    if purse.flag == Purse.Flag.PAST_DUE:
        return PurseRefused("purse_past_due", "We could not charge your tab. Pay what you owe to keep buying.")
    if purse.flag:
        return PurseRefused("purse_frozen", "This balance is frozen because a card payment is disputed.")
    if purse.tab_limit_micros:
        return PurseRefused("tab_limit_reached", "The price is more than your balance and tab allow.")
    return PurseRefused("insufficient_balance", "Your balance is too low for this purchase.")


def refund(payment_id: uuid.UUID, purse: Purse) -> Payment:
    """Refund an article's price to the balance and revoke access: within REFUND_SECONDS, once per article and buyer.

    What a machine may have copied (bought by an agent, or read as Markdown or JSON) is not refunded, and no more than
    REFUNDS_PER_DAY articles. Raises PurseRefused, also when the payment is not this purse's. No money has moved then.
    """
    since = timezone.now() - timedelta(seconds=settings.REFUND_SECONDS)
    try:
        with transaction.atomic(durable=True):
            # The purse is locked before the payment's row: a dispute reverses purchases while holding the purse lock.
            Purse.objects.select_for_update().get(id=purse.id)
            row = Payment.objects.filter(id=payment_id, debit__purse=purse, decided_at__gt=since).first()
            if row and not read_by_people([row.id]):
                raise PurseRefused("refund_of_machines", "What your agents bought or read can't be refunded.")
            if row and refunds_left(purse) < 1:
                raise PurseRefused("too_many_refunds", "You refunded too many articles today. Try again tomorrow.")
            if row is None or not take_back(row, Kind.REFUND, _BY_BUYER):
                raise PurseRefused("refund_too_late", "This purchase can no longer be refunded.")
            paid_up(purse.id)
            notify.send()
            return row
    except IntegrityError as error:
        raise PurseRefused("refund_used", "Each article can be refunded only once.") from error


def read_by_people(payments: Iterable[uuid.UUID]) -> set[uuid.UUID]:
    """Those of these payments that no agent made and whose article no machine has read."""
    made = Debit.objects.filter(payment__in=payments, key=None)
    return set(made.exclude(payment__grants__machine_read_at__isnull=False).values_list("payment_id", flat=True))


def refunds_left(purse: Purse) -> int:
    """How many more articles the owner can refund now."""
    since = timezone.now() - timedelta(days=1)
    mine = Payment.objects.filter(debit__purse=purse, state=PaymentState.REFUNDED, reason=_BY_BUYER)
    return settings.REFUNDS_PER_DAY - mine.filter(decided_at__gt=since).count()


def read_by_machine(grant: Grant, payment: Payment) -> bool:
    """Record that an article that was bought from a purse is about to be read in a format for machines.

    False when the purchase was refunded meanwhile: the article must not be sent then.
    """
    if payment.rail != RAIL or grant.machine_read_at:
        return True
    live = Grant.objects.filter(id=grant.id, revoked_at=None)
    return bool(live.filter(machine_read_at=None).update(machine_read_at=timezone.now())) or live.exists()


def take_back(payment: Payment, kind: str, reason: str) -> bool:
    """Reverse a sale that is still on hold, in the caller's database transaction; False when it is no longer on hold.

    The price returns to the balance, the publisher's pending share and the platform's fee are reversed, and the grant
    is revoked.
    """
    mine = Payment.objects.filter(id=payment.id, rail=RAIL, state=PaymentState.CONFIRMED)
    sale = payment.sale
    if sale is None or not mine.update(state=PaymentState.REFUNDED, reason=reason, sale=None):
        return False
    debit = Debit.objects.select_related("key").get(payment=payment)
    Grant.objects.filter(payment=payment, revoked_at=None).update(revoked_at=timezone.now())
    # The reversal credits the purse that paid. If that guest's purse was joined meanwhile, the money moves on.
    entries = [ledger.reversal(kind, sale)]
    paid_from, now_with = accounts.balance(Purse.id_of(payment.buyer)), accounts.balance(debit.purse_id)
    if paid_from != now_with:
        onward = Move(paid_from, now_with, payment.amount_micros)
        entries.append(Entry(Kind.JOINED, Kind.JOINED.key(sale.key), (onward,), asset=accounts.USD))
    ledger.post_all(entries)
    move(debit.purse_id, payment.amount_micros)
    if debit.key_id:
        _give_back_budget(debit.key_id, payment)
    told = {"payment": payment.id, "amount_micros": payment.amount_micros}
    events.note("sale", "refunded", **told, rail=RAIL, reason=reason)
    return True


def _give_back_budget(key_id: uuid.UUID, payment: Payment) -> None:
    amount = payment.amount_micros
    key = ApiKey.objects.filter(id=key_id)
    key.update(spent_micros=F("spent_micros") - amount)
    if payment.decided_at:
        today = key.filter(day=payment.decided_at.date(), day_spent_micros__gte=amount)
        today.update(day_spent_micros=F("day_spent_micros") - amount)
