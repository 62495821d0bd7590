"""Writing and pricing articles. The author loses no text to an error or to a colleague's concurrent save."""

import json
import uuid
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from payments import http
from payments.money import format_usd
from publishers import pricing, sales
from publishers.articles import catalogue, manuscript, writing
from publishers.forms import ArticleForm, TextForm
from publishers.models import AGENTS, PEOPLE, Article, Publication, Version

from .access import article_of, member

PAGE = 50
VIEWERS = {"buyer": "Reader before paying", "owner": "Reader after paying", "agent": "Agent"}


@require_GET
@member
def article_list(request: HttpRequest, publication: Publication) -> HttpResponse:
    """The publication's articles, searched by title and filtered by state."""
    wanted = request.GET.get("q", "").replace("\x00", "").strip()[:200]
    state = request.GET.get("state", "")
    found = Article.objects.filter(publication=publication).for_lists().order_by("-made_at", "id")
    if state in dict(Article.STATES):
        found = found.filter(state=state)
    for word in wanted.split()[:8]:
        found = found.filter(current_version__title__icontains=word)
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    sold = sales.per_article(publication, page.object_list)
    context = {
        "publication": publication,
        "page": page,
        "rows": [(article, sold.get(article.resource, 0)) for article in page.object_list],
        "q": wanted,
        "state": state,
        "states": Article.STATES,
        "narrowed": bool(wanted or state),
    }
    return render(request, "studio/articles.html", context)


@require_http_methods(["GET", "POST"])
@member
def new_article(request: HttpRequest, publication: Publication) -> HttpResponse:
    """Write an article. It is a draft until it is published, with “Save and publish” or later."""
    form = ArticleForm(request.POST or None, new=True, initial={"people_price": "0.25", "agent_price": "0.05"})
    if form.is_valid():
        try:
            article = writing.create_article(
                publication,
                form.cleaned_data["draft"],
                form.prices,
                by=request.user,
                slug=form.cleaned_data["slug"],
            )
        except writing.SlugTaken as taken:
            form.add_error("slug", str(taken))
        else:
            return _saved(request, article)
    return _editor(request, publication, form)


@require_http_methods(["GET", "POST"])
@member
def edit_article(request: HttpRequest, publication: Publication, article_id: uuid.UUID) -> HttpResponse:
    """Change text or prices. A changed text becomes a new version, and a changed price a new price version."""
    article = article_of(publication, article_id)
    prices = pricing.open_prices(article)
    form = ArticleForm(
        request.POST or None,
        fixed_address=article.published_at is not None,
        initial=_before_the_author(request, article, prices),
    )
    if not form.is_valid():
        return _editor(request, publication, form, article)
    try:
        with transaction.atomic():
            if form.cleaned_data.get("slug"):
                writing.move(article, form.cleaned_data["slug"])
            writing.revise(article, form.cleaned_data["draft"], form.prices, by=request.user, opened=form.opened)
    except writing.SlugTaken as taken:
        form.add_error("slug", str(taken))
    except (writing.ChangedMeanwhile, pricing.PriceChangedMeanwhile) as late:
        article = article_of(publication, article_id)
        return _second(request, publication, article, form, str(late))
    else:
        return _saved(request, article_of(publication, article_id))
    return _editor(request, publication, form, article)


@require_GET
@member
def article_page(request: HttpRequest, publication: Publication, article_id: uuid.UUID) -> HttpResponse:
    """One article: its state, URLs, current and past prices, versions, and number of sales."""
    article = article_of(publication, article_id)
    listing = _listing(article)
    context = {
        "publication": publication,
        "article": article,
        "listing": listing,
        "keeps": [pricing.keeps(price.amount_micros) for price in (listing.people, listing.agents)],
        "warnings": pricing.warnings(listing.people.amount_micros, listing.agents.amount_micros),
        "versions": article.versions.select_related("made_by").defer("body_html", "markdown", "teaser_html"),
        "prices": article.prices.select_related("made_by"),
        "sold": sales.per_article(publication, [article]).get(article.resource, 0),
        "viewers": VIEWERS,
    }
    return render(request, "studio/article.html", context)


@require_POST
@member
def publish(request: HttpRequest, publication: Publication, article_id: uuid.UUID) -> HttpResponse:
    """Publish the article."""
    article = article_of(publication, article_id)
    if writing.publish(article):
        messages.success(request, "Published. The article is for sale.")
    return redirect("studio_article", publication.slug, article.pk)


@require_POST
@member
def withdraw(request: HttpRequest, publication: Publication, article_id: uuid.UUID) -> HttpResponse:
    """Unpublish the article. Buyers can still read it."""
    article = article_of(publication, article_id)
    if writing.withdraw(article):
        messages.success(request, "Unpublished. Buyers can still read the article.")
    return redirect("studio_article", publication.slug, article.pk)


