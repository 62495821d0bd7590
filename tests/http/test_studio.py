"""The publisher's day: start, write, price, publish, be faster or slower than a colleague, withdraw."""

import html
import re

import pytest

from publishers.articles import catalogue, writing
from publishers.models import Article, Membership, Publication
from tests import cast
from tests.unit.publishers.test_pricing import HOSTILE

pytestmark = pytest.mark.django_db

WORDS = "First thought.\n\n<!-- paywall -->\n\nEvery word of this is dear to me: canary7731."


def typed(page, **changes):
    """What a browser would send from the editor on this page."""
    fields = dict(re.findall(r'<input[^>]*name="(\w+)"[^>]*value="([^"]*)"', page))
    fields |= {name: value for value, name in re.findall(r'<input[^>]*value="([^"]*)"[^>]*name="(\w+)"', page)}
    area = re.search(r"<textarea[^>]*>\n?(.*?)</textarea>", page, re.DOTALL)
    fields["markdown"] = html.unescape(area[1]) if area else ""
    fields.pop("csrfmiddlewaretoken", None)
    return {name: html.unescape(value) for name, value in fields.items()} | changes


@pytest.fixture
def alice():
    return cast.person("alice")


@pytest.fixture
def browser(alice):
    return cast.signed_in(alice)


@pytest.fixture
def lantern(alice):
    return cast.publication(alice)


def editor_of(article):
    return f"/studio/{article.publication.slug}/articles/{article.pk}/edit"


def test_from_nothing_to_an_article_on_sale(browser, alice):
    assert "Create a publication" in browser.get("/studio/").content.decode()
    answer = browser.post("/studio/publications/new", {"name": "The Lantern", "time_zone": "Europe/Berlin"})
    assert answer["Location"] == "/studio/the-lantern"
    publication = Publication.objects.get()
    assert publication.memberships.get(user=alice).role == Membership.OWNER
    assert browser.get("/studio/")["Location"] == "/studio/the-lantern"
    assert "Write your first article" in browser.get("/studio/the-lantern").content.decode()

    page = browser.get("/studio/the-lantern/articles/new").content.decode()
    sent = typed(page, title="On owls", markdown=WORDS, people_price="0.30", agent_price="0.04")
    article_page = browser.post("/studio/the-lantern/articles/new", sent)["Location"]
    article = Article.objects.get()
    assert (article.state, article.slug) == ("draft", "on-owls")
    assert catalogue.find("on-owls") is None
    assert "View your draft" in browser.get("/studio/the-lantern").content.decode()

    browser.post(f"{article_page}/publish")
    found = catalogue.find("on-owls")
    assert (found.people.amount_micros, found.agents.amount_micros) == (300_000, 40_000)
    browser.post(f"{article_page}/withdraw")
    assert catalogue.find("on-owls") is None


def test_saving_and_publishing_is_one_press(browser, lantern):
    sent = {"title": "T", "markdown": WORDS, "people_price": "0.3", "agent_price": "0.04", "then": "publish"}
    browser.post(f"/studio/{lantern.slug}/articles/new", sent)
    assert catalogue.find("t") is not None


def test_editing_makes_a_version_and_a_price_version(browser, lantern):
    article = cast.article(lantern)
    page = browser.get(editor_of(article)).content.decode()
    assert typed(page)["people_price"] == "0.25"
    answer = browser.post(editor_of(article), typed(page, markdown=WORDS, people_price="0.5"))
    assert answer.status_code == 302
    found = catalogue.listing(article.pk)
    assert (found.version, found.people.amount_micros, found.agents.amount_micros) == (2, 500_000, 50_000)
    history = browser.get(answer["Location"]).content.decode()
    assert "0.50" in history
    assert "0.25" in history
    assert f"/studio/{lantern.slug}/articles/{article.pk}/versions/1" in history


def test_saving_without_a_change_changes_nothing(browser, lantern):
    article = cast.article(lantern)
    page = browser.get(editor_of(article)).content.decode()
    assert browser.post(editor_of(article), typed(page)).status_code == 302
    assert (article.versions.count(), article.prices.count()) == (1, 2)


