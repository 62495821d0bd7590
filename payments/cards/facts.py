"""What is said to the card processor and what it answers, as small records, and its errors by what they mean."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

CURRENCY = "usd"
# In micros of a dollar.
CENT = 10_000


class NoAnswer(Exception):
    """Unknown: the call may or may not have worked. A retry under the same idempotency key is safe; so is a look-up."""


class NotAsked(NoAnswer):
    """No call was made: the job's time is up, or the processor has not answered it for a while. Ask later."""


class ServerTrouble(NoAnswer):
    """Unknown, and the same idempotency key repeats this 5xx for a day: look first, then retry under another key."""


class StripeRefused(Exception):
    """Certainly not done: the processor understood the call and refused it. No money moved.

    `parameter` is the parameter at fault, if the processor names one.
    """

    def __init__(self, code: str, message: str, parameter: str = "") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.parameter = parameter

    def is_gone(self, parameter: str = "") -> bool:
        """Whether an object is not there: deleted, or of another account or key. With `parameter` the one it names."""
        return self.code == "resource_missing" and parameter in ("", self.parameter)


class Declined(Exception):
    """The bank declined, or requires the cardholder to authenticate (`authentication_required`). No money moved.

    `stripe_charge_id` is the processor's id of the failed charge, if one was made.
    """

    def __init__(self, code: str, advice: str, stripe_charge_id: str) -> None:
        super().__init__(code)
        self.code = code
        self.advice = advice
        self.stripe_charge_id = stripe_charge_id


class Forged(Exception):
    """A webhook that the processor did not sign, that is older than five minutes, or that is too long."""


@dataclass(frozen=True, slots=True)
class Event:
    """A webhook: its id, its type, the object it is about, and its text, which is kept and never believed."""

    id: str
    type: str
    about: str
    body: str


@dataclass(frozen=True, slots=True)
class Intent:
    """A PaymentIntent as it is now. What its metadata says of our charge: `charge_id`, `purse_id`, `purpose`, `mac`.

    `stripe_charge_id` is its successful charge. `error` is of the last failed attempt, `tried` is the card of that
    attempt, and `failed` its charge, if it has one. `customer` is the processor's id.
    """

    id: str
    status: str
    # In the smallest unit of its currency, which is cents for ours.
    amount_cents: int
    charge_id: str = ""
    purse_id: str = ""
    purpose: str = ""
    mac: str = ""
    currency: str = CURRENCY
    made_at: datetime | None = None
    customer: str = ""
    stripe_charge_id: str = ""
    error: str = ""
    tried: str = ""
    failed: str = ""
    advice: str = ""
    card: str = ""
    client_secret: str = ""
    # From the charge's balance transaction, once it exists: its id, the fee, and when the processor releases the money.
    transaction: str = ""
    fee_cents: int = 0
    fee_currency: str = CURRENCY
    available_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A hosted Checkout page: its address and its outcome."""

    id: str
    status: str
    url: str
    intent: str
    setup_intent: str
    email: str


@dataclass(frozen=True, slots=True)
class CardFacts:
    """A saved card: nothing here could be charged elsewhere. `customer` is the processor's id; empty when detached."""

    stripe_card_id: str
    brand: str
    last4: str
    expires: str
    customer: str = ""


@dataclass(frozen=True, slots=True)
class RefundFacts:
    """A refund as it is now; `ours` is our own id from its metadata, empty for a refund made by hand."""

    id: str
    status: str
    amount_cents: int
    intent: str
    ours: str


@dataclass(frozen=True, slots=True)
class Money:
    """One balance transaction: a signed movement on our account at the processor, and the fee taken from it."""

    id: str
    type: str
    source: str
    amount_cents: int
    fee_cents: int
    intent: str = ""
    currency: str = CURRENCY


@dataclass(frozen=True, slots=True)
class DisputeFacts:
    """A dispute as it is now, with every balance transaction it has caused."""

    id: str
    status: str
    reason: str
    amount_cents: int
    intent: str
    moved: tuple[Money, ...] = field(default=())


# --- What we say to the processor ------------------------------------------------------------------------------


class Origin(NamedTuple):
    """What an intent says of our charge at the processor: its id, its purse, its purpose, and that this shop says so.

    By it a shop that is restored from an older backup knows the charge again.
    """

    charge_id: str
    purse_id: str
    purpose: str
    mac: str

    @property
    def metadata(self) -> dict[str, str]:
        """The names under which the processor keeps it."""
        return {"charge": self.charge_id, "purse": self.purse_id, "purpose": self.purpose, "mac": self.mac}


class WayBack(NamedTuple):
    """Where a hosted page leads: after success, and after the buyer gave up."""

    done_url: str
    cancel_url: str


class Sale(NamedTuple):
    """What a hosted page takes money for, in cents, and whether it also keeps the card."""

    title: str
    amount_cents: int
    keep_card: bool
