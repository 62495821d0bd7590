"""The translation between HTTP and the gate: headers in; a 402, 400, 409, 503 or a receipt out. Decides nothing.

A 402 carries x402 version 2 (the PAYMENT-REQUIRED header) and version 1 (the JSON body), both from one set of quotes.
Each rail writes its own requirements and responses (payments/rails). docs/errors.md lists every error word.
"""

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from payments.proofs import wallets
from payments.rails import RAILS
from payments.rails.protocol import Asked, encoded

from . import events, gate
from .offers import Offer, Presented

RETRY_AFTER_SECONDS = 2
NOTHING = Presented()
_PAYMENT_HEADERS = {name: f"HTTP_{name.replace('-', '_')}" for rail in RAILS for name in rail.headers}
_SHOWN = (*_PAYMENT_HEADERS.values(), "HTTP_PAYMENT_RECEIPT", "HTTP_SIGN_IN_WITH_X", "HTTP_AUTHORIZATION")
_TEXT_MAX = 200
# What scripts of other sites may send, if they do not say what they want to send. The official clients send
# Access-Control-Expose-Headers, a header of answers, along with a payment.
_ALLOWED = ", ".join(
    ("Accept", "Authorization", *_PAYMENT_HEADERS, "PAYMENT-RECEIPT", "SIGN-IN-WITH-X", "Access-Control-Expose-Headers")
)
_HEADER_NAMES = re.compile(r"[\w!#$%&'*+.^`|~-]{1,64}(?: ?, ?[\w!#$%&'*+.^`|~-]{1,64}){0,30}", re.ASCII)
_PREFLIGHT_SECONDS = 86_400
_EXPOSED = (
    "PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE, PAYMENT-RECEIPT, Retry-After, WWW-Authenticate, "
    "X-Request-Id"
)


# --- What a request shows -------------------------------------------------------------------------------


def presented(request: HttpRequest, grants: Collection[str] = (), purse_id: str = "") -> Presented:
    """What a request shows, or NOTHING. HEAD shows no payment and no key: it must never move money."""
    sent = request.META
    if not grants and not purse_id and not any(key in sent for key in _SHOWN):
        return NOTHING
    pays = request.method == "GET"
    return Presented(
        headers=_payment_headers(request) if pays else {},
        receipt=sent.get("HTTP_PAYMENT_RECEIPT", ""),
        wallet_proof=sent.get("HTTP_SIGN_IN_WITH_X", ""),
        grants=frozenset(grants),
        bearer=bearer_token(request) if pays else None,
        purse=purse_id,
        address=client_address(request),
        user_agent=sent.get("HTTP_USER_AGENT", ""),
    )


def _payment_headers(request: HttpRequest) -> dict[str, str]:
    return {name: request.META[key] for name, key in _PAYMENT_HEADERS.items() if key in request.META}


def pressed(request: HttpRequest, purse_id: str, quote: str) -> Presented:
    """The proof of a person who pressed "buy": the purse of their session, and the quote that the page showed."""
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
    """The client's IP address, as reported by the trusted proxy if one is configured; empty if it does not parse."""
    said = request.META.get("REMOTE_ADDR", "")
    if getattr(settings, "ALLAUTH_TRUSTED_PROXY_COUNT", 0):
        said = request.META.get("HTTP_X_FORWARDED_FOR", said).rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(said))
    except ValueError:
        return ""


def needs_quotable(shown: Presented) -> bool:
    """Whether the offer needs its quotable prices, because what was shown echoes no quote."""
    return any(rail.needs_quotable(shown) for rail in RAILS)


