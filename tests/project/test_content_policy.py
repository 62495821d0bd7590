"""Every page of every address, as strangers, publishers and staff see it: nothing inline, nothing from elsewhere."""

import json
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from allauth.mfa.webauthn.internal.auth import WebAuthn
from django.apps import apps
from django.contrib import admin
from django.test import Client, override_settings
from django.urls import NoReverseMatch, get_resolver, reverse

from dev import code
from marketplace.accounts.models import User
from marketplace.models import LibraryEntry
from payments import gate
from payments.models import ApiKey, Approval
from publishers.articles import catalogue
from tests import buyers, cast
from tests.passkey import Passkey

PASSWORD = "a password of eight words and more"
# Addresses that are no pages to look at, with what they are.
NO_PAGE = {
    **dict.fromkeys(["did_document", "admin:autocomplete"], "for machines"),
    **dict.fromkeys(["studio_sales_csv", "mfa_download_recovery_codes"], "a file"),
    **dict.fromkeys(["studio_publish", "studio_withdraw", "studio_preview_unsaved", "admin:logout"], "take a form"),
    **dict.fromkeys(["signed_in", "admin:login", "admin:view_on_site", "account_set_password"], "send elsewhere"),
    **dict.fromkeys(["account_confirm_login_code", "account_email_verification_sent"], "while a code is on its way"),
    **dict.fromkeys(["mfa_authenticate", "mfa_reauthenticate", "mfa_signup_webauthn"], "in the middle of signing in"),
    **dict.fromkeys(["article_buy", "article_pay", "purse_top_up", "purse_tab", "purse_cards"], "take a form"),
    **dict.fromkeys(["purse_card", "purse_refund", "purse_withdraw", "purse_join"], "take a form"),
    **dict.fromkeys(["mfa_login_webauthn", "purse_return", "card_return"], "send elsewhere"),
    **dict.fromkeys(["article_canceled", "purse_canceled", "card_canceled"], "send elsewhere"),
    **dict.fromkeys(["stripe_webhook", "api_purse", "api_article"], "for machines"),
    "purse_movements": "a file",
    "purse_authenticate": "loads the card processor's script: tests/http/test_stripe_pages.py",
    "admin:jsi18n": "a script",
}
# The admin's pages that nobody may open, since what they are about is never made or removed there, and those
# of rows that a small site does not have.
_KEPT = "payments_account payments_authorization payments_grant payments_payment payments_transaction payments_transfer"
_KEPT += " payments_purse payments_charge payments_apikey payments_approval payments_debit"
CLOSED = {
    *(f"admin:{model}_{verb}" for model in [*_KEPT.split(), "publishers_article"] for verb in ("add", "delete")),
    *(f"admin:payments_{model}_{verb}"
      for model in ("submission", "chain", "lease", "dispute", "processorevent", "cardrefund", "card", "setup")
      for verb in ("add", "delete", "change", "history")),
    *(f"admin:auth_group_{verb}" for verb in ("delete", "change", "history")),
    "admin:publishers_publication_delete",
}  # fmt: skip


def check_policy(policy: str) -> None:
    """A content security policy that runs nothing but our own files."""
    rules = {words.split()[0]: words.split()[1:] for words in policy.split(";") if words.strip()}
    assert rules["default-src"] == ["'none'"]
    assert rules["script-src"] == rules["style-src"] == ["'self'"]
    assert rules["base-uri"] == rules["frame-ancestors"] == ["'none'"]
    assert not [source for sources in rules.values() for source in sources if "unsafe" in source or source == "*"]


