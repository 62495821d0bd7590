"""Every address of the site on one screen."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path, re_path

from marketplace.api import program_api
from marketplace.ops import health
from marketplace.reader import processor_views, program_views, purse_views
from marketplace.shop import buying_views, catalogue_views, views
from marketplace.staff import finance_views

# The back office has no door of its own: the site's counts attempts and asks for the second factor.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

urlpatterns = [
    # The shop
    path("", catalogue_views.home, name="home"),
    path("about", catalogue_views.about, name="about"),
    path("publications/<slug:slug>", catalogue_views.publication, name="publication"),
    # One article, three forms, one gate
    re_path(r"^articles/(?P<slug>[a-z0-9-]+)(?P<suffix>|\.md|\.json)$", views.article, name="article"),
    path("articles/<slug:slug>/buy", buying_views.buy, name="article_buy"),
    path("articles/<slug:slug>/pay", buying_views.pay, name="article_pay"),
    # What a reader has
    path("library", catalogue_views.reader_library, name="library"),
    path("welcome", catalogue_views.signed_in, name="signed_in"),
    path("receipts/<uuid:grant_id>", catalogue_views.receipt, name="receipt"),
    path(".well-known/did.json", views.did_document, name="did_document"),
    # A reader's purse
    path("purse", purse_views.overview, name="purse"),
    path("purse/movements.csv", purse_views.movements_csv, name="purse_movements"),
    path("purse/join", purse_views.join, name="purse_join"),
    path("purse/top-up", purse_views.top_up, name="purse_top_up"),
    path("purse/return/<uuid:charge_id>", buying_views.returned, name="purse_return"),
    path("purse/tab", purse_views.tab, name="purse_tab"),
    path("purse/cards", purse_views.add_card, name="purse_cards"),
    path("purse/cards/<int:card_id>", purse_views.card, name="purse_card"),
    path("purse/cards/return/<uuid:setup_id>", purse_views.card_returned, name="card_return"),
    path("purse/refund/<uuid:payment_id>", purse_views.give_back, name="purse_refund"),
    path("purse/withdraw", purse_views.withdraw, name="purse_withdraw"),
    path("purse/authenticate/<uuid:charge_id>", processor_views.authenticate, name="purse_authenticate"),
    # A reader's programs
    path("purse/programs", program_views.overview, name="programs"),
    path("purse/programs/<uuid:key_id>", program_views.program, name="program"),
    path("purse/programs/<uuid:key_id>/revoke", program_views.revoke, name="program_revoke"),
    path("purse/approvals", program_views.waiting, name="approvals"),
    path("purse/approvals/<uuid:approval_id>", program_views.approval, name="approval"),
    path("api/purse", program_api.PurseView.as_view(), name="api_purse"),
    re_path(r"^api/articles/(?P<slug>[a-z0-9-]+)$", views.article, {"suffix": ".json"}, name="api_article"),
    path("webhooks/stripe", processor_views.webhook, name="stripe_webhook"),
    # Sellers, owner, machines
    path("studio/", include("publishers.urls")),
    path("finance/earnings", finance_views.earnings, name="earnings"),
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
