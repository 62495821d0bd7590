"""A card is kept only when asked for, refunds know the processor's fee and what machines read, and people get mail."""

from datetime import timedelta
from typing import Any

from django.db import migrations, models
from django.db.models import F, Q
from django.utils import timezone


def _as_before(apps: Any, schema_editor: Any) -> None:
    """No mail goes out about earlier events, and a removed card is no longer at the processor."""

    def rows(name: str) -> Any:
        return apps.get_model("payments", name).objects.using(schema_editor.connection.alias)  # The owner's.

    # Older ones are never mailed.
    recent = rows("Charge").filter(state="succeeded", decided_at__gt=timezone.now() - timedelta(days=4))
    recent.update(receipt_sent_at=F("decided_at"))
    rows("Approval").filter(state="asked").update(mailed_at=F("asked_at"))
    rows("Card").exclude(removed_at=None).update(forgotten_at=F("removed_at"))


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
        migrations.RunPython(_as_before, migrations.RunPython.noop),
        migrations.AddIndex(
            "charge",
            models.Index(
                fields=["decided_at"], condition=Q(state="succeeded", receipt_sent_at=None), name="charge_no_receipt"
            ),
        ),
        migrations.AddIndex(
            "approval",
            models.Index(fields=["key"], condition=Q(state="asked"), name="approval_asked"),
        ),
        migrations.AddIndex(
            "card",
            models.Index(
                fields=["removed_at"], condition=Q(forgotten_at=None, removed_at__isnull=False), name="card_to_forget"
            ),
        ),
    ]
