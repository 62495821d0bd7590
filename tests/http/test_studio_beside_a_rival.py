"""One publication's pages beside a rival's: every address of the studio says the same as when nobody else sells.

The rival has everything that a page could let through: drafts, withdrawn articles, older versions and prices, sales on
the chain and from balances, one cleared, one pending and one given back, to a buyer of ours among others.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from payments import purses
from payments.cards import holds
from payments.models import Charge, Debit, Grant, Payment, Purse, Transaction
from publishers import pricing, sales, urls
from publishers.articles import catalogue, writing
from publishers.models import AGENTS, PEOPLE, Article, Membership, Publication
from tests import buyers, cast

pytestmark = pytest.mark.django_db

POST_ONLY = {"studio_publish", "studio_withdraw", "studio_preview_unsaved"}
# Nothing of these is about one publication: the list of one's own, and an empty form.
OF_NO_PUBLICATION = {"studio", "studio_new_publication"}
# Ways to ask for more than a page shows by itself; `{}` is where an id of the rival's goes.
QUERIES: dict[str, tuple[str, ...]] = {
    "studio_articles": ("", "?q=rook", "?q=%25", "?state=draft", "?state=withdrawn", "?state=published", "?page=2"),
    "studio_sales": ("", "?audience=agents", "?audience=people", "?since=2000-01-01", "?page=2", "?article={}"),
    "studio_sales_csv": ("", "?audience=agents", "?since=2000-01-01", "?article={}"),
    "studio_balance": ("", "?page=2"),
    "studio_edit": ("", "?from=1", "?from=2"),
}
AMOUNTS = {PEOPLE: 313_131, AGENTS: 717_171}
DEARER = 919_191


@pytest.fixture(autouse=True)
def _cards_are_on(settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = "sk_test_of_the_tests"


@dataclass
class Seller:
    """One publication with what it has written and sold."""

    publication: Publication
    articles: list[Article] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)

    @property
    def owner(self) -> Any:
        return self.publication.memberships.get(role=Membership.OWNER).user

    def write(self, title: str, people: int, agents: int) -> Article:
        text = f"{title} for free.\n\n<!-- paywall -->\n\n{title} for money.\n"
        self.articles.append(cast.article(self.publication, title, text, people, agents))
        return self.articles[-1]

    def sell(self, article: Article, purse: Purse, audience: str = PEOPLE) -> Payment:
        """From a balance."""
        offer = catalogue.listing(article.pk).offer(audience, mime_type="text/html")
        self.payments.append(buyers.press(purse, offer).payment)
        return self.payments[-1]


@pytest.fixture
def customer(db: None) -> Purse:
    """Who buys from both."""
    return buyers.purse(5_000_000)


@pytest.fixture
def ours(customer: Purse) -> Seller:
    lantern = Seller(cast.publication(cast.person("alice"), "The Lantern", description="By night."))
    owls, bats = lantern.write("Owls", 250_000, 50_000), lantern.write("Bats", 250_000, 50_000)
    writing.withdraw(bats)
    lantern.payments.append(cast.sale(owls))
    lantern.sell(owls, customer)
    return lantern


def rival_of(customer: Purse) -> Seller:
    """With at least one row of everything."""
    rooks = Seller(cast.publication(cast.person("rodney"), "Rival Rooks", description="Rookery and robbery."))
    cast.editor(rooks.publication)
    best, gone = (rooks.write(f"Rookish {word}", AMOUNTS[PEOPLE], AMOUNTS[AGENTS]) for word in ("best", "gone"))
    draft = writing.draft("Rookish draft", "rooksecret\n\n<!-- paywall -->\n\nrooksecret\n", "Rooksummary", "Rooknote")
    prices = writing.Prices(AMOUNTS[PEOPLE], AMOUNTS[AGENTS])
    rooks.articles.append(writing.create_article(rooks.publication, draft, prices, by=rooks.owner))
    was = pricing.open_prices(best)[AGENTS]
    pricing.change_price(best, AGENTS, DEARER, by=rooks.owner, was=was.pk)
    writing.save_version(best, draft, by=rooks.owner, base=1)
    rooks.payments += [cast.sale(best, PEOPLE), cast.sale(gone, AGENTS)]
    cleared = rooks.sell(gone, buyers.purse(1_000_000))
    Payment.objects.filter(id=cleared.id).update(decided_at=timezone.now() - timedelta(days=9))
    Charge.objects.filter(purse__debits__payment=cleared).update(available_at=timezone.now())
    assert holds.clear() == 1
    rooks.sell(best, customer)
    given_back = rooks.sell(best, buyers.purse(1_000_000), AGENTS)
    purses.refund(given_back.id, Purse.objects.get(debits__payment=given_back))
    writing.withdraw(gone)
    for number in range(5):
        # Enough of them, and sold more often than ours, to fill any list of the best of all.
        popular = rooks.write(f"Rookish {number}", AMOUNTS[PEOPLE], AMOUNTS[AGENTS])
        rooks.payments += [cast.sale(popular) for _ in range(3)]
    return rooks


def needles(of: Seller, known: set[str]) -> dict[str, str]:
    """Everything by which the rival could be known, by what it is; less what we know ourselves."""
    found = {of.publication.name: "name", of.publication.slug: "slug", of.publication.description: "description"}
    found |= {f"{of.publication.payee}{end}": "payee" for end in (":", '"', "<", " ")}
    found |= {member.user.email: "member" for member in of.publication.memberships.all()}
    for article in of.articles:
        found |= {article.slug: "slug"}
        found |= {word: "text" for version in article.versions.all() for word in (version.title, version.summary)}
    rows = [*of.articles, *of.payments, *Debit.objects.filter(payment__in=of.payments)]
    rows += [*Grant.objects.filter(payment__in=of.payments)]
    rows += [entry for payment in of.payments for entry in Transaction.objects.filter(key__contains=str(payment.pk))]
    found |= {text: type(row).__name__ for row in rows for text in (str(row.pk), row.pk.hex)}
    found |= {payment.buyer: "buyer" for payment in of.payments}
    for micros in (*AMOUNTS.values(), DEARER):
        kept, fee = pricing.keeps(micros).kept_micros, pricing.keeps(micros).fee_micros
        found |= {text: "amount" for one in (micros, kept, fee) for text in (str(one), f"0.{one:06}".rstrip("0"))}
    found |= {word: "text" for word in ("rooksecret", "Rooknote", "Rooksummary", "Rookish")}
    return {text: what for text, what in found.items() if text and text not in known}


def addresses(of: Seller, given: dict[str, Any] | None = None) -> Iterator[tuple[str, str]]:
    """Every address of the studio for this publication, by name; `given` puts other things where they go in it."""
    base = {"publication": of.publication.slug, "article_id": of.articles[0].pk, "number": 1, "who": "owner"}
    base |= {"payment_id": of.payments[0].pk} | (given or {})
    for pattern in urls.urlpatterns:
        wanted = {name: base[name] for name in pattern.pattern.converters}
        for who in ("buyer", "owner", "agent") if "who" in wanted else (None,):
            yield str(pattern.name), reverse(str(pattern.name), kwargs=wanted | ({"who": who} if who else {}))


def walked(of: Seller, browser: Client, rival: str = "00000000-0000-4000-8000-000000000000") -> dict[str, str]:
    """What every page and file says, by address; what is another with every request is taken out."""
    said = {}
    for article, payment in zip(of.articles, of.payments, strict=True):
        for name, address in addresses(of, {"article_id": article.pk, "payment_id": payment.pk}):
            if name in POST_ONLY or name in OF_NO_PUBLICATION:
                continue
            for query in QUERIES.get(name, ("",)):
                answer = browser.get(address + query.format(rival))
                assert answer.status_code == 200, (address, answer.status_code)
                body = b"".join(answer) if answer.streaming else answer.content
                said[address + query.format("rival")] = _without_chance(body.decode().replace(rival, ""))
    return said


def _without_chance(page: str) -> str:
    page = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", page)
    return re.sub(r"&quot;(quote|nonce|issuedAt|expirationTime)&quot;: &quot;[^&]*&quot;", "", page)


def test_nothing_of_a_rival_is_on_any_page_or_in_any_file(ours: Seller, customer: Purse):
    rooks = rival_of(customer)
    known = {payment.buyer for payment in ours.payments}
    wanted = needles(rooks, known)
    assert {"amount", "buyer", "slug", "Payment", "Grant", "Transaction", "Article", "member"} <= set(wanted.values())
    pages = walked(ours, cast.signed_in(ours.owner), str(rooks.articles[0].pk))
    assert len(pages) > 30
    found = [(address, what, text) for address, page in pages.items() for text, what in wanted.items() if text in page]
    assert found == []


def test_a_rivals_own_pages_have_all_of_it(ours: Seller, customer: Purse):
    """Or the test above would look for what is never shown at all."""
    rooks = rival_of(customer)
    browser = cast.signed_in(rooks.owner)
    pages = "".join(
        b"".join(answer).decode() if answer.streaming else answer.content.decode()
        for article in rooks.articles[:3]
        for payment in rooks.payments[:4]
        for name, address in addresses(rooks, {"article_id": article.pk, "payment_id": payment.pk})
        if name not in POST_ONLY
        for answer in [browser.get(address)]
    )
    shown = {what for text, what in needles(rooks, set()).items() if text in pages}
    assert {"amount", "buyer", "slug", "Payment", "Article", "member", "payee", "name", "description", "text"} <= shown


def test_every_page_says_to_the_letter_what_it_said_before_there_was_a_rival(ours: Seller, customer: Purse):
    """Counts, sums, best sellers and pages of pages too."""
    browser = cast.signed_in(ours.owner)
    before = walked(ours, browser)
    rival_of(customer)
    after = walked(ours, browser)
    assert before.keys() == after.keys()
    assert [address for address in before if before[address] != after[address]] == []


def test_so_it_is_for_an_editor_who_edits_here_and_nowhere_else(ours: Seller, customer: Purse):
    browser = cast.signed_in(cast.editor(ours.publication))
    rooks = rival_of(customer)
    for name, address in addresses(ours):
        if name in POST_ONLY | OF_NO_PUBLICATION | {"studio_settings"}:
            continue
        answer = browser.get(address)
        page = (b"".join(answer) if answer.streaming else answer.content).decode()
        known = {payment.buyer for payment in ours.payments}
        assert [text for text in needles(rooks, known) if text in page] == [], name


def test_a_newcomer_is_told_the_first_steps_whatever_others_have(customer: Purse):
    """Their drafts, their articles and their sales are no step of ours."""
    mine = cast.publication(cast.person("carol"), "New Nightjars")
    browser = cast.signed_in(mine.members.get())
    address = f"/studio/{mine.slug}"
    before = [
        _without_chance(browser.get(f"{address}{page}").content.decode()) for page in ("", "/articles", "/balance")
    ]
    rooks = rival_of(customer)
    after = [
        _without_chance(browser.get(f"{address}{page}").content.decode()) for page in ("", "/articles", "/balance")
    ]
    assert before == after
    assert not [text for text in needles(rooks, set()) if any(text in page for page in after)]


def test_who_has_two_publications_sees_each_ones_own_sums(ours: Seller, customer: Purse):
    rooks = rival_of(customer)
    browser = cast.signed_in(ours.owner)
    second = cast.publication(ours.owner, "Second")
    index = browser.get("/studio/").content.decode()
    assert ours.publication.name in index
    assert second.name in index
    assert [text for text in needles(rooks, set()) if text in index] == []
    listed = browser.get(f"/studio/{second.slug}/articles").content.decode()
    assert ours.articles[0].slug not in listed


def test_a_sale_of_a_rivals_article_would_not_name_it(ours: Seller, customer: Purse):
    """By what its payments say a publication has sold none; if one said so, the article would still be another's."""
    rooks = rival_of(customer)
    resources = {article.resource for article in (*ours.articles, *rooks.articles)}
    assert set(sales.articles(ours.publication, resources)) == {article.resource for article in ours.articles}
    assert set(sales.per_article(ours.publication, [*ours.articles, *rooks.articles])) == {ours.articles[0].resource}


