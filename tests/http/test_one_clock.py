"""One clock for a person: the browser's zone on every page and in the mail that a request sends."""

import datetime
import re
import zoneinfo

import pytest
from django.template.loader import render_to_string
from django.utils import timezone

from payments.models import Grant, Payment, Transaction
from publishers.models import Version
from tests.visitor import owls, reader

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("cards_on")]
# In Auckland it is noon of the next day then.
NIGHT = datetime.datetime(2026, 1, 1, 23, 0, tzinfo=datetime.UTC)
AUCKLAND, UTC = "2 January 2026", "1 January 2026"


@pytest.mark.parametrize(
    ("zone", "day"), [("Pacific/Auckland", AUCKLAND), ("", UTC), ("Mars/Base", UTC), ("../UTC", UTC)]
)
def test_every_page_of_a_reader_is_in_the_browsers_zone(zone, day):
    article, (visitor, *_) = owls(), reader(1_000_000)
    address = article.get_absolute_url()
    Version.objects.update(made_at=NIGHT)
    visitor.client.cookies["zone"] = zone
    paywall = visitor.see(address, 402)
    visitor.press(address, f"{address}/buy", seen=402)
    for model, name in ((Grant, "made_at"), (Payment, "decided_at")):
        model.objects.update(**{name: NIGHT})
    receipt = f"/receipts/{Grant.objects.get().pk}"
    for page in (paywall, *(visitor.see(path) for path in (address, "/library", receipt))):
        (written,) = set(re.findall(r">(\d+ January 2026)[^<]*</time>", page))
        assert written == day
        assert 'title="1 January 2026, 23:00:00 UTC"' in page


def test_the_activity_names_the_zone_and_its_file_stays_in_utc():
    visitor, *_ = reader(1_000_000)
    visitor.client.cookies["zone"] = "Pacific/Auckland"
    made = Transaction.objects.get().made_at
    assert "Times are in <span data-zone>Pacific/Auckland</span>." in visitor.see("/purse")
    assert made.astimezone(datetime.UTC).isoformat(timespec="seconds") in visitor.client.get(
        "/purse/movements.csv"
    ).getvalue().decode("utf-8-sig")


def test_mail_about_an_account_has_the_clock_of_the_request_and_names_it():
    with timezone.override(zoneinfo.ZoneInfo("Pacific/Auckland")):
        said = render_to_string("account/email/password_changed_message.txt", {"timestamp": NIGHT})
    assert "Time: 2 January 2026, 12:00 (Pacific/Auckland)" in said
