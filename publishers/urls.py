"""The studio's addresses, below /studio/."""

from django.urls import path

from publishers.views import articles, home, sales

urlpatterns = [
    path("", home.studio, name="studio"),
    path("publications/new", home.new_publication, name="studio_new_publication"),
    path("<slug:publication>", home.publication_home, name="studio_home"),
    path("<slug:publication>/settings", home.settings, name="studio_settings"),
    path("<slug:publication>/articles", articles.article_list, name="studio_articles"),
    path("<slug:publication>/articles/new", articles.new_article, name="studio_new_article"),
    path("<slug:publication>/articles/preview", articles.preview_unsaved, name="studio_preview_unsaved"),
    path("<slug:publication>/articles/<uuid:article_id>", articles.article_page, name="studio_article"),
    path("<slug:publication>/articles/<uuid:article_id>/edit", articles.edit_article, name="studio_edit"),
    path("<slug:publication>/articles/<uuid:article_id>/publish", articles.publish, name="studio_publish"),
    path("<slug:publication>/articles/<uuid:article_id>/withdraw", articles.withdraw, name="studio_withdraw"),
    path(
        "<slug:publication>/articles/<uuid:article_id>/versions/<int:number>", articles.version, name="studio_version"
    ),
    path(
        "<slug:publication>/articles/<uuid:article_id>/preview/<slug:who>", articles.preview_as, name="studio_preview"
    ),
    path("<slug:publication>/sales", sales.sale_list, name="studio_sales"),
    path("<slug:publication>/sales.csv", sales.sales_csv, name="studio_sales_csv"),
    path("<slug:publication>/sales/<uuid:payment_id>", sales.sale, name="studio_sale"),
    path("<slug:publication>/balance", sales.balance, name="studio_balance"),
]