def test_what_is_a_rivals_does_not_exist_under_our_address(ours: Seller, customer: Purse):
    rooks = rival_of(customer)
    browser = cast.signed_in(ours.owner)
    before = _everything(rooks)
    tried = set()
    for article, payment in zip(rooks.articles, rooks.payments, strict=False):
        for name, address in addresses(ours, {"article_id": article.pk, "payment_id": payment.pk}):
            if str(article.pk) not in address and str(payment.pk) not in address:
                continue
            tried.add(name)
            form = {"title": "Ours now", "markdown": cast.TEXT, "people_price": "1", "agent_price": "1", "base": "1"}
            answers = [browser.get(address), browser.post(address, form)]
            codes = [answer.status_code for answer in answers]
            assert 404 in codes, (name, codes)
            assert set(codes) <= {404, 405}, (name, codes)
            assert not any(b"ook" in answer.content.replace(b"book", b"").replace(b"Cookie", b"") for answer in answers)
    assert tried == {
        *("studio_article", "studio_edit", "studio_publish", "studio_withdraw", "studio_version", "studio_preview"),
        "studio_sale",
    }
    assert _everything(rooks) == before


def test_what_is_ours_does_not_exist_under_a_rivals_address(ours: Seller, customer: Purse):
    rooks = rival_of(customer)
    browser = cast.signed_in(ours.owner)
    for name, address in addresses(rooks, {"article_id": ours.articles[0].pk, "payment_id": ours.payments[0].pk}):
        if name not in OF_NO_PUBLICATION:
            codes = {browser.get(address).status_code, browser.post(address).status_code}
            assert 404 in codes, name
            assert codes <= {404, 405}, name


def _everything(of: Seller) -> list[Any]:
    articles = Article.objects.filter(publication=of.publication).order_by("pk").values()
    versions = [list(article.versions.values()) for article in of.articles]
    return [list(articles), versions, [list(article.prices.values()) for article in of.articles]]
