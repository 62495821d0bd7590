"""The money in Django's admin, read-only. Code corrects the books, by posting new transactions.

The one action unfreezes a buyer after a lost dispute or a fraud warning. It moves no money.
"""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest

from payments.cards import disputes

from .models import (
    Account,
    ApiKey,
    Approval,
    Authorization,
    Card,
    CardRefund,
    Chain,
    Charge,
    Debit,
    Dispute,
    Grant,
    Lease,
    Payment,
    Posting,
    ProcessorEvent,
    Purse,
    Setup,
    Submission,
    Transaction,
    Transfer,
)


class ReadOnly(admin.ModelAdmin):
    """A read-only admin: staff see every field and can add, change and delete nothing."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class PostingLines(admin.TabularInline):
    """The postings of one transaction, read-only."""

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
    """Token transfers to us, as read from the chain."""

    list_display = ["seen_at", "block_number", "value", "final", "orphaned_at", "payment"]
    list_filter = ["final"]


admin.site.register([Authorization, Submission, Chain, Lease], ReadOnly)


@admin.register(Purse)
class PurseAdmin(ReadOnly):
    """Balances of buyers."""

    list_display = ["owner", "email", "balance_micros", "tab_limit_micros", "flag", "owing_since"]
    list_filter = ["flag"]
    search_fields = ["owner", "email", "customer"]
    actions = ["lift_the_freeze"]

    @admin.action(description="Let the buyer buy again after a lost dispute or a warning of fraud")
    def lift_the_freeze(self, request: HttpRequest, chosen: QuerySet[Purse]) -> None:
        """Unfreeze the chosen buyers, unless a dispute is still open. The admin log records which employee did it."""
        if not request.user.has_perm("payments.change_purse"):
            raise PermissionDenied
        for purse in chosen:
            if disputes.unfreeze(purse):
                self.log_change(request, purse, "Lifted the freeze.")
                self.message_user(request, f"{purse} may buy again.")
            else:
                self.message_user(request, f"{purse} is not frozen, or a dispute is open.", messages.WARNING)


@admin.register(Charge)
class ChargeAdmin(ReadOnly):
    """Card payments."""

    list_display = [
        "made_at",
        "purpose",
        "state",
        "amount_micros",
        "refunded_micros",
        "disputed_micros",
        "stripe_charge_id",
    ]
    list_filter = ["state", "purpose"]
    search_fields = ["stripe_charge_id", "intent", "session", "purse__owner", "purse__email"]


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnly):
    """API keys, by their public halves. The digest of the secret half is not shown."""

    list_display = ["made_at", "name", "public", "purse", "spent_micros", "used_at", "revoked_at"]
    search_fields = ["name", "public", "purse__owner"]
    exclude = ["digest"]


@admin.register(Approval)
class ApprovalAdmin(ReadOnly):
    """Purchases that agents asked the owner of a purse to approve."""

    list_display = ["asked_at", "title", "amount_micros", "state", "key"]
    list_filter = ["state"]


@admin.register(Debit)
class DebitAdmin(ReadOnly):
    """Purchases from purses: which purse paid, and which API key or address asked for it."""

    list_display = ["payment", "title", "purse", "key", "address"]
    search_fields = ["title", "purse__owner"]


@admin.register(Dispute)
class DisputeAdmin(ReadOnly):
    """Disputes (chargebacks)."""

    list_display = ["made_at", "id", "status", "reason", "amount_micros", "withdrawn_micros", "lost_at"]
    list_filter = ["status"]


@admin.register(ProcessorEvent)
class ProcessorEventAdmin(ReadOnly):
    """Stripe's events, as received."""

    list_display = ["received_at", "type", "about", "applied_at", "failures"]
    list_filter = ["type"]
    search_fields = ["id", "about"]


@admin.register(CardRefund)
class CardRefundAdmin(ReadOnly):
    """Refunds to cards."""

    list_display = ["made_at", "state", "amount_micros", "stripe_refund_id", "reason"]
    list_filter = ["state"]


admin.site.register([Card, Setup], ReadOnly)
