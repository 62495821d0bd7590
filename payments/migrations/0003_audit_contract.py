"""The read-only views of docs/audit.md (payments/sql/audit.*.sql)."""

from django.db import migrations

from payments.sql import run


class Migration(migrations.Migration):
    """Creates the views."""

    dependencies = [("payments", "0002_books_append_only")]
    operations = [migrations.RunPython(run("audit"))]
