"""Records which attempt of a charge was declined last, and when the sweeper next looks at a page that saves a card."""

from django.db import migrations, models
from django.db.models import Q
from django.db.models.functions import Now


class Migration(migrations.Migration):
    """The charge's column is nullable, so its table keeps the triggers of 0005. The setup's table has no triggers."""

    dependencies = [("payments", "0006_tab_opened_at")]
    operations = [
        migrations.AddField("charge", "declined_stripe_charge_id", models.CharField(max_length=64, null=True)),
        migrations.AddField("setup", "look_at", models.DateTimeField(db_default=Now())),
        migrations.AddIndex(
            "setup", models.Index(fields=["look_at"], condition=Q(state="open"), name="setup_open")
        ),
    ]
