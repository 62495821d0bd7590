"""The representations of an article: HTML, Markdown and JSON. The one asked for decides which price applies."""

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from payments import rails
from payments.models import Grant
from publishers.articles.catalogue import Body, Listing


@dataclass(frozen=True, slots=True)
class Representation:
    """A representation: whom it is for and what it is called on the wire."""

    name: str
    audience: str
    mime_type: str


HTML = Representation("html", "people", "text/html")
MARKDOWN = Representation("md", "agents", "text/markdown")
JSON = Representation("json", "agents", "application/json")
_ACCEPT_MAX = 512
_BY_SUFFIX = {".md": MARKDOWN, ".json": JSON}


def wanted(request: HttpRequest, suffix: str) -> Representation:
    """The form that an address or, without a suffix, the Accept header asks for. Never decided by User-Agent.

    HTML goes to those who name it; a client that takes anything is an agent and gets Markdown.
    """
    if suffix:
        return _BY_SUFFIX[suffix]
    accept = request.META.get("HTTP_ACCEPT", "*/*")
    if len(accept) > _ACCEPT_MAX:
        return MARKDOWN  # Nobody's browser: parsing it would cost more than the answer.
    if "html" not in accept and "json" not in accept:
        return MARKDOWN
    offered = ("text/html", "application/json", "text/markdown", "text/plain")
    preferred = request.get_preferred_type([kind for kind in offered if kind in accept] or ["text/markdown"])
    return {"text/html": HTML, "application/json": JSON}.get(preferred or "", MARKDOWN)


def written(
    request: HttpRequest, wanted: Representation, listing: Listing, body: Body, grant: Grant | None
) -> HttpResponse:
    """The paid article in one representation. `grant` is the reader's, when they own it already."""
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
