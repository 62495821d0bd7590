"""The studio's home: a publication's earnings, sales, next steps and settings."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from payments import notify
from payments.books import reports
from publishers import sales
from publishers.articles import writing
from publishers.forms import PublicationForm
from publishers.models import Article, Publication

from .access import member, owners_only, private


@require_GET
@private
@login_required
def studio(request: HttpRequest) -> HttpResponse:
    """Redirect to a single publication, list several, or explain how to start."""
    publications = list(Publication.objects.filter(members=request.user))
    if len(publications) == 1:
        return redirect("studio_home", publications[0].slug)
    held = reports.holdings([publication.payee for publication in publications])
    rows = [(publication, held[publication.payee].all_micros) for publication in publications]
    return render(request, "studio/publications.html", {"rows": rows})


@require_http_methods(["GET", "POST"])
@private
@login_required
def new_publication(request: HttpRequest) -> HttpResponse:
    """Create a publication. Its creator becomes its owner."""
    form = PublicationForm(request.POST or None)
    if form.is_valid():
        publication = writing.create_publication(owner=request.user, **form.cleaned_data)
        messages.success(request, f"{publication.name} is ready. Write your first article.")
        return redirect("studio_home", publication.slug)
    return render(request, "studio/new_publication.html", {"form": form}, status=400 if form.is_bound else 200)


@require_GET
@member
def publication_home(request: HttpRequest, publication: Publication) -> HttpResponse:
    """Balance, sales and best sellers, or the steps to the first sale."""
    counts = sales.counts(publication)
    articles = Article.objects.filter(publication=publication)
    context = {
        "publication": publication,
        "holdings": reports.holdings([publication.payee])[publication.payee],
        "counts": counts,
        "last_sales": sales.lines(publication, sales.of(publication)[:5]),
        "best_sellers": sales.best_sellers(publication),
    }
    if not counts["all"]:
        context["has_article"] = articles.exists()
        context["has_on_sale"] = articles.filter(state=Article.PUBLISHED).exists()
        context["draft"] = articles.filter(state=Article.DRAFT).first()
        context["on_sale"] = articles.filter(state=Article.PUBLISHED).first()
    return render(request, "studio/home.html", context)


@require_http_methods(["GET", "POST"])
@member
def settings(request: HttpRequest, publication: Publication) -> HttpResponse:
    """Name, description and time zone, for owners."""
    owners_only(publication)
    form = PublicationForm(request.POST or None, instance=publication)
    if form.is_valid():
        form.save()
        notify.send()
        messages.success(request, "Saved.")
        return redirect("studio_settings", publication.slug)
    if form.is_bound:
        publication.refresh_from_db()
    context = {"publication": publication, "form": form, "memberships": publication.memberships.select_related("user")}
    return render(request, "studio/settings.html", context, status=400 if form.is_bound else 200)
