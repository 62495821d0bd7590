"""Undecided payments are counted by buyer, claims that reached nothing may be deleted (payments/sql/prunable.*.sql).

Reconciliation remembers where it ended.
"""

from django.db import migrations, models

from payments.sql import run


class Migration(migrations.Migration):
    """Adds an index, a column and a table, and replaces two triggers."""

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
        migrations.CreateModel(
            "Reconciliation",
            [
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("read_to", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("id", 1)), name="reconciliation_one_row"),
                ]
            },
        ),
        migrations.RunPython(run("prunable")),
    ]