@pytest.mark.parametrize("price", HOSTILE)
@pytest.mark.parametrize("field", ["people_price", "agent_price"])
def test_a_hostile_price_is_refused_writes_nothing_and_keeps_the_text(browser, lantern, field, price):
    sent = {"title": "T", "markdown": WORDS, "people_price": "0.3", "agent_price": "0.04", field: price}
    answer = browser.post(f"/studio/{lantern.slug}/articles/new", sent)
    assert answer.status_code == 400
    assert "dear to me: canary7731." in answer.content.decode()
    assert not Article.objects.exists()
    article = cast.article(lantern)
    page = browser.get(editor_of(article)).content.decode()
    answer = browser.post(editor_of(article), typed(page, markdown=WORDS) | {field: price})
    assert answer.status_code == 400
    assert "dear to me: canary7731." in answer.content.decode()
    assert (article.versions.count(), article.prices.count()) == (1, 2)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", ""),
        ("title", "t" * 201),
        ("title", "\u202e\u200b"),
        ("title", "a\x00b"),
        ("slug", "no spaces"),
        ("slug", "ä"),
        ("slug", "under_score"),
        ("slug", "-"),
        ("summary", "s" * 301),
        ("markdown", ""),
        ("markdown", "x" * 500_001),
        ("markdown", "All free.\n<!-- paywall -->"),
        ("markdown", "[" * 50_000),
    ],
)
def test_what_cannot_be_saved_is_refused_with_a_page(browser, lantern, field, value):
    sent = {"title": "T", "markdown": WORDS, "people_price": "0.3", "agent_price": "0.04", field: value}
    answer = browser.post(f"/studio/{lantern.slug}/articles/new", sent)
    assert answer.status_code == 400
    assert 'role="alert"' in answer.content.decode()
    assert not Article.objects.exists()


def test_a_text_of_the_greatest_length_in_any_script_is_taken(browser, lantern):
    text = "梟 " * 125_000
    sent = {"title": "T", "markdown": text, "people_price": "0.3", "agent_price": "0.04"}
    assert browser.post(f"/studio/{lantern.slug}/articles/new", sent).status_code == 302


def test_a_colleague_who_was_faster_costs_nobody_a_word(browser, lantern):
    article = cast.article(lantern)
    bobs = cast.signed_in(cast.editor(lantern))
    mine, his = (typed(b.get(editor_of(article)).content.decode()) for b in (browser, bobs))
    bobs.post(editor_of(article), his | {"markdown": "Bob's.\n\nBob's paid part.", "agent_price": "0.06"})

    answer = browser.post(editor_of(article), mine | {"markdown": WORDS})
    page = answer.content.decode()
    assert answer.status_code == 409
    assert "Someone saved a newer version" in page
    assert "dear to me: canary7731." in page
    assert article.versions.count() == 2
    assert catalogue.listing(article.pk).agents.amount_micros == 60_000

    assert browser.post(editor_of(article), typed(page)).status_code == 302
    assert "canary7731" in catalogue.body(article.pk).html
    assert "Bob" in catalogue.body(article.pk, 2).html


def test_a_colleague_who_changed_only_a_price_is_noticed_too(browser, lantern):
    article = cast.article(lantern)
    bobs = cast.signed_in(cast.editor(lantern))
    mine, his = (typed(b.get(editor_of(article)).content.decode()) for b in (browser, bobs))
    bobs.post(editor_of(article), his | {"agent_price": "0.06"})
    answer = browser.post(editor_of(article), mine | {"markdown": WORDS, "agent_price": "0.07"})
    assert answer.status_code == 409
    assert article.versions.count() == 1
    assert catalogue.listing(article.pk).agents.amount_micros == 60_000


def test_an_older_text_can_be_opened_again(browser, lantern):
    article = cast.article(lantern)
    writing.save_version(article, writing.draft("Owls", "Shorter.\n\nMuch."), by=None, base=1)
    page = browser.get(f"{editor_of(article)}?from=1").content.decode()
    assert "canary7731" in typed(page)["markdown"]
    assert typed(page)["base"] == "2"
    for nonsense in ("0", "9", "x", "-1", "9" * 40, "%00"):
        assert browser.get(f"{editor_of(article)}?from={nonsense}").status_code == 200


