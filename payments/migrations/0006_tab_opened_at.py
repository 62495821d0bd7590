"""Since when a buyer has agreed to be charged while away."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A nullable column: nothing is rewritten, so the triggers of 0005 stay."""

    dependencies = [("payments", "0005_purses_kept")]
    operations = [migrations.AddField("purse", "tab_opened_at", models.DateTimeField(null=True))]
