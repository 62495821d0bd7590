"""The catalogue pages: home, publication, and how it works. They sell nothing and show no paid text."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from marketplace.paging import SEARCH_MAX, page_of
from marketplace.reader import library
from payments.money import MICROS
from publishers import pricing
from publishers.articles.manuscript import one_line
from publishers.models import Article, Publication


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The catalogue, or search results from titles, summaries and free previews."""
    words = one_line(request.GET.get("q", ""))[:SEARCH_MAX]
    articles = Article.objects.on_sale()
    if words:
        articles = articles.search(words)
    context = {
        "words": words,
        "page": page_of(request, articles),
        "owned": library.owned(request),
        "publications": Publication.objects.filter(articles__state=Article.PUBLISHED).distinct()[:12],
    }
    return render(request, "shop/home.html", context)


@require_safe
def publication(request: HttpRequest, slug: str) -> HttpResponse:
    """Every article that one publication sells."""
    found = get_object_or_404(Publication, slug=slug)
    articles = Article.objects.on_sale().filter(publication=found)
    context = {"publication": found, "page": page_of(request, articles), "owned": library.owned(request)}
    return render(request, "shop/publication.html", context)


@require_safe
def about(request: HttpRequest) -> HttpResponse:
    """How it works, with a real article as the example, at a price that stock x402 clients pay by default."""
    article = Article.objects.on_sale().filter(agent_price_micros__lte=MICROS).first()
    context = {
        "example_url": f"{article.url}.md" if article else f"{settings.BASE_URL}/articles/an-article.md",
        "network": f"eip155:{settings.CHAIN_ID}",
        "network_name": settings.CHAIN_NAME,
        "expires_minutes": settings.QUOTE_SECONDS // 60,
        "client_limit_micros": pricing.STOCK_CLIENT_LIMIT_MICROS,
        "fee_percent": pricing.fee_percent(),
    }
    return render(request, "shop/about.html", context)
