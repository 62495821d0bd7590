"""Remembers that a publication's owners were told of its first sale."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A nullable column."""

    dependencies = [("publishers", "0001_sellers")]
    operations = [migrations.AddField("publication", "first_sale_told_at", models.DateTimeField(editable=False, null=True))]
