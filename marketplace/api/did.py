"""The shop's DID document (W3C DID Core), with the public key that verifies receipts."""

from django.http import HttpRequest, JsonResponse

from payments.proofs import receipts


def document(request: HttpRequest) -> JsonResponse:
    """GET /.well-known/did.json."""
    return JsonResponse(receipts.did_document())
