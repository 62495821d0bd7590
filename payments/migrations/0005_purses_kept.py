"""The database refuses to delete, empty or replace rows about purses, agents and cards (payments/sql/purses.*.sql)."""

from django.db import migrations

from payments.sql import run


class Migration(migrations.Migration):
    """Creates the triggers."""

    dependencies = [("payments", "0004_purses")]
    operations = [migrations.RunPython(run("purses"))]