class Inline(HTMLParser):
    """Collects what such a policy would refuse to run, to apply or to load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "style" or (tag == "script" and "src" not in given and given.get("type") != "application/json"):
            self.found.append(f"<{tag}>")
        self.found += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        loads = tag in ("script", "img", "iframe", "form") or (tag == "link" and given.get("rel") in _LOADED)
        for name in ("src", "href", "action", "formaction"):
            address = given.get(name) or ""
            if address.startswith("javascript:") or (loads and re.match(r"(https?:)?//", address)):
                self.found.append(f"{tag} {name}={address}")


_LOADED = ("stylesheet", "icon", "modulepreload", "preload", "manifest")


def names(patterns: Any, namespace: str = "", above: tuple[str, ...] = ()) -> Iterator[tuple[str, list[str]]]:
    """Every named address of the site, with the words it takes."""
    for pattern in patterns:
        takes = (*above, *(getattr(pattern.pattern, "converters", None) or pattern.pattern.regex.groupindex))
        if hasattr(pattern, "url_patterns"):
            inner = f"{pattern.namespace}:" if pattern.namespace else ""
            yield from names(pattern.url_patterns, namespace + inner, takes)
        elif pattern.name:
            yield namespace + pattern.name, list(takes)


@pytest.fixture
def words() -> dict[str, Any]:
    """A small site with one of everything, and a value for every word that an address takes."""
    alice = User.objects.create_user("alice@example.org", PASSWORD)
    root = User.objects.create_superuser("root@example.org", PASSWORD)
    for person in (alice, root):
        EmailAddress.objects.create(user=person, email=person.email, verified=True, primary=True)
    article = cast.article(cast.publication(alice))
    payment = cast.sale(article)
    for person in (alice, root):
        LibraryEntry.objects.create(user=person, grant=payment.grants.get())
    purse = buyers.purse(2_000_000, owner=f"user:{alice.pk}")
    with override_settings(STRIPE_SECRET_KEY="sk_test_of_the_tests"):
        buyers.present(buyers.key(purse), catalogue.listing(article.pk).offer("agents", mime_type="text/markdown"))
        with pytest.raises(gate.PaymentRequired):
            buyers.present(buyers.key(purse, approve_above_micros=0), buyers.offer(2))
    return {
        "slug": {"article": article.slug, "publication": article.publication.slug},
        "publication": article.publication.slug,
        "article_id": article.pk,
        "number": 1,
        "who": "buyer",
        "suffix": "",
        "payment_id": payment.pk,
        "key_id": ApiKey.objects.earliest("made_at").pk,
        "approval_id": Approval.objects.get().pk,
        "grant_id": payment.grants.get().pk,
        "uidb36": "1",
        "key": "set-password",
        "id": alice.pk,
        "app_label": "payments",
    }


_AUTHENTICATOR_KEY = "JBSWY3DPEHPK3PXP"
_CREATION = {"publicKey": {"user": {"id": "MQ"}, "challenge": "MTIz"}}


def address(name: str, takes: list[str], words: dict[str, Any]) -> str | None:
    """The address itself; None for the admin page of a row when there is no such row."""
    values = {word: words.get(word) for word in takes}
    if "slug" in values:
        values["slug"] = words["slug"][name]
    if "object_id" in values:
        app, model, _ = name.removeprefix("admin:").split("_")
        first = apps.get_model(app, model)._default_manager.first()
        if first is None:
            return None
        values["object_id"] = admin.utils.quote(first.pk)
    return reverse(name, kwargs=values)


def signed_in(email: str) -> Client:
    """Through the doors that people use, so that pages which ask for the password again open for a while."""
    browser = Client()
    browser.post(reverse("account_login"), {"login": email, "password": PASSWORD})
    again = browser.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    assert again.status_code == 302
    return browser


@pytest.mark.django_db
def test_every_page_keeps_the_policy(words: dict[str, Any]) -> None:
    visitors = {
        "stranger": Client(),
        "publisher": signed_in("alice@example.org"),
        "staff": signed_in("root@example.org"),
    }
    root = User.objects.get(email="root@example.org")
    # Made when everybody is signed in: from then on a password alone does not do for her.
    alice = User.objects.get(email="alice@example.org")
    words["pk"] = WebAuthn.add(alice, "A phone", json.loads(Passkey().made(_CREATION))).instance.pk
    every = sorted(names(get_resolver().url_patterns))
    seen: set[str] = set()
    for with_codes in (False, True):
        if with_codes:
            TOTP.activate(root, _AUTHENTICATOR_KEY)
            RecoveryCodes.activate(root)
            shown = {"code": code.at(_AUTHENTICATOR_KEY, time.time())}
            assert visitors["staff"].post(reverse("mfa_reauthenticate"), shown).status_code == 302
        for name, takes in every:
            if name in NO_PAGE or (path := address(name, takes, words)) is None:
                continue
            for who, browser in visitors.items():
                if _kept(browser, path, f"{name} for the {who}"):
                    seen.add(name)
    missing = {name for name, _ in every} - seen - set(NO_PAGE) - CLOSED
    assert sorted(missing) == []
    assert not seen & CLOSED, "a page that was closed is open: money is read-only, and so are articles"
    assert len(seen) > 70


def _kept(browser: Client, path: str, what: str, **posted: Any) -> bool:
    """Whether the page itself came. Whatever came instead, a refusal for example, has to keep the policy too."""
    chain = {"CHAIN_RPC_URL": "http://127.0.0.1:1", "PAY_TO": "0x000000000000000000000000000000000000dEaD"}
    with override_settings(STRIPE_SECRET_KEY="sk_test_of_the_tests", **chain):
        answer = browser.post(path, posted) if posted else browser.get(path, headers={"Accept": "text/html"})
    assert answer.status_code < 500, what
    if not answer.get("Content-Type", "").startswith("text/html"):
        return False
    check_policy(answer["Content-Security-Policy"])
    assert Inline(answer.content.decode()).found == [], what
    return answer.status_code in (200, 402)


@pytest.mark.django_db
def test_pages_that_answer_a_form_and_pages_about_errors_keep_it_too(words: dict[str, Any]) -> None:
    alice = signed_in("alice@example.org")
    preview = reverse("studio_preview_unsaved", args=[words["publication"]])
    assert _kept(alice, preview, "the preview", title="T", markdown="A *b*.\n\n<!-- paywall -->\n\nC.")
    strict = Client(enforce_csrf_checks=True)
    for answer in (
        alice.get("/no/such/page"),
        alice.get(reverse("earnings")),
        strict.post(reverse("account_login"), {"login": "x"}),
        Client().get("/", headers={"Host": "evil.example"}),
        Client().get(
            f"/articles/{words['slug']['article']}", headers={"Accept": "text/html", "PAYMENT-SIGNATURE": "%%"}
        ),
    ):
        assert answer.status_code >= 302, answer.status_code
        check_policy(answer["Content-Security-Policy"])
        assert Inline(answer.content.decode()).found == []


@pytest.mark.django_db
def test_the_back_office_has_no_door_of_its_own() -> None:
    answer = Client().get("/admin/login/?next=/admin/payments/payment/")
    assert answer.status_code == 302, "Django's own form counts no attempts and asks for no second factor"
    assert answer["Location"].startswith(reverse("account_login"))


@pytest.mark.parametrize(
    "page",
    [
        "<script>x()</script>",
        "<script type=module>x()</script>",
        "<style>p{}</style>",
        "<p style='color:red'>",
        "<a onclick='x()'>",
        "<a href='javascript:x()'>",
        "<img src='//cdn.example/x.png'>",
        "<script src='https://cdn.example/x.js'></script>",
        "<link rel=stylesheet href='https://cdn.example/x.css'>",
    ],
)
def test_what_the_policy_refuses_is_seen(page: str) -> None:
    assert Inline(page).found


def test_what_the_policy_allows_is_not_complained_about() -> None:
    page = "<script src='/static/x.js'></script><script type='application/json'>{}</script><a href='https://x.example'>"
    assert Inline(page).found == []


GOOD = "default-src 'none'; script-src 'self'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"


def test_a_strict_policy_passes() -> None:
    check_policy(GOOD)


@pytest.mark.parametrize(
    "policy",
    [
        "",
        "default-src 'self'",
        f"{GOOD}; img-src *",
        GOOD.replace("script-src 'self'", "script-src 'self' 'unsafe-inline'"),
        GOOD.replace("'none'", "'self'"),
    ],
)
def test_a_loose_policy_is_seen(policy: str) -> None:
    with pytest.raises((AssertionError, KeyError)):
        check_policy(policy)


def test_an_address_that_is_no_page_is_still_an_address() -> None:
    known = {name for name, _ in names(get_resolver().url_patterns)}
    assert set(NO_PAGE) <= known
    assert known >= CLOSED
    with pytest.raises(NoReverseMatch):
        reverse("no_such_address")
