"""The sample catalogue: enough of it, good for the tests of others, and safe to run twice."""

import json
import time
from collections import Counter

import pytest
from django.core.management import call_command
from django.test import Client

from dev import code
from marketplace.accounts.models import User
from publishers import sample
from publishers.models import Article, PriceVersion, Publication, Version

pytestmark = pytest.mark.django_db


def run(capsys):
    call_command("sample", "--json")
    return json.loads(capsys.readouterr().out)


def test_the_catalogue_is_what_the_demo_promises(capsys, settings):
    said = run(capsys)
    assert len(said["articles"]) >= 12
    per_publication = {}
    for article in said["articles"]:
        row = Article.objects.get(pk=article["id"])
        assert article["url"] == f"{settings.BASE_URL}/articles/{row.slug}"
        assert (article["md_url"], article["json_url"]) == (f"{article['url']}.md", f"{article['url']}.json")
        prices = (article["people_price_micros"], article["agent_price_micros"])
        per_publication.setdefault(article["publication"], []).append(prices)
        assert 1_000 <= article["agent_price_micros"] <= 1_000_000
        version = row.current_version
        assert version.words >= 500, row.slug
        assert version.teaser_html, row.slug
        assert version.teaser_html in version.body_html, row.slug
        assert version.summary, row.slug
    assert len(per_publication) >= 2
    assert any(most > 1 for prices in per_publication.values() for most in Counter(prices).values())


def test_a_second_run_adds_nothing_and_renews_the_passwords(capsys):
    first = run(capsys)
    rows = [model.objects.count() for model in (Article, Version, PriceVersion, Publication, User)]
    second = run(capsys)
    assert rows == [model.objects.count() for model in (Article, Version, PriceVersion, Publication, User)]
    assert first["articles"] == second["articles"]
    for secret in ("password", "authenticator_key"):
        assert first["logins"]["admin"][secret] != second["logins"]["admin"][secret]


def test_each_login_is_let_in_and_no_further_than_it_may(capsys):
    logins = run(capsys)["logins"]
    assert set(logins) == {"publisher", "reader", "admin"}
    for name, login in logins.items():
        browser = Client()
        answer = browser.post("/accounts/login/", {"login": login["email"], "password": login["password"]})
        assert answer.status_code == 302, name
        if name == "admin":
            assert browser.get("/admin/").status_code == 302, "a code is missing"
            browser.post(answer["Location"], {"code": code.at(login["authenticator_key"], time.time())})
        assert (browser.get("/admin/").status_code == 200) == (name == "admin")
        assert ("balance" in browser.get("/studio/").content.decode().lower()) == (name == "publisher")


def test_every_file_names_its_fields():
    for path in sample.FOLDER.glob("*.md"):
        assert sample.read(path).slug == path.stem
