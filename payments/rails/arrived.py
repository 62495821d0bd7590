"""Money that came before its proof was shown here: settled by somebody else, or forgotten with a restored backup.

The authorization is public by then, so its header shows nothing: a stranger can rebuild it from the chain, and other
services may be paid at the same address. It opens with the quote that was alive when the money moved, with the wallet's
own proof, or with a receipt of ours.
"""

import time
from typing import NoReturn

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef

from payments.models import Authorization, Payment, Transfer
from payments.offers import Offer, Price
from payments.onchain import logs, payers, record, rpc, view
from payments.places import Full, Places
from payments.quotes import Quote

from .exact_header import Credential
from .protocol import AlreadySettled, OnTheWay, RailRefused, Unknowable

USED = "The authorization was already used or canceled. It did not pay for this article."
_ASKING_MAX = 8
_LONG_AGO_SECONDS = 900
# So many transfers of one payer are looked through for one that pays for an article.
_WAITING_MAX = 200
_REMEMBERED_MAX = 10_000
_places = Places()
_known: dict[tuple[bytes, bytes], int] = {}


def waiting(payer: bytes, nonce: bytes) -> Transfer | None:
    """The transfer of an authorization that no payment has claimed."""
    return Transfer.objects.filter(sender=payer, nonce=nonce, payment=None, orphaned_at=None).first()


def check(credential: Credential, quote: Quote | None, found: Transfer | None) -> None:
    """Refuse a fresh proof that may not claim money that moved before. Raises AlreadySettled, RailRefused or OnTheWay.

    The block's time must lie in the life of the echoed quote: an older quote names an old price, and a younger one is a
    stranger's. Without `found` the chain is asked where the authorization was used.
    """
    if quote is None:
        raise AlreadySettled(charged=True if found else None)  # Version 1 has no quote.
    try:
        moved_at = _moved_at(credential, found)
    except (rpc.ChainUnreachable, rpc.CallReverted, Full) as error:
        raise OnTheWay from error
    if not quote.issued_at <= moved_at < quote.expires_at:
        raise AlreadySettled(charged=True)


def refuse_late(credential: Credential, quote: Quote | None, late: RailRefused) -> NoReturn:
    """Refuse a proof whose time is over, with `late` if the chain says that it was not used.

    Otherwise the watcher is behind. Raises AlreadySettled and RailRefused like `check`, and OnTheWay until the watcher
    has read the transfer.
    """
    if not payers.ask(credential.payer, credential.nonce, credential.value, credential.source, late=True).used:
        raise late
    try:
        check(credential, quote, None)
    except OnTheWay:
        # Used too long ago for its log to be found, and no transfer of it was read: it did not pay us.
        if credential.valid_before < time.time() - _LONG_AGO_SECONDS and not _watcher_is_behind():
            raise RailRefused("authorization_used", USED) from None
        raise
    raise OnTheWay


def nothing_is_missing() -> None:
    """Raises Unknowable while the watcher has yet to read what happened: money may be here that nobody has seen."""
    if _watcher_is_behind():
        raise Unknowable


def _watcher_is_behind() -> bool:
    try:
        return view.watcher_is_behind()
    except rpc.ChainUnreachable:
        return True


def _moved_at(credential: Credential, found: Transfer | None) -> int:
    """When the money moved, in Unix seconds. Remembered, and asked for by a few requests at a time."""
    key = (credential.payer, credential.nonce)
    if key not in _known:
        floor = view.scanned_to()  # Before the place, which gives the connection back.
        with _places.one(credential.source, _ASKING_MAX):
            number = found.block_number if found else _block_of_use(credential, floor)
            moved_at = rpc.block(number).time
        while len(_known) >= _REMEMBERED_MAX:
            _known.pop(next(iter(_known)), None)
        _known[key] = moved_at
    return _known[key]


def _block_of_use(credential: Credential, floor: int) -> int:
    newest = view.newest_of_two(floor).number
    first = newest - settings.CHAIN_LOG_RANGE + 1
    known, seen = logs.fate_of(credential.payer, credential.nonce, first, newest)
    if seen:
        return seen.block_number
    if known:
        raise RailRefused("authorization_used", USED)
    raise OnTheWay


def unclaimed(payer: bytes, offer: Offer, tx_hash: bytes | None) -> Transfer | None:
    """Money of a payer that no payment has claimed and that pays for an offer.

    With `tx_hash`, which a receipt of ours names, the amount may be a former price. Without it, it must be a price that
    is quoted now.
    """
    mine = Transfer.objects.filter(chain_id=settings.CHAIN_ID, token=rpc.token(), recipient=rpc.pay_to(), sender=payer)
    # What a payment of ours has claimed before is that payment's, whatever became of it.
    claimed = Authorization.objects.filter(payer=OuterRef("sender"), nonce=OuterRef("nonce"), token=OuterRef("token"))
    waits = mine.filter(~Exists(claimed), payment=None, orphaned_at=None)
    free = waits.exclude(nonce=None).exclude(received=None).order_by("id")
    rows = list((free.filter(tx_hash=tx_hash) if tx_hash else free)[:_WAITING_MAX])
    priced = [row for row in rows if _price(offer, row.value)]
    if priced:
        return priced[0]
    return rows[0] if tx_hash and len(rows) == 1 else None


def _price(offer: Offer, value: int) -> Price | None:
    return next((price for price in (offer.price, *offer.quotable) if price.amount_micros == value), None)


def claim(buyer: str, offer: Offer, found: Transfer) -> Payment | None:
    """Make the payment for money that waits, and complete it. None when another request was first: a retry decides."""
    if found.nonce is None:
        raise TypeError("a plain transfer belongs to nobody")
    price = _price(offer, found.value) or offer.price
    payment = Payment(
        rail="exact",
        buyer=buyer,
        resource=offer.resource,
        version=offer.version,
        payee=offer.payee,
        audience=price.audience,
        price_id=price.id,
        amount_micros=found.value,
    )
    now = int(time.time())
    try:
        with transaction.atomic(durable=True):
            payment.save(force_insert=True)
            # The signature was never seen. It is not needed: the money is here.
            Authorization.objects.create(
                payment=payment,
                chain_id=found.chain_id,
                token=found.token,
                payer=found.sender,
                nonce=found.nonce,
                recipient=found.recipient,
                valid_after=0,
                valid_before=now,
                signature=b"",
            )
    except IntegrityError:
        return None
    record.claim_received(found.sender, found.nonce)
    payment.refresh_from_db()
    return payment
