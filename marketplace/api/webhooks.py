"""The card processor's webhooks: store each event and answer. payments.cards.webhooks processes them later."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from marketplace.reader.card_pages import with_cards
from payments.cards import webhooks


@csrf_exempt
@require_POST
@with_cards
def stripe(request: HttpRequest) -> HttpResponse:
    """Verify and store one event, and answer at once. A forged one gets 400."""
    if (
        int(request.META.get("CONTENT_LENGTH") or 0) > webhooks.MAX_BYTES
        or len(body := request.body) > webhooks.MAX_BYTES
    ):
        return HttpResponse(status=413)
    try:
        webhooks.receive(body, request.headers.get("Stripe-Signature", ""))
    except webhooks.Forged:
        return HttpResponse(status=400)
    return HttpResponse(status=200)
