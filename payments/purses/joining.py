"""Joining: a guest's purse becomes part of an account's, once, with its balance, charges, cards and purchases."""

from django.db import transaction

from payments.books import accounts, ledger
from payments.books.accounts import Kind
from payments.books.ledger import Move
from payments.models import Card, Charge, Debit, Purse, Setup

from . import move


def join(guest: Purse, owner: Purse) -> None:
    """Move a guest's balance, charges, cards and purchases to an account's purse. Idempotent."""
    if Purse.objects.filter(id=guest.id).exclude(joined_to=None).exists():
        return  # Joining is final. Locking for nothing could deadlock with a writer that holds the guest's purse.
    with transaction.atomic(durable=True):
        first, second = sorted((guest.id, owner.id))
        locked = {p.id: p for p in Purse.objects.filter(id__in=(first, second)).select_for_update().order_by("id")}
        guest, owner = locked[guest.id], locked[owner.id]
        if guest.joined_to_id or owner.joined_to_id or guest.id == owner.id:
            return
        if amount := guest.balance_micros:
            source, target = (guest, owner) if amount > 0 else (owner, guest)
            line = Move(accounts.balance(source.id), accounts.balance(target.id), abs(amount))
            ledger.post(Kind.JOINED, Kind.JOINED.key(guest.id), [line], asset=accounts.USD)
            move(guest.id, -amount)
            move(owner.id, amount)
        # The joined purse takes the more severe flag of the two.
        worst = max((guest.flag, owner.flag), key=[flag.value for flag in Purse.Flag].index)
        Purse.objects.filter(id=guest.id).update(joined_to=owner, tab_limit_micros=0, owing_since=None, card=None)
        Purse.objects.filter(id=owner.id).update(flag=worst, customer=owner.customer or guest.customer)
        # While both tabs are being charged, the guest's charge keeps its purse; its money goes to the account's.
        tabs = Charge.objects.filter(purpose=Charge.Purpose.TAB, state__in=Charge.LIVE)
        both = tabs.filter(purse=guest) if tabs.filter(purse=owner).exists() else tabs.none()
        Charge.objects.filter(purse=guest).exclude(id__in=list(both.values_list("id", flat=True))).update(purse=owner)
        for model in (Card, Setup, Debit):
            model.objects.filter(purse=guest).update(purse=owner)
