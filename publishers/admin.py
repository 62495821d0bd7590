"""The back office for publications. Articles and prices are read-only here, and no money moves."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from .forms import PublicationForm
from .models import Article, Membership, PriceVersion, Publication, Version


class ReadOnly:
    """Makes a model read-only in the back office."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class MembershipInline(admin.TabularInline):
    """The members of a publication."""

    model = Membership
    autocomplete_fields = ["user"]
    extra = 0


class PublicationDetails(PublicationForm):
    """The studio's form plus the address, which only staff can change."""

    class Meta(PublicationForm.Meta):
        fields = ["name", "slug", "description", "time_zone"]


@admin.register(Publication)
class PublicationAdmin(admin.ModelAdmin):
    """Publications and their members."""

    list_display = ["name", "slug", "time_zone", "made_at"]
    search_fields = ["name", "slug"]
    form = PublicationDetails
    inlines = [MembershipInline]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: the books refer to the publication."""
        return False


class VersionInline(ReadOnly, admin.TabularInline):
    """An article's versions, without their texts."""

    model = Version
    fk_name = "article"
    fields = ["number", "title", "words", "made_at", "made_by", "note"]
    extra = 0


class PriceInline(ReadOnly, admin.TabularInline):
    """An article's price history, in micros."""

    model = PriceVersion
    fields = ["audience", "amount_micros", "starts_at", "ends_at", "made_by"]
    extra = 0


@admin.register(Article)
class ArticleAdmin(ReadOnly, admin.ModelAdmin):
    """Articles with their history. Publishers write, price and unpublish them in the studio."""

    list_display = ["__str__", "publication", "state", "published_at"]
    list_filter = ["state", "publication"]
    list_select_related = ["publication", "current_version"]
    search_fields = ["slug", "current_version__title"]
    inlines = [PriceInline, VersionInline]
