"""Nobody learns from the site whether an address has an account: the answer and the work behind it are the same.

What takes long enough to be measured is counted here: hashing a password, and sending a mail.
"""

import re

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth import hashers
from django.core import mail
from django.core.cache import cache
from django.test import Client

from tests import cast

pytestmark = pytest.mark.django_db
PASSWORD = "a password of some length"
FORMS = {
    "/accounts/signup/": {"password1": PASSWORD},
    "/accounts/signup/?without": {},
    "/accounts/signup/passkey/": {},
    "/accounts/login/": {"password": PASSWORD},
    "/accounts/login/code/": {},
    "/accounts/password/reset/": {},
}


@pytest.fixture
def hashed(monkeypatch):
    """The passwords that were hashed."""
    seen: list[str] = []
    (hasher,) = {type(one) for one in hashers.get_hashers()}
    encode = hasher.encode
    monkeypatch.setattr(
        hasher,
        "encode",
        lambda self, password, *rest, **more: seen.append(password) or encode(self, password, *rest, **more),
    )
    return seen


def addresses() -> dict[str, str]:
    """One without an account, one with a confirmed account and one with an unconfirmed one; a password or none."""
    found = {"new": "new@example.org"}
    for name, verified in (("confirmed", True), ("unconfirmed", False)):
        for password in (PASSWORD[::-1], None):
            person = cast.person(name)
            person.set_password(password)
            person.save()
            EmailAddress.objects.create(user=person, email=person.email, verified=verified, primary=True)
            found[f"{name}, {'a' if password else 'no'} password"] = person.email
    return found


@pytest.mark.parametrize("form", FORMS)
def test_a_known_address_costs_the_same_work_and_gets_the_same_answer_as_a_new_one(form, hashed):
    seen = {}
    for who, email in addresses().items():
        cache.clear()
        mail.outbox.clear()
        hashed.clear()
        answer = Client().post(form, {"email": email, "login": email} | FORMS[form])
        page = re.sub(r'value="[^"]*"', "", answer.content.decode())
        seen[who] = (answer.status_code, answer.headers.get("Location"), page, len(hashed), len(mail.outbox))
    assert len(set(seen.values())) == 1, {who: (*said[:2], *said[3:]) for who, said in seen.items()}
    _, _, _, hashes, mails = seen["new"]
    assert bool(hashes) == bool(FORMS[form])
    assert mails == (0 if form == "/accounts/login/" else 1)