# --- The terms: what a 402 asks -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    """A refusal: a stable word for agents, a sentence for people, and whether money moved (None: unknown).

    `approve_at` is the page where the owner of a balance can approve the purchase.
    """

    status: int
    word: str
    sentence: str = ""
    charged: bool | None = False
    approve_at: str = ""


# The usual 402: the request presented no payment, so there is nothing to explain.
UNPAID = Problem(402, "payment_required")


@dataclass(frozen=True, slots=True)
class Terms:
    """The requirements of every rail for one offer. One set of quotes serves the header, the body and the page.

    `challenges`: the request tried a key, so the answer says how a key is shown (RFC 9110, section 11.6.1). Other
    clients may take such a challenge for one of their own.
    """

    offer: Offer
    word: str
    asked: tuple[Asked, ...]
    challenges: bool = False

    @property
    def message(self) -> dict[str, Any]:
        """The PaymentRequired message of x402 version 2."""
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
        """PAYMENT-REQUIRED, and WWW-Authenticate where a rail challenges and a key was tried."""
        challenges = ", ".join(one.authenticate for one in self.asked if one.authenticate and self.challenges)
        challenge = {"WWW-Authenticate": challenges} if challenges else {}
        return {"PAYMENT-REQUIRED": encoded(self.message)} | challenge

    @property
    def quote(self) -> str:
        """The first quote of the rails. A page uses it for every way to pay, so that all of them promise one price."""
        return next((one.quote for one in self.asked if one.quote), "")


def terms(offer: Offer, word: str = UNPAID.word, *, challenges: bool = False) -> Terms:
    """The terms of an offer, with fresh quotes; `word` is why the request was refused."""
    return Terms(offer, word, tuple(gate.asked(offer, word)), challenges)


def terms_of_withdrawn(offer: Offer) -> Terms:
    """The terms of a withdrawn article: no prices, only the ways in which a buyer can prove ownership."""
    return Terms(offer, "withdrawn", tuple(Asked(extensions=one.extensions) for one in gate.asked(offer)))


# --- Refusals -------------------------------------------------------------------------------------------


def problem(error: Exception) -> Problem:
    """The refusal that an error of the gate stands for. Any other error is raised again."""
    if isinstance(error, gate.PaymentRequired):
        return Problem(402, error.word or "payment_required", error.sentence, error.charged, error.approve_at)
    if isinstance(error, gate.PaymentMalformed):
        return Problem(400, error.word, error.sentence, False)
    if isinstance(error, gate.AlreadyPaid):
        return Problem(409, error.word, error.sentence, error.charged)
    if isinstance(error, gate.CannotSay):
        return Problem(503, error.word, error.sentence, False)
    if isinstance(error, gate.PaymentInFlight):
        return Problem(503, error.word, error.sentence, None)
    raise error


def required(told: Problem, asked: Terms) -> HttpResponse:
    """The 402 for agents: x402 version 1 in the body, version 2 in the header."""
    accepts = [one.accepts_v1 for one in asked.asked if one.accepts_v1]
    response = _json({"x402Version": 1, "error": told.word, "accepts": accepts} | _said(told), 402)
    return with_terms(response, asked)


def with_terms(response: HttpResponse, asked: Terms) -> HttpResponse:
    """Add the terms to the headers of a 402, which may be JSON or a page."""
    for name, value in asked.headers.items():
        response[name] = value
    # A 402 is normal here, so this skips the cost of Django's warning about a 4xx response.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return sealed(named(response, asked.word))


def refusal(told: Problem) -> HttpResponse:
    """The JSON response of a refusal that is not a 402."""
    more: dict[str, Any] = {"ways_back_in": ways_back_in()} if told.status == 409 else {}
    if told.status >= 500:
        more = {"request_id": events.request_id.get()}
    response = _json({"error": told.word} | _said(told) | more, told.status)
    return sealed(named(later(response) if told.status == 503 else response, told.word))


def named(response: HttpResponse, word: str) -> HttpResponse:
    """Note the word of a refusal for the metrics, which cannot find it in a page."""
    response.refusal = word  # type: ignore[attr-defined]
    return response


def later(response: HttpResponse) -> HttpResponse:
    """Tell the client to retry, with Retry-After."""
    response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    response._has_been_logged = True  # type: ignore[attr-defined]  # No defect: Django would log each 503 as an error.
    return response


def _json(message: dict[str, Any], status: int) -> HttpResponse:
    return HttpResponse(orjson.dumps(message), content_type="application/json", status=status)


def _said(told: Problem) -> dict[str, Any]:
    if not told.sentence:
        return {}
    reassurance = " You have not been charged." if told.charged is False else ""
    where = {"approve_at": told.approve_at} if told.approve_at else {}
    message = {"message": told.sentence + reassurance, "charged": told.charged}
    return message | where | {"documentation": documentation()}


def documentation() -> str:
    """The page that tells agents how to buy."""
    return f"{settings.BASE_URL}/about#agents"


def preflight(request: HttpRequest, methods: str) -> HttpResponse:
    """The answer to OPTIONS: scripts of other sites may send what they ask for (Fetch standard, CORS preflight)."""
    wanted = request.META.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
    response = HttpResponse(status=204)
    response["Allow"] = response["Access-Control-Allow-Methods"] = methods
    response["Access-Control-Allow-Headers"] = wanted if _HEADER_NAMES.fullmatch(wanted) else _ALLOWED
    response["Access-Control-Max-Age"] = str(_PREFLIGHT_SECONDS)
    return sealed(response)


def ways_back_in() -> list[dict[str, str]]:
    """The headers with which a buyer can read again without paying, for the body of a 409."""
    return [
        {"header": "PAYMENT-RECEIPT", "value": "the receipt that came with the article, in PAYMENT-RECEIPT"},
        {"header": "PAYMENT-SIGNATURE", "value": "the payment with the quote it accepted (x402 version 2)"},
        {"header": "SIGN-IN-WITH-X", "value": "a proof of the wallet, by the challenge in a 402 or 410 from here"},
    ]


# --- The paid answer ------------------------------------------------------------------------------------


def with_receipt(response: HttpResponse, admitted: gate.Admitted, offer: Offer, request: HttpRequest) -> HttpResponse:
    """Add the receipt (only for a proven buyer) and the settlement, in the protocol version that the request used."""
    settled: dict[str, Any] = {"success": True, "amount": str(admitted.payment.amount_micros)}
    settled |= admitted.settlement()
    if admitted.proven:
        response["PAYMENT-RECEIPT"] = receipt = admitted.receipt(offer)
        settled["extensions"] = {"offer-receipt": {"info": {"receipt": {"format": "jws", "signature": receipt}}}}
    shown = _payment_headers(request)
    for rail in RAILS:
        for name, value in rail.answer(shown, settled).items():
            response[name] = value
    return sealed(response, private=True)


def sealed(response: HttpResponse, *, private: bool = False) -> HttpResponse:
    """Forbid caching, vary by Accept, and let scripts of other origins read the payment headers (CORS)."""
    response["Cache-Control"] = "private, no-store" if private else "no-store"
    response["Access-Control-Expose-Headers"] = _EXPOSED
    response["Access-Control-Allow-Origin"] = "*"
    response["Vary"] = "Accept"  # Later middleware adds Cookie if the session was read.
    return response
