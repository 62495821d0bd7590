"""The money in Django's admin: to look at, never to change. Corrections are new entries, made by code."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from .models import Account, Authorization, Chain, Grant, Lease, Payment, Posting, Submission, Transaction, Transfer


class ReadOnly(admin.ModelAdmin):
    """Shows every field and changes none."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class PostingLines(admin.TabularInline):
    """The postings of one transaction."""

    model = Posting
    fk_name = "transaction"
    can_delete = False
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Payment)
class PaymentAdmin(ReadOnly):
    """Payments."""

    list_display = ["claimed_at", "state", "payee", "resource", "buyer", "amount_micros", "reason"]
    list_filter = ["state", "rail", "audience"]
    search_fields = ["buyer", "resource", "payee"]


@admin.register(Transaction)
class TransactionAdmin(ReadOnly):
    """The books."""

    list_display = ["made_at", "kind", "key"]
    list_filter = ["kind"]
    search_fields = ["key"]
    inlines = [PostingLines]


@admin.register(Account)
class AccountAdmin(ReadOnly):
    """Accounts."""

    list_display = ["code", "asset"]
    search_fields = ["code"]


@admin.register(Grant)
class GrantAdmin(ReadOnly):
    """Rights to read."""

    list_display = ["made_at", "resource", "buyer", "version", "revoked_at"]
    search_fields = ["buyer", "resource"]


@admin.register(Transfer)
class TransferAdmin(ReadOnly):
    """What the chain was seen to do."""

    list_display = ["seen_at", "block_number", "value", "final", "orphaned_at", "payment"]
    list_filter = ["final"]


admin.site.register([Authorization, Submission, Chain, Lease], ReadOnly)
