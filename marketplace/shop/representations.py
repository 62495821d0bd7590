"""The representations of an article: HTML, Markdown and JSON. The requested one decides which price applies."""

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from payments import rails
from payments.models import Grant
from publishers.articles.catalogue import Body, Listing


@dataclass(frozen=True, slots=True)
class Representation:
    """One representation: its audience and its MIME type."""

    name: str
    audience: str
    mime_type: str


HTML = Representation("html", "people", "text/html")
MARKDOWN = Representation("md", "agents", "text/markdown")
JSON = Representation("json", "agents", "application/json")
_ACCEPT_MAX = 512
_BY_SUFFIX = {".md": MARKDOWN, ".json": JSON}


def wanted(request: HttpRequest, suffix: str) -> Representation:
    """Choose the representation by the URL's suffix or, without one, by the Accept header. Never by User-Agent.

    Clients that name HTML get HTML. A client that accepts anything is an agent and gets Markdown.
    """
    if suffix:
        return _BY_SUFFIX[suffix]
    accept = request.META.get("HTTP_ACCEPT", "*/*")
    if len(accept) > _ACCEPT_MAX:
        return MARKDOWN  # No browser sends this much, and parsing it would cost more than the response.
    if "html" not in accept and "json" not in accept:
        return MARKDOWN
    offered = ("text/html", "application/json", "text/markdown", "text/plain")
    preferred = request.get_preferred_type([kind for kind in offered if kind in accept] or ["text/markdown"])
    return {"text/html": HTML, "application/json": JSON}.get(preferred or "", MARKDOWN)


def written(
    request: HttpRequest, wanted: Representation, listing: Listing, body: Body, grant: Grant | None
) -> HttpResponse:
    """The paid article in one representation. `grant` is set if the reader already owns it."""
    if wanted is HTML:
        from_balance = grant is not None and rails.named(grant.payment.rail).from_balance
        context = {"listing": listing, "body": body, "grant": grant, "from_balance": from_balance}
        return render(request, "shop/article.html", context)
    if wanted is MARKDOWN:
        return HttpResponse(f"# {body.title}\n\n{body.markdown}\n", content_type="text/markdown; charset=utf-8")
    return JsonResponse(
        {
            "id": str(listing.article_id),
            "url": listing.url,
            "title": body.title,
            "publication": listing.publication_name,
            "version": body.version,
            "made_at": body.made_at.isoformat(),
            "words": body.words,
            "markdown": body.markdown,
            "html": body.html,
        }
    )