@require_GET
@member
def version(request: HttpRequest, publication: Publication, article_id: uuid.UUID, number: int) -> HttpResponse:
    """One version of the text."""
    article = article_of(publication, article_id)
    if number >= 2**31:
        raise Http404("No such version.")
    found = get_object_or_404(Version.objects.select_related("made_by"), article=article, number=number)
    return render(request, "studio/version.html", {"publication": publication, "article": article, "version": found})


@require_POST
@member
def preview_unsaved(request: HttpRequest, publication: Publication) -> HttpResponse:
    """Preview the editor's text as readers will see it. Saves nothing."""
    form = TextForm(request.POST)
    ready = form.is_valid()
    context = {"publication": publication, "form": form, "draft": form.cleaned_data.get("draft") if ready else None}
    return render(request, "studio/preview_unsaved.html", context, status=200 if ready else 400)


@require_GET
@member
def preview_as(request: HttpRequest, publication: Publication, article_id: uuid.UUID, who: str) -> HttpResponse:
    """Preview the article as a reader or an agent gets it, published or not."""
    if who not in VIEWERS:
        raise Http404("No such viewer.")
    article = article_of(publication, article_id)
    listing = _listing(article)
    offer = listing.offer(AGENTS if who == "agent" else PEOPLE, mime_type="text/markdown")
    context = {
        "publication": publication,
        "article": article,
        "listing": listing,
        "who": who,
        "viewers": VIEWERS,
        "offer": offer,
        "terms": json.dumps(http.terms(offer).message, indent=2) if who == "agent" else "",
        "body": catalogue.body(article.pk) if who != "buyer" else None,
    }
    return render(request, "studio/preview_as.html", context)


def _listing(article: Article) -> catalogue.Listing:
    try:
        return catalogue.listing(article.pk)
    except Article.DoesNotExist as incomplete:
        raise Http404("This article has no text or no price.") from incomplete


def _before_the_author(request: HttpRequest, article: Article, prices: dict[str, Any]) -> dict[str, Any]:
    """The editor's initial values: the current text, or an older version to restore."""
    text = article.current_version
    again = request.GET.get("from", "")
    if again.isascii() and again.isdigit() and len(again) < 10:
        text = article.versions.filter(number=int(again)).first() or text
    return {
        "title": text.title,
        "summary": text.summary,
        "markdown": text.markdown,
        "slug": article.slug,
        "people_price": format_usd(prices[PEOPLE].amount_micros),
        "agent_price": format_usd(prices[AGENTS].amount_micros),
        "base": article.current_version.number,
        "people_was": prices[PEOPLE].pk,
        "agent_was": prices[AGENTS].pk,
    }


def _saved(request: HttpRequest, article: Article) -> HttpResponse:
    said = "Saved."
    if request.POST.get("then") == "publish" and writing.publish(article):
        said = "Saved and published."
    messages.success(request, said)
    return redirect("studio_article", article.publication.slug, article.pk)


def _second(
    request: HttpRequest, publication: Publication, article: Article, form: ArticleForm, said: str
) -> HttpResponse:
    """Handle a concurrent save. The author's text stays in the editor; saving again replaces the newer version."""
    prices = pricing.open_prices(article)
    form.data = form.data.copy()
    form.data.update(
        {"base": article.current_version.number, "people_was": prices[PEOPLE].pk, "agent_was": prices[AGENTS].pk}
    )
    form.add_error(None, f"{said} Your text is still here, but not saved. Compare, then save again to replace it.")
    return _editor(request, publication, form, article, conflict=True)


def _editor(
    request: HttpRequest,
    publication: Publication,
    form: ArticleForm,
    article: Article | None = None,
    conflict: bool = False,
) -> HttpResponse:
    """The editor with the submitted values, a price warning, and the publisher's share."""
    micros = []
    for field in ("people_price", "agent_price"):
        try:
            micros.append(pricing.parse_price(str(form[field].value() or "")))
        except ValueError:
            micros.append(None)
    context = {
        "publication": publication,
        "article": article,
        "form": form,
        "conflict": conflict,
        "keeps": [pricing.keeps(amount) if amount else None for amount in micros],
        "over_limit": (micros[1] or 0) > pricing.STOCK_CLIENT_LIMIT_MICROS,
        "fee": pricing.fee_percent(),
        "fee_basis_points": pricing.settings.PLATFORM_FEE_BASIS_POINTS,
        "limit_micros": pricing.STOCK_CLIENT_LIMIT_MICROS,
        "divider": manuscript.DIVIDER,
    }
    status = 409 if conflict else 400 if form.is_bound else 200
    return render(request, "studio/editor.html", context, status=status)
