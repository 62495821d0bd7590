"""Saving a card no longer opens a tab."""

from django.db import migrations


class Migration(migrations.Migration):
    """Removes a column."""

    dependencies = [("payments", "0008_undecided")]
    operations = [migrations.RemoveField("setup", "opens_tab")]
