"""The test cards: what each number does, and the tokens (pm_card_…) that stand for them."""

from dataclasses import dataclass

from .refusals import Refusal

GENERIC = "generic_decline"
# The message, the error code (a decline has card_declined) and what the issuer advises.
_DECLINES = {
    GENERIC: ("Your card was declined.", "card_declined", "try_again_later"),
    "insufficient_funds": ("Your card has insufficient funds.", "card_declined", "try_again_later"),
    "lost_card": ("Your card was declined.", "card_declined", "do_not_try_again"),
    "stolen_card": ("Your card was declined.", "card_declined", "do_not_try_again"),
    "expired_card": ("Your card has expired.", "expired_card", "do_not_try_again"),
    "incorrect_cvc": ("Your card's security code is incorrect.", "incorrect_cvc", "confirm_card_data"),
    "processing_error": (
        "An error occurred while processing your card. Try again in a little bit.",
        "processing_error",
        "try_again_later",
    ),
    "authentication_required": (
        "Your card was declined. This transaction requires authentication.",
        "authentication_required",
        None,
    ),
}


@dataclass(frozen=True)
class Card:
    """What a number does. `decline` answers a charge, `save` an attempt to keep it.

    `challenge`: "" never asks for 3D Secure, "always" asks whoever is there, "unless_set_up" spares a card that was set
    up, and "on_session" one that counts as set up from the start; the last two spare it only when the buyer is away.
    """

    number: str
    decline: str = ""
    save: str = ""
    challenge: str = ""
    dispute: str = ""
    fraud_warning: bool = False
    refund: str = ""
    bypass: bool = False
    brand: str = "visa"
    funding: str = "credit"


def _refused(number: str, decline: str) -> Card:
    return Card(number, decline=decline, save=decline)


_ALL = [
    Card("4242424242424242"),
    Card("4000056655665556", funding="debit"),
    Card("5555555555554444", brand="mastercard"),
    Card("378282246310005", brand="amex"),
    _refused("4000000000000002", GENERIC),
    _refused("4000000000009995", "insufficient_funds"),
    _refused("4000000000009987", "lost_card"),
    _refused("4000000000009979", "stolen_card"),
    _refused("4000000000000069", "expired_card"),
    _refused("4000000000000127", "incorrect_cvc"),
    _refused("4000000000000119", "processing_error"),
    Card("4000000000000341", decline=GENERIC),
    Card("4000002500003155", challenge="unless_set_up"),
    Card("4000003800000446", challenge="on_session"),
    Card("4000002760003184", challenge="always"),
    Card("4000008260003178", challenge="always", decline="insufficient_funds"),
    Card("4000000000000259", dispute="fraudulent"),
    Card("4000000000002685", dispute="product_not_received"),
    Card("4000000000001976", dispute="inquiry"),
    Card("4000000000005423", fraud_warning=True),
    Card("4000000000005126", refund="fails"),
    Card("4000000000007726", refund="pending"),
    Card("4000000000000077", bypass=True),
    Card("4000003720000278", bypass=True),
]
CARDS = {card.number: card for card in _ALL}
TOKENS = {
    "pm_card_visa": "4242424242424242",
    "pm_card_visa_debit": "4000056655665556",
    "pm_card_mastercard": "5555555555554444",
    "pm_card_amex": "378282246310005",
    "pm_card_chargeDeclined": "4000000000000002",
    "pm_card_visa_chargeDeclined": "4000000000000002",
    "pm_card_chargeDeclinedInsufficientFunds": "4000000000009995",
    "pm_card_visa_chargeDeclinedInsufficientFunds": "4000000000009995",
    "pm_card_visa_chargeDeclinedLostCard": "4000000000009987",
    "pm_card_visa_chargeDeclinedStolenCard": "4000000000009979",
    "pm_card_chargeDeclinedExpiredCard": "4000000000000069",
    "pm_card_chargeDeclinedIncorrectCvc": "4000000000000127",
    "pm_card_chargeDeclinedProcessingError": "4000000000000119",
    "pm_card_chargeCustomerFail": "4000000000000341",
    "pm_card_authenticationRequiredOnSetup": "4000002500003155",
    "pm_card_authenticationRequiredSetupForOffSession": "4000003800000446",
    "pm_card_authenticationRequired": "4000002760003184",
    "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds": "4000008260003178",
    "pm_card_createDispute": "4000000000000259",
    "pm_card_createDisputeProductNotReceived": "4000000000002685",
    "pm_card_createDisputeInquiry": "4000000000001976",
    "pm_card_createIssuerFraudRecord": "4000000000005423",
    "pm_card_refundFail": "4000000000005126",
    "pm_card_pendingRefund": "4000000000007726",
    "pm_card_bypassPending": "4000000000000077",
    "pm_card_bypassPendingInternational": "4000003720000278",
}


def find(number: str) -> Card:
    """The card of this number, spaces ignored. Raises a 402 for any that is no test card."""
    digits = "".join(number.split())
    if digits in CARDS:
        return CARDS[digits]
    if len(digits) < 12 or not digits.isdigit() or not _luhn(digits):
        raise Refusal(402, "Your card number is incorrect.", kind="card_error", code="incorrect_number", param="number")
    message = "Your card was declined. Your request was in test mode, but used a non test card."
    fields = {"code": "card_declined", "decline_code": "test_mode_live_card"}
    raise Refusal(402, message, kind="card_error", **fields)


def asks(card: Card, *, set_up: bool, off_session: bool) -> bool:
    """Whether the issuer wants the buyer to authenticate this payment."""
    if card.challenge in ("", "always"):
        return card.challenge == "always"
    spared = set_up or card.challenge == "on_session"
    return not (off_session and spared)


def decline_error(decline: str) -> dict[str, str | None]:
    """What an error says about this decline: message, code, decline_code, advice_code."""
    message, code, advice = _DECLINES[decline]
    found = {"message": message, "code": code, "decline_code": decline, "advice_code": advice}
    return {name: value for name, value in found.items() if value is not None}


def _luhn(digits: str) -> bool:
    doubled = [int(d) * 2 if n % 2 else int(d) for n, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0
