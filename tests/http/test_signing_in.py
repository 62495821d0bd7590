"""Doors without a password: a code by mail, and a passkey."""

import json
import re

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.core import mail
from django.core.cache import cache
from django.test import Client

from marketplace.accounts.models import User
from tests.passkey import Passkey
from tests.visitor import Forms

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _nobody_has_tried_yet() -> None:
    cache.clear()


def browser() -> Client:
    return Client(headers={"host": "localhost"})


def phone() -> Passkey:
    return Passkey("localhost", "http://localhost")


def code() -> str:
    found = re.search(r"^([A-Z0-9]{4}-[A-Z0-9]{4})$", str(mail.outbox[-1].body), re.MULTILINE)
    assert found, mail.outbox[-1].body
    return found[1]


def account(email: str = "ada@example.com") -> User:
    user = User.objects.create_user(email)
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    return user


def who(client: Client) -> str:
    return str(client.session.get("_auth_user_id", ""))


def js_data(page: str) -> dict:
    found = re.search(r'<script id="js_data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def sign_in_by_code(client: Client, email: str, then: str = "") -> str:
    asked = client.post("/accounts/login/code/", {"email": email, **({"next": then} if then else {})})
    assert asked.status_code == 302
    page = client.get(asked["Location"]).content.decode()
    form = next(form for form in Forms(page).found if "code" in form["fields"])
    return client.post(asked["Location"], form["fields"] | {"code": code()})["Location"]


def test_a_code_by_mail_signs_in():
    user, client = account(), browser()
    assert sign_in_by_code(client, user.email) == "/welcome"
    assert who(client) == str(user.pk)
    assert mail.outbox[-1].subject == "Your sign-in code"
    assert mail.outbox[-1].from_email.startswith("Pennypress <")
    assert "example.com" not in mail.outbox[-1].body


def test_a_code_leads_back_to_the_article():
    user, client = account(), browser()
    assert sign_in_by_code(client, user.email, "/articles/owls") == "/articles/owls"


def test_a_wrong_code_signs_nobody_in():
    account()
    client = browser()
    client.post("/accounts/login/code/", {"email": "ada@example.com"})
    right = code()
    wrong = "ZZZZ-ZZZZ" if right != "ZZZZ-ZZZZ" else "YYYY-YYYY"
    assert client.post("/accounts/login/code/confirm/", {"code": wrong}).status_code == 200
    assert who(client) == ""


def test_an_account_needs_no_password():
    client = browser()
    client.post("/accounts/signup/", {"email": "new@example.com"})
    done = client.post("/accounts/confirm-email/", {"code": code()})
    assert done.status_code == 302
    user = User.objects.get(email="new@example.com")
    assert who(client) == str(user.pk)
    assert not user.has_usable_password()
    elsewhere = browser()
    sign_in_by_code(elsewhere, "new@example.com")
    assert who(elsewhere) == str(user.pk)


def test_a_passkey_is_added_and_then_signs_in_alone():
    user, client, device = account(), browser(), phone()
    sign_in_by_code(client, user.email)
    page = client.get("/accounts/2fa/webauthn/add/")
    assert page.status_code == 200
    made = device.made(js_data(page.content.decode())["creation_options"])
    answer = client.post("/accounts/2fa/webauthn/add/", {"name": "Phone", "passwordless": "on", "credential": made})
    assert answer.status_code == 302, answer.content.decode()
    assert "Phone" in client.get("/accounts/2fa/webauthn/").content.decode()

    elsewhere = browser()
    assert 'id="passkey_login"' in elsewhere.get("/accounts/login/").content.decode()
    options = elsewhere.get("/accounts/2fa/webauthn/login/", headers={"accept": "application/json"}).json()
    signed = device.signed(options["request_options"])
    answer = elsewhere.post("/accounts/2fa/webauthn/login/", {"credential": signed, "next": "/library"})
    assert answer["Location"] == "/library"
    assert who(elsewhere) == str(user.pk)

    again = browser().post("/accounts/2fa/webauthn/login/", {"credential": signed})
    assert again["Location"] == "/accounts/login/", "a signature is good for one challenge"
    refused = again.client.get("/accounts/login/").content.decode()
    assert "This passkey was not accepted" in refused
    assert "sign in another way" in refused


def test_an_account_is_made_with_a_passkey():
    client, device = browser(), phone()
    client.post("/accounts/signup/passkey/", {"email": "new@example.com"})
    answer = client.post("/accounts/confirm-email/", {"code": code()})
    assert answer["Location"] == "/accounts/2fa/webauthn/signup/"
    page = client.get(answer["Location"]).content.decode()
    made = device.made(js_data(page)["creation_options"])
    client.post("/accounts/2fa/webauthn/signup/", {"name": "Phone", "credential": made})
    user = User.objects.get(email="new@example.com")
    assert who(client) == str(user.pk)
    assert Authenticator.objects.filter(user=user, type=Authenticator.Type.WEBAUTHN).count() == 1


def test_a_passkey_of_another_host_opens_nothing():
    user, client = account(), browser()
    sign_in_by_code(client, user.email)
    page = client.get("/accounts/2fa/webauthn/add/").content.decode()
    made = Passkey("localhost", "https://evil.example").made(js_data(page)["creation_options"])
    answer = client.post("/accounts/2fa/webauthn/add/", {"name": "x", "passwordless": "on", "credential": made})
    assert answer.status_code == 200
    assert "This passkey was not accepted" in answer.content.decode()
    assert not Authenticator.objects.exists()


def test_the_scripts_of_passkeys_are_files_of_this_site():
    page = browser().get("/accounts/login/").content.decode()
    for tag in re.findall(r"<script[^>]*>", page):
        assert 'src="/static/' in tag or 'type="application/json"' in tag
    assert "require JavaScript" in page
