"""The purse API: what an agent's API key may still spend, and what it has bought. It buys nothing.

To buy an article, an agent requests it with the key: at the article's URL, or as JSON at /api/articles/<slug>.
"""

from typing import Any

from django.http import Http404
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from payments import cards, http
from payments.models import ApiKey, Debit
from payments.purses import api_keys

_SHOWN = 20


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer <key>` authenticates the key and signs in no person."""

    def authenticate(self, request: Request) -> tuple[None, ApiKey]:
        """Return the live key. Anything else raises AuthenticationFailed (401)."""
        key = api_keys.authenticate(http.bearer_token(request) or "")
        if key is None:
            no = api_keys.invalid()
            raise AuthenticationFailed({"error": no.word, "message": no.sentence})
        return None, key

    def authenticate_header(self, request: Request) -> str:
        """The `WWW-Authenticate` header. Without it REST framework would send 403 instead of 401."""
        return 'Bearer realm="pennypress", error="invalid_token"'


class WithKey(BasePermission):
    """Requires a live key."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """True for a key; KeyAuthentication has refused every other credential."""
        return isinstance(request.auth, ApiKey)


class PurseView(APIView):
    """GET /api/purse. Amounts are whole micros of a US dollar; a null limit means no limit."""

    authentication_classes = (KeyAuthentication,)
    permission_classes = (WithKey,)
    http_method_names = ("get", "head", "options")

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """404 while cards are off."""
        if not cards.enabled():
            raise Http404
        super().initial(request, *args, **kwargs)

    def finalize_response(self, *args: Any, **kwargs: Any) -> Response:
        """Forbid caching: every response is for this agent alone."""
        response = super().finalize_response(*args, **kwargs)
        response["Cache-Control"] = "private, no-store"
        return response

    def get(self, request: Request) -> Response:
        """The purse's balance, the key's limits with what remains of them, and its latest purchases."""
        key: ApiKey = request.auth
        api_keys.mark_used(key)
        purse = key.purse
        today, in_all = api_keys.remaining(key)
        return Response(
            {
                "currency": "USD",
                "decimals": 6,
                "balance": purse.balance_micros,
                "available": max(purse.balance_micros + purse.tab_limit_micros, 0) if not purse.flag else 0,
                "key": {
                    "name": key.name,
                    "id": f"pp_{key.public}",
                    "publications": key.payees or None,
                    "price_ceiling": key.ceiling_micros,
                    "approve_above": key.approve_above_micros,
                    "budget": key.budget_micros,
                    "budget_left": in_all,
                    "day_budget": key.day_budget_micros,
                    "day_budget_left": today,
                    "day": timezone.now().date().isoformat(),
                    "spent": key.spent_micros,
                    "expires_at": key.expires_at,
                },
                "purchases": _purchases(key),
            }
        )


def _purchases(key: ApiKey) -> list[dict[str, Any]]:
    rows = Debit.objects.filter(key=key).select_related("payment").order_by("-payment__decided_at")[:_SHOWN]
    return [
        {
            "resource": row.payment.resource,
            "title": row.title,
            "amount": row.payment.amount_micros,
            "at": row.payment.decided_at,
            "refunded": row.payment.state == "refunded",
        }
        for row in rows
    ]
