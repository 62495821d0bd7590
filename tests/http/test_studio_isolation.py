"""One publication's pages do not exist for anybody else. Walks every address of the studio."""

import uuid

import pytest
from django.test import Client
from django.urls import reverse

from publishers import urls
from publishers.models import Article, Membership, PriceVersion, Version
from tests import cast

pytestmark = pytest.mark.django_db

OPEN_TO_EVERY_ACCOUNT = {"studio", "studio_new_publication"}
OWNERS_ONLY = {"studio_settings"}
POST_ONLY = {"studio_publish", "studio_withdraw", "studio_preview_unsaved"}


@pytest.fixture
def lantern():
    publication = cast.publication(cast.person("alice"), name="The Lantern")
    article = cast.article(publication, title="Secret owls", markdown="a\n\n<!-- paywall -->\n\ncanary7731")
    return publication, article, cast.sale(article)


def addresses(publication, article, payment):
    """Every studio address of this publication, by name."""
    values = {
        "publication": publication.slug,
        "article_id": article.pk,
        "number": 1,
        "who": "owner",
        "payment_id": payment.pk,
    }
    for pattern in urls.urlpatterns:
        wanted = {name: values[name] for name in pattern.pattern.converters}
        yield pattern.name, reverse(pattern.name, kwargs=wanted)


def counted():
    return [model.objects.count() for model in (Article, Version, PriceVersion, Membership)]


def test_a_stranger_gets_404_everywhere_and_changes_nothing(lantern):
    stranger = cast.person("carol")
    cast.article(cast.publication(stranger, name="Her own"))
    browser, before = cast.signed_in(stranger), counted()
    for name, address in addresses(*lantern):
        if name in OPEN_TO_EVERY_ACCOUNT:
            continue
        for answer in (browser.get(address), browser.post(address, {"title": "x"})):
            assert answer.status_code in (404, 405), (name, answer.status_code)
            assert b"Lantern" not in answer.content
            assert b"canary7731" not in answer.content
    assert counted() == before
    lantern[1].refresh_from_db()
    assert lantern[1].state == "published"


def test_a_stranger_cannot_reach_anothers_rows_through_their_own_publication(lantern):
    stranger = cast.person("carol")
    mine = cast.publication(stranger, name="Her own")
    _, article, payment = lantern
    browser = cast.signed_in(stranger)
    for name, address in addresses(mine, article, payment):
        if "article_id" in str(name) or str(article.pk) in address or str(payment.pk) in address:
            for answer in (browser.get(address), browser.post(address)):
                assert answer.status_code in (404, 405), name
    assert b"Secret owls" not in browser.get(f"/studio/{mine.slug}/sales?article={article.pk}").content
    assert b"Secret owls" not in browser.get(f"/studio/{mine.slug}/articles?q=owls").content
    assert str(payment.pk).encode() not in b"".join(browser.get(f"/studio/{mine.slug}/sales.csv"))


def test_whoever_is_not_signed_in_is_asked_to(lantern):
    for name, address in addresses(*lantern):
        answer = Client().get(address)
        if name in POST_ONLY and answer.status_code == 405:
            continue
        assert answer.status_code == 302, name
        assert answer["Location"].startswith("/accounts/login/"), name


def test_every_page_opens_for_the_owner_and_is_kept_by_nobody(lantern):
    owner = lantern[0].members.get()
    browser = cast.signed_in(owner)
    for name, address in addresses(*lantern):
        if name in POST_ONLY:
            assert browser.get(address).status_code == 405, name
            continue
        answer = browser.get(address)
        assert answer.status_code in (200, 302), name
        assert "no-store" in answer["Cache-Control"], name
        assert "private" in answer["Cache-Control"], name


def test_an_editor_opens_everything_but_the_settings(lantern):
    browser = cast.signed_in(cast.editor(lantern[0]))
    for name, address in addresses(*lantern):
        if name not in POST_ONLY:
            assert browser.get(address).status_code == (
                404 if name in OWNERS_ONLY else 200 if name != "studio" else 302
            )


def test_what_does_not_exist_is_404(lantern):
    publication, article, _ = lantern
    browser = cast.signed_in(publication.members.get())
    for address in (
        "/studio/nothing",
        f"/studio/{publication.slug}/articles/{uuid.uuid4()}",
        f"/studio/{publication.slug}/articles/{article.pk}/versions/0",
        f"/studio/{publication.slug}/articles/{article.pk}/versions/{2**70}",
        f"/studio/{publication.slug}/articles/{article.pk}/preview/anybody",
        f"/studio/{publication.slug}/sales/{uuid.uuid4()}",
    ):
        assert browser.get(address).status_code == 404, address


def test_nothing_a_form_does_not_ask_for_is_written(lantern):
    publication, article, _ = lantern
    other = cast.publication(cast.person("dave"), name="Other")
    browser = cast.signed_in(publication.members.get())
    sent = {"title": "T", "markdown": cast.TEXT, "people_price": "1", "agent_price": "1"}
    sent |= {"publication": other.pk, "publication_id": other.pk, "state": "published", "id": str(uuid.uuid4())}
    assert browser.post(f"/studio/{publication.slug}/articles/new", sent).status_code == 302
    made = Article.objects.exclude(pk=article.pk).get()
    assert (made.publication, made.state) == (publication, "draft")
    sent = {"name": "Mine", "time_zone": "UTC", "slug": "other", "id": other.pk, "members": other.pk}
    assert browser.post(f"/studio/{publication.slug}/settings", sent).status_code == 302
    publication.refresh_from_db()
    assert (publication.name, publication.slug) == ("Mine", "the-lantern")


def test_a_form_from_another_site_is_refused(lantern):
    publication, article, _ = lantern
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(publication.members.get())
    assert browser.post(f"/studio/{publication.slug}/articles/{article.pk}/withdraw").status_code == 403
    article.refresh_from_db()
    assert article.state == "published"
