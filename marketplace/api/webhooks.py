"""The card processor's webhooks: stored and answered. payments.cards.webhooks looks up what each one is about."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from marketplace.reader.card_pages import with_cards
from payments.cards import webhooks

BODY_MAX = 256 * 1024


@csrf_exempt
@require_POST
@with_cards
def stripe(request: HttpRequest) -> HttpResponse:
    """Store what the processor tells, and answer at once; work on it comes later."""
    if int(request.META.get("CONTENT_LENGTH") or 0) > BODY_MAX or len(body := request.body) > BODY_MAX:
        return HttpResponse(status=413)
    try:
        webhooks.receive(body, request.headers.get("Stripe-Signature", ""))
    except webhooks.Forged:
        return HttpResponse(status=400)
    return HttpResponse(status=200)
