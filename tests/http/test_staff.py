"""Staff reach money only with a second factor, and are led to the page that sets one up."""

import re
import time

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.test import Client

from dev import code
from payments.models import Purse
from tests import buyers, cast
from tests.http.test_opened_forms import every_address

pytestmark = pytest.mark.django_db
SET_UP = "/accounts/2fa/"


def unprotected():
    """Staff with a password alone, as `createsuperuser` makes them."""
    root = cast.staff()
    Authenticator.objects.all().delete()
    return root


def test_without_a_second_factor_every_page_about_money_leads_to_where_one_is_set_up():
    browser = cast.signed_in(unprotected())
    pages = [path for path in every_address().values() if path.startswith(("/finance/", "/admin/"))]
    assert len(pages) > 50
    for path in pages:
        for answer in (browser.get(path), browser.post(path)):
            assert (answer.status_code, answer["Location"]) == (302, SET_UP), path
    said = browser.get(SET_UP).content.decode()
    assert "Staff pages need a second factor." in said


def test_without_one_the_back_office_changes_nothing():
    purse = buyers.purse()
    Purse.objects.update(flag="fraud")
    action = {"action": "lift_the_freeze", "_selected_action": [str(purse.pk)]}
    cast.signed_in(unprotected()).post("/admin/payments/purse/", action)
    assert Purse.objects.get().flag == "fraud"
    cast.signed_in(cast.staff()).post("/admin/payments/purse/", action)
    assert Purse.objects.get().flag == ""


@pytest.mark.parametrize(("kind", "opens"), [("totp", True), ("webauthn", True), ("recovery_codes", False)])
def test_an_app_or_a_passkey_opens_them_and_recovery_codes_alone_do_not(kind, opens):
    root = unprotected()
    Authenticator.objects.create(user=root, type=kind, data={})
    assert (cast.signed_in(root).get("/finance/earnings").status_code == 200) is opens
    assert (cast.signed_in(root).get("/admin/").status_code == 200) is opens


@pytest.mark.django_db(transaction=True)  # It is told of at the commit.
def test_who_sets_one_up_gets_in_and_is_asked_for_it_from_then_on():
    root, browser = unprotected(), Client()
    cast.sign_in(browser, root)
    assert browser.get("/finance/earnings")["Location"] == SET_UP
    browser.post("/accounts/reauthenticate/", {"password": cast.PASSWORD})
    page = browser.get("/accounts/2fa/totp/activate/").content.decode()
    key = re.search(r'"([A-Z2-7]{32})"', page)
    assert key
    former = cast.signed_in(root)
    browser.post("/accounts/2fa/totp/activate/", {"code": code.at(key[1], time.time())})
    assert browser.get("/finance/earnings").status_code == 200
    # A session from before, perhaps of a thief who knows the password alone.
    asked = former.get("/finance/earnings?x=1")["Location"]
    assert asked == "/accounts/2fa/reauthenticate/?next=%2Ffinance%2Fearnings%3Fx%3D1"
    assert former.post(asked, {"code": "000000"}).status_code == 200
    assert former.get("/finance/earnings").status_code == 302
    cache.clear()  # Of the code that was used.
    back = former.post(asked, {"code": code.at(key[1], time.time())})
    assert back["Location"] == "/finance/earnings?x=1"
    assert former.get("/finance/earnings").status_code == 200
    with_a_password = Client()
    cast.sign_in(with_a_password, root)
    assert with_a_password.get("/finance/earnings")["Location"].startswith("/accounts/login/"), "a code is missing"


def test_nobody_else_needs_one():
    carol = cast.person("carol")
    EmailAddress.objects.create(user=carol, email=carol.email, verified=True, primary=True)
    assert cast.signed_in(carol).get("/library").status_code == 200
    assert cast.signed_in(unprotected()).get("/library").status_code == 200
    assert cast.signed_in(carol).get("/finance/earnings").status_code == 403
    assert Client().get("/finance/earnings")["Location"].startswith("/accounts/login/")
