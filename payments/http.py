"""Between HTTP and the gate: headers in, a 402, 400, 409, 503 or a receipt out. Decides nothing.

Wire forms: x402 version 2 (PAYMENT-REQUIRED, PAYMENT-SIGNATURE and PAYMENT-RESPONSE headers) and version 1 (terms in
the JSON body, X-PAYMENT and X-PAYMENT-RESPONSE), both from one quote. docs/errors.md lists every error word.
"""

import base64
import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from payments.proofs import wallets
from payments.rails import exact, purse

from . import gate
from .offers import Offer, Presented

RETRY_AFTER_SECONDS = 2
_PAYMENT_HEADERS = {"PAYMENT-SIGNATURE": "HTTP_PAYMENT_SIGNATURE", "X-PAYMENT": "HTTP_X_PAYMENT"}
_SHOWN = (*_PAYMENT_HEADERS.values(), "HTTP_PAYMENT_RECEIPT", "HTTP_SIGN_IN_WITH_X", "HTTP_AUTHORIZATION")
_AUTHORIZATION_MAX = 200
NOTHING = Presented()
_EXPOSED = "PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE, PAYMENT-RECEIPT, Retry-After, WWW-Authenticate"


@dataclass(frozen=True, slots=True)
class Problem:
    """What a refusal says: a stable word for agents, a sentence for people, whether money moved (None: unknown).

    `approve_at` is where a person can allow what was refused.
    """

    status: int
    word: str
    sentence: str
    charged: bool | None
    approve_at: str = ""


def presented(request: HttpRequest, grants: Collection[str] = (), purse_id: str = "") -> Presented:
    """What a request shows, or NOTHING. HEAD shows no payment and no key: it must never move money."""
    sent = request.META
    if not grants and not purse_id and not any(key in sent for key in _SHOWN):
        return NOTHING
    payments = _PAYMENT_HEADERS if request.method == "GET" else {}
    authorization = sent.get("HTTP_AUTHORIZATION", "")[:_AUTHORIZATION_MAX] if payments else ""
    return Presented(
        headers={name: sent[key] for name, key in payments.items() if key in sent},
        receipt=sent.get("HTTP_PAYMENT_RECEIPT", ""),
        wallet_proof=sent.get("HTTP_SIGN_IN_WITH_X", ""),
        grants=frozenset(grants),
        authorization=authorization if purse.is_bearer(authorization) else "",
        purse=purse_id,
        address=client_address(request),
        user_agent=sent.get("HTTP_USER_AGENT", ""),
    )


def pressed(request: HttpRequest, purse_id: str, quote: str) -> Presented:
    """What a person shows who pressed "buy": the purse of their session, and the price that was on the page."""
    return Presented(
        purse=purse_id,
        spend=True,
        quote=quote[:_AUTHORIZATION_MAX],
        address=client_address(request),
        user_agent=request.META.get("HTTP_USER_AGENT", ""),
    )


def client_address(request: HttpRequest) -> str:
    """Where a request comes from, as a trusted proxy saw it if there is one; empty if that is no address."""
    said = request.META.get("REMOTE_ADDR", "")
    if getattr(settings, "ALLAUTH_TRUSTED_PROXY_COUNT", 0):
        said = request.META.get("HTTP_X_FORWARDED_FOR", said).rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(said))
    except ValueError:
        return ""


def terms(offer: Offer, word: str = "") -> dict:
    """The PaymentRequired message of version 2, with a fresh quote."""
    return {
        "x402Version": 2,
        "error": word or "payment_required",
        "resource": {"url": offer.url, "description": offer.title, "mimeType": offer.mime_type},
        "accepts": gate.requirements(offer),
        "extensions": wallets.challenge(offer) | purse.advertisement(offer),
    }


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


def refusal(told: Problem, offer: Offer, message: dict | None = None) -> HttpResponse:
    """The machine form of a refusal. A 402 carries the terms of both versions and says why, if anything was tried."""
    if told.status == 402:
        message = message or terms(offer, told.word)
        first = {
            "x402Version": 1,
            "error": told.word,
            "accepts": [exact.quote_v1(asked, offer) for asked in message["accepts"] if asked["scheme"] == exact.name],
        }
        response = _json(first | _said(told), 402)
        response["PAYMENT-REQUIRED"] = encoded(message)
        if purse.EXTENSION in message["extensions"]:
            wrong = ', error="invalid_token"' if told.word == "invalid_key" else ""
            response["WWW-Authenticate"] = f'Bearer realm="pennypress"{wrong}'
        # The ordinary answer of this shop: Django need not put together a warning about it.
        response._has_been_logged = True  # type: ignore[attr-defined]
    else:
        ways = {"ways_back_in": ways_back_in()} if told.status == 409 else {}
        response = _json({"error": told.word} | _said(told) | ways, told.status)
        if told.status == 503:
            response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return sealed(response)


def _json(message: dict, status: int) -> HttpResponse:
    return HttpResponse(orjson.dumps(message), content_type="application/json", status=status)


def _said(told: Problem) -> dict[str, Any]:
    if not told.sentence:
        return {}
    reassurance = " You have not been charged." if told.charged is False else ""
    where = {"approve_at": told.approve_at} if told.approve_at else {}
    return {"message": told.sentence + reassurance, "charged": told.charged} | where


def ways_back_in() -> list[dict[str, str]]:
    """How an owner reads again without paying."""
    return [
        {"header": "PAYMENT-RECEIPT", "value": "the receipt that came with the article, in PAYMENT-RECEIPT"},
        {"header": "PAYMENT-SIGNATURE", "value": "the payment with the quote it accepted (x402 version 2)"},
        {"header": "SIGN-IN-WITH-X", "value": "a proof of the wallet, by the challenge in a 402 or 410 from here"},
    ]


def with_receipt(response: HttpResponse, admitted: gate.Admitted, offer: Offer, request: HttpRequest) -> HttpResponse:
    """The paid answer: the receipt, and the settlement in the version that the client speaks."""
    settled: dict[str, Any] = {"success": True, "amount": str(admitted.payment.amount_micros)}
    settled |= admitted.settlement()
    if admitted.proven:
        response["PAYMENT-RECEIPT"] = receipt = admitted.receipt(offer)
        settled["extensions"] = {"offer-receipt": {"info": {"receipt": {"format": "jws", "signature": receipt}}}}
    if "PAYMENT-SIGNATURE" in request.headers:
        response["PAYMENT-RESPONSE"] = encoded(settled)
    elif "X-PAYMENT" in request.headers and admitted.payment.rail == exact.name:
        v1 = exact.V1_NETWORKS.get(int(settled["network"].split(":")[1]), settled["network"])
        response["X-PAYMENT-RESPONSE"] = encoded({**settled, "network": v1})
    return sealed(response, private=True)


def sealed(response: HttpResponse, *, private: bool = False) -> HttpResponse:
    """No cache may keep it, formats are told apart, and scripts of other sites may read the payment headers."""
    response["Cache-Control"] = "private, no-store" if private else "no-store"
    response["Access-Control-Expose-Headers"] = _EXPOSED
    response["Access-Control-Allow-Origin"] = "*"
    response["Vary"] = "Accept"  # Later middleware adds Cookie where a session was looked at.
    return response


def encoded(message: dict) -> str:
    """A header value: base64 of compact JSON."""
    return base64.b64encode(orjson.dumps(message)).decode()
