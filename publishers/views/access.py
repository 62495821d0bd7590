"""Access control. To a non-member, a publication's page looks like one that does not exist."""

import functools
from collections.abc import Callable
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.cache import cache_control

from publishers.models import Article, Membership, Publication

private = cache_control(private=True, no_store=True)


def member(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Pass the publication in the URL to the view. Signed-in non-members get 404."""

    @private
    @login_required
    @functools.wraps(view)
    def entered(request: HttpRequest, publication: str, **rest: Any) -> HttpResponse:
        membership = get_object_or_404(
            Membership.objects.select_related("publication"), publication__slug=publication, user=request.user
        )
        membership.publication.role = membership.role
        return view(request, membership.publication, **rest)

    return entered


def article_of(publication: Publication, article_id: Any) -> Article:
    """Return one of this publication's articles with its current version. Any other raises Http404."""
    articles = Article.objects.filter(publication=publication, current_version__isnull=False)
    return get_object_or_404(articles.select_related("publication", "current_version"), pk=article_id)


def owners_only(publication: Publication) -> None:
    """Raises Http404 for editors."""
    if publication.role != Membership.OWNER:
        raise Http404("Only owners change a publication.")
