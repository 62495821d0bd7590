"""Between HTTP and the gate: headers in, a 402, 400, 409, 503 or a receipt out. Decides nothing.

A 402 speaks x402 in version 2 (the PAYMENT-REQUIRED header) and version 1 (the JSON body), both from one set of
quotes. What a single rail asks and answers is in that rail's words (payments/rails). docs/errors.md lists every word.
"""

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from payments.proofs import wallets
from payments.rails import RAILS
from payments.rails.protocol import Asked, encoded

from . import gate
from .offers import Offer, Presented

RETRY_AFTER_SECONDS = 2
NOTHING = Presented()
_PAYMENT_HEADERS = {name: f"HTTP_{name.replace('-', '_')}" for rail in RAILS for name in rail.headers}
_SHOWN = (*_PAYMENT_HEADERS.values(), "HTTP_PAYMENT_RECEIPT", "HTTP_SIGN_IN_WITH_X", "HTTP_AUTHORIZATION")
_TEXT_MAX = 200
_EXPOSED = "PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE, PAYMENT-RECEIPT, Retry-After, WWW-Authenticate"


# --- What a request shows -------------------------------------------------------------------------------


def presented(request: HttpRequest, grants: Collection[str] = (), purse_id: str = "") -> Presented:
    """What a request shows, or NOTHING. HEAD shows no payment and no key: it must never move money."""
    sent = request.META
    if not grants and not purse_id and not any(key in sent for key in _SHOWN):
        return NOTHING
    pays = request.method == "GET"
    return Presented(
        headers={name: sent[key] for name, key in _PAYMENT_HEADERS.items() if key in sent} if pays else {},
        receipt=sent.get("HTTP_PAYMENT_RECEIPT", ""),
        wallet_proof=sent.get("HTTP_SIGN_IN_WITH_X", ""),
        grants=frozenset(grants),
        bearer=bearer_token(request) if pays else None,
        purse=purse_id,
        address=client_address(request),
        user_agent=sent.get("HTTP_USER_AGENT", ""),
    )


def pressed(request: HttpRequest, purse_id: str, quote: str) -> Presented:
    """What a person shows who pressed "buy": the purse of their session, and the price that was on the page."""
    return Presented(
        purse=purse_id,
        spend=True,
        quote=quote[:_TEXT_MAX],
        address=client_address(request),
        user_agent=request.META.get("HTTP_USER_AGENT", ""),
    )


def bearer_token(request: HttpRequest) -> str | None:
    """The token of `Authorization: Bearer` (RFC 6750, section 2.1), bounded; None for any other scheme and for none."""
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "")[:_TEXT_MAX].partition(" ")
    return token.lstrip(" ") if scheme.lower() == "bearer" else None


def client_address(request: HttpRequest) -> str:
    """The address a request comes from, as a trusted proxy saw it if there is one; empty if that is no address."""
    said = request.META.get("REMOTE_ADDR", "")
    if getattr(settings, "ALLAUTH_TRUSTED_PROXY_COUNT", 0):
        said = request.META.get("HTTP_X_FORWARDED_FOR", said).rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(said))
    except ValueError:
        return ""


# --- The terms: what a 402 asks -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    """What a refusal says: a stable word for agents, a sentence for people, whether money moved (None: unknown).

    `approve_at` is where the owner of a balance can allow what was refused.
    """

    status: int
    word: str
    sentence: str = ""
    charged: bool | None = False
    approve_at: str = ""


# The ordinary answer: nothing was presented, so nothing was wrong with it.
UNPAID = Problem(402, "payment_required")


@dataclass(frozen=True, slots=True)
class Terms:
    """What every rail asks for an offer: one set of quotes for the header, the body and the page."""

    offer: Offer
    word: str
    asked: tuple[Asked, ...]

    @property
    def message(self) -> dict[str, Any]:
        """x402 version 2's PaymentRequired."""
        extensions = wallets.challenge(self.offer)
        for one in self.asked:
            extensions = extensions | one.extensions
        return {
            "x402Version": 2,
            "error": self.word,
            "resource": {"url": self.offer.url, "description": self.offer.title, "mimeType": self.offer.mime_type},
            "accepts": [one.accepts for one in self.asked if one.accepts],
            "extensions": extensions,
        }

    @property
    def headers(self) -> dict[str, str]:
        """PAYMENT-REQUIRED, and WWW-Authenticate where a rail challenges."""
        challenges = ", ".join(one.authenticate for one in self.asked if one.authenticate)
        challenge = {"WWW-Authenticate": challenges} if challenges else {}
        return {"PAYMENT-REQUIRED": encoded(self.message)} | challenge

    @property
    def quote(self) -> str:
        """The first quote among them, so that every way to pay that a page offers promises one price."""
        return next((one.quote for one in self.asked if one.quote), "")


