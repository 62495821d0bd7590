"""The database refuses to delete, empty or replace what purses, agents and cards did (payments/sql/purses.*.sql)."""

from django.db import migrations

from payments.sql import run


class Migration(migrations.Migration):
    """Triggers."""

    dependencies = [("payments", "0004_purses")]
    operations = [migrations.RunPython(run("purses"))]
