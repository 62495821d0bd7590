"""Every URL of the site."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path, re_path

from marketplace.api import balance, did, webhooks
from marketplace.reader import balance_views, bank_views, key_views, library_views
from marketplace.shop import article, buying, catalogue
from marketplace.staff import earnings

# The back office uses the site's sign-in, which limits attempts and asks for the second factor.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

handler404 = "marketplace.ops.errors.not_found"
handler500 = "marketplace.ops.errors.failed"

urlpatterns = [
    # The shop
    path("", catalogue.home, name="home"),
    path("about", catalogue.about, name="about"),
    path("publications/<slug:slug>", catalogue.publication, name="publication"),
    # One article, three representations, one gate
    re_path(r"^articles/(?P<slug>[a-z0-9-]+)(?P<suffix>|\.md|\.json)$", article.article, name="article"),
    path("articles/<slug:slug>/buy", buying.buy, name="article_buy"),
    path("articles/<slug:slug>/pay", buying.pay, name="article_pay"),
    path("articles/<slug:slug>/canceled", buying.canceled, name="article_canceled"),
    # A reader's library and receipts
    path("library", library_views.overview, name="library"),
    path("welcome", library_views.signed_in, name="signed_in"),
    path("receipts/<uuid:grant_id>", library_views.receipt, name="receipt"),
    path(".well-known/did.json", did.document, name="did_document"),
    # A reader's purse
    path("purse", balance_views.overview, name="purse"),
    path("purse/movements.csv", balance_views.movements_csv, name="purse_movements"),
    path("purse/join", balance_views.join, name="purse_join"),
    path("purse/top-up", balance_views.top_up, name="purse_top_up"),
    path("purse/return/<uuid:charge_id>", buying.returned, name="purse_return"),
    path("purse/canceled", buying.canceled, name="purse_canceled"),
    path("purse/tab", balance_views.tab, name="purse_tab"),
    path("purse/cards", balance_views.add_card, name="purse_cards"),
    path("purse/cards/<int:card_id>", balance_views.card, name="purse_card"),
    path("purse/cards/return/<uuid:setup_id>", balance_views.card_returned, name="card_return"),
    path("purse/cards/canceled", balance_views.card_canceled, name="card_canceled"),
    path("purse/refund/<uuid:payment_id>", balance_views.give_back, name="purse_refund"),
    path("purse/withdraw", balance_views.withdraw, name="purse_withdraw"),
    path("purse/authenticate/<uuid:charge_id>", bank_views.authenticate, name="purse_authenticate"),
    # A reader's agents
    path("purse/keys", key_views.overview, name="keys"),
    path("purse/keys/<uuid:key_id>", key_views.detail, name="key"),
    path("purse/keys/<uuid:key_id>/revoke", key_views.revoke, name="key_revoke"),
    path("purse/approvals", key_views.waiting, name="approvals"),
    path("purse/approvals/<uuid:approval_id>", key_views.approval, name="approval"),
    path("api/purse", balance.PurseView.as_view(), name="api_purse"),
    re_path(r"^api/articles/(?P<slug>[a-z0-9-]+)$", article.article, {"suffix": ".json"}, name="api_article"),
    path("webhooks/stripe", webhooks.stripe, name="stripe_webhook"),
    # Publishers, staff, monitoring
    path("studio/", include("publishers.urls")),
    path("finance/earnings", earnings.earnings, name="earnings"),
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
]
