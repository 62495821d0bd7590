"""The database refuses to change, empty or extend the books (payments/sql/books.*.sql)."""

from django.db import migrations

from payments.sql import run


class Migration(migrations.Migration):
    """Creates the triggers."""

    dependencies = [("payments", "0001_initial")]
    operations = [migrations.RunPython(run("books"))]
