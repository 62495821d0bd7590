"""Accounts: one mailbox is one account; the back office changes nothing about money."""

import pytest
from django.contrib.auth import authenticate
from django.db import IntegrityError, transaction

from marketplace.accounts.models import User
from publishers.models import PriceVersion
from tests import cast

pytestmark = pytest.mark.django_db


def test_an_address_is_one_account_however_it_is_capitalised():
    User.objects.create_user("Alice@Example.org", "a long enough pass phrase")
    assert authenticate(email="ALICE@example.org", password="a long enough pass phrase") is not None
    with pytest.raises(IntegrityError), transaction.atomic():
        User(email="aLICE@example.org").save()
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.bulk_create([User(email="ALICE@EXAMPLE.ORG")])


def test_an_account_needs_an_address():
    with pytest.raises(ValueError, match="email"):
        User.objects.create_user("")


def test_the_back_office_shows_sellers_and_changes_no_price():
    article = cast.article(cast.publication(cast.person("alice")))
    staff = cast.signed_in(cast.staff())
    for page in ("publication/", f"publication/{article.publication_id}/change/", "article/"):
        assert staff.get(f"/admin/publishers/{page}").status_code == 200, page
    for page in ("user/", "user/add/"):
        assert staff.get(f"/admin/accounts/{page}").status_code == 200, page
    page = staff.get(f"/admin/publishers/article/{article.pk}/change/")
    assert page.status_code == 200
    assert b'name="_save"' not in page.content
    assert staff.post(f"/admin/publishers/article/{article.pk}/change/", {"slug": "x"}).status_code == 403
    assert staff.post(f"/admin/publishers/publication/{article.publication_id}/delete/").status_code == 403
    address = f"/admin/publishers/publication/{article.publication_id}/change/"
    sent = {"name": "New name", "slug": "new-name", "time_zone": "Mars/Base", "memberships-TOTAL_FORMS": "0"}
    sent["memberships-INITIAL_FORMS"] = "0"
    assert staff.post(address, sent).status_code == 200
    assert staff.post(address, sent | {"time_zone": "Asia/Tokyo"}).status_code == 302
    article.publication.refresh_from_db()
    assert (article.publication.name, article.publication.time_zone) == ("New name", "Asia/Tokyo")
    assert staff.get("/admin/publishers/priceversion/").status_code == 404
    assert PriceVersion.objects.count() == 2
