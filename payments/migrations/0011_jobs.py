"""The periodic jobs: one row for each, with its lease and what came of its last run. And when a refund was looked at."""

from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    """Adds two tables, a column and an index."""

    dependencies = [("payments", "0010_cards_asked_for")]

    operations = [
        migrations.CreateModel(
            name="Job",
            fields=[
                ("name", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("holder", models.CharField(blank=True, max_length=64)),
                ("held_until", models.DateTimeField(db_default=Now())),
                ("began_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("succeeded_at", models.DateTimeField(null=True)),
                ("failures", models.PositiveSmallIntegerField(default=0)),
                ("resume_at", models.DateTimeField(null=True)),
                ("result", models.CharField(blank=True, max_length=16)),
                ("found", models.PositiveIntegerField(null=True)),
            ],
        ),
        migrations.AddField("cardrefund", "look_at", models.DateTimeField(null=True)),
        migrations.CreateModel(
            name="SalesCount",
            fields=[
                ("rail", models.CharField(max_length=16, primary_key=True, serialize=False)),
                ("number", models.BigIntegerField(default=0)),
                ("counted_to", models.UUIDField()),
            ],
        ),
        migrations.AddIndex("processorevent", models.Index(fields=["received_at"], name="event_received")),
    ]
