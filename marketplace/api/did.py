"""The shop's DID document (W3C DID Core), with the public key that verifies receipts."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from payments.proofs import receipts


@require_safe
def document(request: HttpRequest) -> JsonResponse:
    """GET /.well-known/did.json. Scripts of any site may read it: whoever verifies a receipt needs it."""
    response = JsonResponse(receipts.did_document())
    response["Access-Control-Allow-Origin"] = "*"
    return response
