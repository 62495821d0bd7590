"""The cast: alice owns a publication, bob edits it, carol is a stranger. Plain builders, real rows."""

import itertools
import os
import re

from allauth.account.internal.flows.login import record_authentication
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from django.conf import settings
from django.http import HttpRequest
from django.test import Client

from marketplace.accounts.models import User
from payments.models import Authorization, Payment
from payments.models import PaymentState as PaymentState
from payments.onchain import record
from payments.onchain.logs import SeenTransfer
from publishers.articles import catalogue, writing
from publishers.models import Article, Membership, Publication

TEXT = "The free part.\n\n<!-- paywall -->\n\nThe paid part with a canary7731 in it.\n"
PASSWORD = "a password of some length"
_count = itertools.count(1)


def person(name: str) -> User:
    """An account without a password: use `signed_in`."""
    return User.objects.create_user(f"{name}{next(_count)}@example.org")


def staff() -> User:
    """An account of the shop's staff, with every permission in the back office and a second factor."""
    root = User.objects.create_superuser(f"root{next(_count)}@example.org")
    TOTP.activate(root, "JBSWY3DPEHPK3PXP")
    return root


def sign_in(browser: Client, user: User) -> None:
    """On the site's own page, with a password; the address counts as proven. What the browser had comes along."""
    user.set_password(PASSWORD)
    user.save()
    EmailAddress.objects.get_or_create(user=user, email=user.email, defaults={"verified": True, "primary": True})
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get("/accounts/login/").content.decode())
    assert token
    form = {"login": user.email, "password": PASSWORD, "csrfmiddlewaretoken": token[1]}
    answer = browser.post("/accounts/login/", form)
    assert answer.status_code == 302, answer.content.decode()


def signed_in(user: User) -> Client:
    """A browser in which this person is signed in, with the second factor if there is one."""
    browser = Client()
    browser.force_login(user)
    if factor := Authenticator.objects.filter(user=user).first():
        request = HttpRequest()
        request.session, request.user = browser.session, user
        record_authentication(request, user, "mfa", id=factor.pk, type=factor.type)
        request.session.save()
    return browser


def publication(owner: User, name: str = "The Lantern", **details: str) -> Publication:
    """A publication of this owner."""
    return writing.create_publication(name, owner=owner, **details)


def editor(of: Publication) -> User:
    """Bob."""
    bob = person("bob")
    Membership.objects.create(publication=of, user=bob, role=Membership.EDITOR)
    return bob


def article(
    of: Publication, title: str = "Owls", markdown: str = TEXT, people: int = 250_000, agents: int = 50_000
) -> Article:
    """An article on sale."""
    made = writing.create_article(of, writing.draft(title, markdown), writing.Prices(people, agents), by=None)
    writing.publish(made)
    made.refresh_from_db()
    return made


def sale(of: Article, audience: str = "agents") -> Payment:
    """A sale, booked from a transfer as the watcher of the chain would bring it."""
    offer = catalogue.listing(of.pk).offer(audience, mime_type="text/html")
    payer, nonce, recipient, token = os.urandom(20), os.urandom(32), b"\x01" * 20, b"\x02" * 20
    payment = Payment.objects.create(
        rail="exact",
        buyer=f"eip155:{settings.CHAIN_ID}:0x{payer.hex()}",
        resource=offer.resource,
        version=offer.version,
        payee=offer.payee,
        audience=audience,
        price_id=offer.price.id,
        amount_micros=offer.price.amount_micros,
    )
    Authorization.objects.create(
        payment=payment,
        chain_id=settings.CHAIN_ID,
        token=token,
        payer=payer,
        nonce=nonce,
        recipient=recipient,
        valid_after=0,
        valid_before=2**40,
        signature=os.urandom(65),
    )
    seen = SeenTransfer(
        next(_count), os.urandom(32), os.urandom(32), 0, token, payer, recipient, offer.price.amount_micros, nonce
    )
    record.transfers([seen])
    payment.refresh_from_db()
    assert payment.state == PaymentState.CONFIRMED
    return payment
