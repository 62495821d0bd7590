"""Undecided payments are counted by buyer, and claims that reached nothing may be deleted (payments/sql/prunable.*.sql)."""

from django.db import migrations, models

from payments.sql import run


class Migration(migrations.Migration):
    """Adds an index, and replaces two triggers."""

    dependencies = [("payments", "0007_attempts_and_looks")]
    operations = [
        migrations.AddIndex(
            model_name="payment",
            index=models.Index(
                condition=models.Q(("state__in", ("claimed", "signed"))), fields=["buyer"], name="payment_undecided"
            ),
        ),
        # Nullable, so that SQLite adds the column without making the table and its triggers anew.
        migrations.AddField("authorization", "source", models.CharField(max_length=43, null=True)),
        migrations.RunPython(run("prunable")),
    ]
