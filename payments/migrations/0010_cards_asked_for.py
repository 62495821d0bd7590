"""A card is kept only when asked for, refunds know the processor's fee and what machines read, and people get mail."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    """Nullable columns do not rewrite their tables, so the triggers stay."""

    dependencies = [("payments", "0009_consent")]
    operations = [
        migrations.AddField("charge", "keep_card", models.BooleanField(null=True)),
        migrations.AddField("charge", "fee_micros", models.BigIntegerField(null=True)),
        migrations.AddField("cardrefund", "fee_micros", models.BigIntegerField(null=True)),
        migrations.AddField("grant", "machine_read_at", models.DateTimeField(null=True)),
        migrations.AddField("card", "forgotten_at", models.DateTimeField(null=True)),
        migrations.AddField("charge", "receipt_sent_at", models.DateTimeField(null=True)),
        migrations.AddField("approval", "mailed_at", models.DateTimeField(null=True)),
        # Nobody gets mail now about what happened before.
        migrations.RunSQL("UPDATE payments_charge SET receipt_sent_at = decided_at WHERE state = 'succeeded'", ""),
        migrations.RunSQL("UPDATE payments_approval SET mailed_at = asked_at WHERE state = 'asked'", ""),
        migrations.AddIndex(
            "charge",
            models.Index(
                fields=["decided_at"], condition=Q(state="succeeded", receipt_sent_at=None), name="charge_no_receipt"
            ),
        ),
        migrations.AddIndex(
            "approval",
            models.Index(fields=["key"], condition=Q(state="asked", mailed_at=None), name="approval_unmailed"),
        ),
        migrations.AddIndex(
            "card",
            models.Index(
                fields=["removed_at"], condition=Q(forgotten_at=None, removed_at__isnull=False), name="card_to_forget"
            ),
        ),
    ]
