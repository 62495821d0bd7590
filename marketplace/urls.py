"""Every address of the site on one screen."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path, re_path

from . import catalogue_views, finance_views, health, views

# The back office has no door of its own: the site's counts attempts and asks for the second factor.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

urlpatterns = [
    # The shop
    path("", catalogue_views.home, name="home"),
    path("about", catalogue_views.about, name="about"),
    path("publications/<slug:slug>", catalogue_views.publication, name="publication"),
    # One article, three forms, one gate
    re_path(r"^articles/(?P<slug>[a-z0-9-]+)(?P<suffix>|\.md|\.json)$", views.article, name="article"),
    # What a reader has
    path("library", catalogue_views.reader_library, name="library"),
    path("welcome", catalogue_views.signed_in, name="signed_in"),
    path("receipts/<uuid:grant_id>", catalogue_views.receipt, name="receipt"),
    path(".well-known/did.json", views.did_document, name="did_document"),
    # Sellers, owner, machines
    path("studio/", include("publishers.urls")),
    path("finance/earnings", finance_views.earnings, name="earnings"),
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