def terms(offer: Offer, word: str = UNPAID.word) -> Terms:
    """The terms of an offer, with fresh quotes; `word` is why the request was refused."""
    return Terms(offer, word, tuple(gate.asked(offer, word)))


def terms_of_withdrawn(offer: Offer) -> Terms:
    """No prices: only the ways in which an owner shows that they own it."""
    return Terms(offer, "withdrawn", tuple(Asked(extensions=one.extensions) for one in gate.asked(offer)))


# --- Refusals -------------------------------------------------------------------------------------------


def problem(error: Exception) -> Problem:
    """What to say of an error of the gate."""
    if isinstance(error, gate.PaymentRequired):
        return Problem(402, error.word or "payment_required", error.sentence, error.charged, error.approve_at)
    if isinstance(error, gate.PaymentMalformed):
        return Problem(400, error.word, error.sentence, False)
    if isinstance(error, gate.AlreadyPaid):
        return Problem(409, error.word, error.sentence, True)
    if isinstance(error, gate.CannotSay):
        return Problem(503, error.word, error.sentence, False)
    if isinstance(error, gate.PaymentInFlight):
        return Problem(503, error.word, error.sentence, None)
    raise error


def required(told: Problem, asked: Terms) -> HttpResponse:
    """The 402 for machines: the terms of version 1 in the body, those of version 2 in the header."""
    accepts = [one.accepts_v1 for one in asked.asked if one.accepts_v1]
    response = _json({"x402Version": 1, "error": told.word, "accepts": accepts} | _said(told), 402)
    return with_terms(response, asked)


def with_terms(response: HttpResponse, asked: Terms) -> HttpResponse:
    """A 402, as JSON or as a page, with the terms in its headers."""
    for name, value in asked.headers.items():
        response[name] = value
    # The ordinary answer of this shop: Django need not put together a warning about it.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return sealed(response)


def refusal(told: Problem) -> HttpResponse:
    """The machine form of a refusal that is no 402."""
    ways = {"ways_back_in": ways_back_in()} if told.status == 409 else {}
    response = _json({"error": told.word} | _said(told) | ways, told.status)
    return sealed(later(response) if told.status == 503 else response)


def later(response: HttpResponse) -> HttpResponse:
    """Ask the client to come again in a moment."""
    response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _json(message: dict[str, Any], status: int) -> HttpResponse:
    return HttpResponse(orjson.dumps(message), content_type="application/json", status=status)


def _said(told: Problem) -> dict[str, Any]:
    if not told.sentence:
        return {}
    reassurance = " You were not charged." if told.charged is False else ""
    where = {"approve_at": told.approve_at} if told.approve_at else {}
    return {"message": told.sentence + reassurance, "charged": told.charged} | where


def ways_back_in() -> list[dict[str, str]]:
    """How an owner reads again without paying."""
    return [
        {"header": "PAYMENT-RECEIPT", "value": "the receipt that came with the article, in PAYMENT-RECEIPT"},
        {"header": "PAYMENT-SIGNATURE", "value": "the payment with the quote it accepted (x402 version 2)"},
        {"header": "SIGN-IN-WITH-X", "value": "a proof of the wallet, by the challenge in a 402 or 410 from here"},
    ]


# --- The paid answer ------------------------------------------------------------------------------------


def with_receipt(
    response: HttpResponse, admitted: gate.Admitted, offer: Offer, shown: Presented = NOTHING
) -> HttpResponse:
    """The paid answer: the receipt, and the settlement in the words that the request paid in."""
    settled: dict[str, Any] = {"success": True, "amount": str(admitted.payment.amount_micros)}
    settled |= admitted.settlement()
    if admitted.proven:
        response["PAYMENT-RECEIPT"] = receipt = admitted.receipt(offer)
        settled["extensions"] = {"offer-receipt": {"info": {"receipt": {"format": "jws", "signature": receipt}}}}
    for rail in RAILS:
        for name, value in rail.answer(shown.headers, settled).items():
            response[name] = value
    return sealed(response, private=True)


def sealed(response: HttpResponse, *, private: bool = False) -> HttpResponse:
    """No cache may keep it, formats are told apart, and scripts of other sites may read the payment headers."""
    response["Cache-Control"] = "private, no-store" if private else "no-store"
    response["Access-Control-Expose-Headers"] = _EXPOSED
    response["Access-Control-Allow-Origin"] = "*"
    response["Vary"] = "Accept"  # Later middleware adds Cookie where a session was looked at.
    return response
