"""The shop's decentralized identifier document (W3C DID Core): the public key that verifies a receipt."""

from django.http import HttpRequest, JsonResponse

from payments.proofs import receipts


def document(request: HttpRequest) -> JsonResponse:
    """GET /.well-known/did.json."""
    return JsonResponse(receipts.did_document())