def test_a_draft_can_move_and_a_published_article_cannot(browser, lantern):
    sent = {"title": "T", "markdown": WORDS, "people_price": "0.3", "agent_price": "0.04"}
    browser.post(f"/studio/{lantern.slug}/articles/new", sent)
    article = Article.objects.get()
    page = browser.get(editor_of(article)).content.decode()
    browser.post(editor_of(article), typed(page, slug="Elsewhere"))
    article.refresh_from_db()
    assert article.slug == "elsewhere"
    cast.article(lantern, title="Taken")
    answer = browser.post(editor_of(article), typed(page, slug="taken", markdown="New.\n\nText."))
    assert answer.status_code == 400
    assert article.versions.count() == 1
    writing.publish(article)
    page = browser.get(editor_of(article)).content.decode()
    assert 'name="slug"' not in page
    assert browser.post(editor_of(article), typed(page, slug="away")).status_code == 302
    article.refresh_from_db()
    assert article.slug == "elsewhere"


def test_a_preview_shows_both_sides_of_the_wall_and_saves_nothing(browser, lantern):
    address = f"/studio/{lantern.slug}/articles/preview"
    page = browser.post(address, {"title": "T <b>", "markdown": WORDS}).content.decode()
    assert page.index("First thought") < page.index("After paying") < page.index("canary7731")
    assert "T &lt;b&gt;" in page
    assert browser.post(address, {"title": "T", "markdown": ""}).status_code == 400
    assert not Article.objects.exists()


def test_previews_show_what_others_would_get(browser, lantern):
    article = cast.article(lantern)
    base = f"/studio/{lantern.slug}/articles/{article.pk}/preview"
    assert "canary7731" not in browser.get(f"{base}/buyer").content.decode()
    assert "canary7731" in browser.get(f"{base}/owner").content.decode()
    page = browser.get(f"{base}/agent").content.decode()
    assert "50000" in page
    assert "canary7731" in page


def test_the_publisher_is_warned_about_agents_that_refuse_and_told_the_real_price(browser, lantern):
    article = cast.article(lantern, people=2_000_000, agents=1_500_000)
    page = browser.get(f"/studio/{lantern.slug}/articles/{article.pk}").content.decode()
    assert "refuse to pay more than $1.00" in page
    assert "the lower price is what the article really costs" in page
    assert "you keep $1.425" in page
    editor = browser.get(editor_of(article)).content.decode()
    assert "the lower price is what the article really costs" in editor
    assert re.search(r'id="agent-limit">', editor)
    assert re.search(r'id="agent-limit" hidden>', browser.get(f"/studio/{lantern.slug}/articles/new").content.decode())


def test_the_list_is_searched_by_title_and_state(browser, lantern):
    cast.article(lantern, title="Owls by night")
    withdrawn = cast.article(lantern, title="Bats by night")
    writing.withdraw(withdrawn)
    listed = browser.get(f"/studio/{lantern.slug}/articles?q=NIGHT&state=withdrawn").content.decode()
    assert "Bats by night" in listed
    assert "Owls by night" not in listed
    for odd in ("?q=%00", "?state=x", "?page=99", "?page=x", "?q=zebra"):
        assert browser.get(f"/studio/{lantern.slug}/articles{odd}").status_code == 200, odd


def test_a_name_of_invisible_characters_is_refused(browser):
    for name in ("\u202e", "", "\x00", "n" * 101):
        assert browser.post("/studio/publications/new", {"name": name, "time_zone": "UTC"}).status_code == 400
    assert browser.post("/studio/publications/new", {"name": "A", "time_zone": "Mars/Base"}).status_code == 400
    assert not Publication.objects.exists()


def test_several_publications_are_a_choice(browser, alice, lantern):
    cast.publication(alice, name="Second")
    page = browser.get("/studio/").content.decode()
    assert "The Lantern" in page
    assert "Second" in page


def test_the_editors_script_finds_what_it_talks_to(browser, lantern):
    page = browser.get(f"/studio/{lantern.slug}/articles/new").content.decode()
    for name in re.findall(r'data-keeps="([^"]+)"', page):
        assert f'id="{name}"' in page
    assert page.count("data-keeps") == 2
    assert re.search(r'<form[^>]*data-editor data-fee="\d+" data-limit="1000000"', page)


def test_no_page_carries_a_script_or_a_style_of_its_own(browser, lantern):
    article = cast.article(lantern)
    for address in ("/studio/", f"/studio/{lantern.slug}", editor_of(article), f"/studio/{lantern.slug}/balance"):
        page = browser.get(address).content.decode()
        assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=", page), address
