"""What the card processor says, as small facts of our own: errors by what they mean for the money, and records."""

from dataclasses import dataclass, field
from datetime import datetime


class NoAnswer(Exception):
    """Unknown: the call may or may not have worked. The same call under the same key is safe, and so is looking."""


class ServerTrouble(NoAnswer):
    """Unknown, and this key will repeat the same 5xx for a day: look first, then call under another key."""


class StripeRefused(Exception):
    """Certainly not done: the processor understood and said no."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Declined(Exception):
    """The bank said no, or wants to ask the cardholder (`authentication_required`). No money moved.

    `stripe_charge_id` names the processor's charge that failed, where one was made.
    """

    def __init__(self, code: str, advice: str, stripe_charge_id: str) -> None:
        super().__init__(code)
        self.code = code
        self.advice = advice
        self.stripe_charge_id = stripe_charge_id


class Forged(Exception):
    """A webhook that the processor did not sign, or that is older than five minutes."""


@dataclass(frozen=True, slots=True)
class Event:
    """A webhook: its id, its type, the object it is about, and its text, which is kept and never believed."""

    id: str
    type: str
    about: str
    body: str


@dataclass(frozen=True, slots=True)
class Intent:
    """A PaymentIntent as it is now. `charge_id` is ours, from its metadata; `stripe_charge_id` its successful charge.

    `error` is of its last attempt that failed, with the card `tried` and the charge `failed`, where one was made.
    """

    id: str
    status: str
    amount_cents: int
    charge_id: str = ""
    stripe_charge_id: str = ""
    error: str = ""
    tried: str = ""
    failed: str = ""
    advice: str = ""
    card: str = ""
    client_secret: str = ""
    # Of the charge's balance transaction, once there is one: its name, the fee, and when the money is let go of.
    transaction: str = ""
    fee_cents: int = 0
    available_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A hosted Checkout page: where it is, and what came of it."""

    id: str
    status: str
    url: str
    charge_id: str
    intent: str
    setup_intent: str
    email: str
    customer: str


@dataclass(frozen=True, slots=True)
class CardFacts:
    """A saved card: nothing that could be charged elsewhere. `customer`: whose it is there; empty: nobody's now."""

    stripe_card_id: str
    brand: str
    last4: str
    expires: str
    customer: str = ""


@dataclass(frozen=True, slots=True)
class RefundFacts:
    """A refund as it is now; `ours` is our own id from its metadata."""

    id: str
    status: str
    amount_cents: int
    intent: str
    ours: str


@dataclass(frozen=True, slots=True)
class Money:
    """One balance transaction: what moved on the account at the processor, signed, with the fee taken from it."""

    id: str
    type: str
    source: str
    amount_cents: int
    fee_cents: int
    available_at: datetime
    intent: str = ""
    stripe_charge_id: str = ""


@dataclass(frozen=True, slots=True)
class DisputeFacts:
    """A dispute as it is now, with each movement of money it has caused."""

    id: str
    status: str
    reason: str
    amount_cents: int
    intent: str
    moved: tuple[Money, ...] = field(default=())
