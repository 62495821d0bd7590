"""Records since when a buyer has agreed to off-session charges."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A nullable column does not rewrite the table, so the triggers of 0005 stay."""

    dependencies = [("payments", "0005_purses_kept")]
    operations = [migrations.AddField("purse", "tab_opened_at", models.DateTimeField(null=True))]
