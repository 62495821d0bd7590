"""The catalogue of articles, read-only and cheap. The shop and the gate read here; nothing is ever written here.

Every unpaid request calls `find`, so it runs one indexed query and never reads the paid text. `body` is the only way to
that text, for requests that have paid and for the publication's own members.
"""

import datetime
import functools
import uuid
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Q
from django.utils import timezone

from payments.offers import Offer, Price
from publishers.models import AGENTS, PEOPLE, Article, PriceVersion, Version, payee_of

from .manuscript import without_divider


@dataclass(frozen=True)
class Listing:
    """An article as the public may see it: teaser, length and both prices, without the paid text.

    marketplace.shop.listings caches listings, so derived names are computed once per listing, not for every request.
    """

    article_id: uuid.UUID
    slug: str
    state: str
    published_at: datetime.datetime | None
    publication_id: int
    publication_name: str
    publication_slug: str
    version: int
    title: str
    summary: str
    words: int
    updated_at: datetime.datetime
    teaser_html: str
    people: Price
    agents: Price

    @functools.cached_property
    def resource(self) -> str:
        """The name under which payments knows the article."""
        return f"article:{self.article_id}"

    @functools.cached_property
    def payee(self) -> str:
        """The name under which payments knows the publication."""
        return payee_of(self.publication_id)

    @property
    def path(self) -> str:
        """The address on this site, without a format."""
        return f"/articles/{self.slug}"

    @functools.cached_property
    def url(self) -> str:
        """The canonical address, from the configured origin and never from a request."""
        return f"{settings.BASE_URL}/articles/{self.slug}"

    @property
    def minutes(self) -> int:
        """Reading time at 220 words a minute, at least one."""
        return max(1, round(self.words / 220))

    def price(self, audience: str) -> Price:
        """The current price for "people" or for "agents"."""
        return self.people if audience == PEOPLE else self.agents

    def offer(self, audience: str, *, mime_type: str, with_quotable: bool = False) -> Offer:
        """The offer that payments needs to sell this to one audience; `with_quotable` costs one more query."""
        return Offer(
            resource=self.resource,
            version=self.version,
            payee=self.payee,
            price=self.price(audience),
            url=self.url,
            title=self.title,
            mime_type=mime_type,
            quotable=quotable(self.article_id) if with_quotable else (),
        )


@dataclass(frozen=True, slots=True)
class Body:
    """The paid text of one version, only for readers who own it and for the publication's members."""

    version: int
    title: str
    words: int
    made_at: datetime.datetime
    html: str
    markdown: str


# Written in SQL because it runs for every unpaid request: building it with the ORM costs several times the query.
_LISTING = """
SELECT a.id AS article_id, a.slug, a.state, a.published_at,
       p.id AS publication_id, p.name AS publication_name, p.slug AS publication_slug,
       v.number AS version, v.title, v.summary, v.words, v.made_at AS updated_at, v.teaser_html,
       people.id AS people_id, people.amount_micros AS people_micros,
       agents.id AS agents_id, agents.amount_micros AS agents_micros
FROM publishers_article a
JOIN publishers_publication p ON p.id = a.publication_id
JOIN publishers_version v ON v.id = a.current_version_id
JOIN publishers_priceversion people
  ON people.article_id = a.id AND people.audience = 'people' AND people.ends_at IS NULL
JOIN publishers_priceversion agents
  ON agents.article_id = a.id AND agents.audience = 'agents' AND agents.ends_at IS NULL
"""
_BY_SLUG = _LISTING + "WHERE a.slug = %s"
_BY_ID = _LISTING + "WHERE a.id = %s"


def find(slug: str, *, include_withdrawn: bool = False) -> Listing | None:
    """The article on sale at an address, or None, in one query.

    `include_withdrawn` also finds unpublished articles, which their buyers may still read. Drafts are never found.
    """
    found = _one(_BY_SLUG, slug)
    allowed = (Article.PUBLISHED, Article.WITHDRAWN) if include_withdrawn else (Article.PUBLISHED,)
    return found if found and found.state in allowed else None


def listing(article_id: uuid.UUID) -> Listing:
    """The article with this id in any state, for its own publication's pages.

    Raises Article.DoesNotExist when there is none, or when text or a price is still missing.
    """
    found = _one(_BY_ID, Article._meta.pk.get_db_prep_value(article_id, connection))
    if found is None:
        raise Article.DoesNotExist(f"No article {article_id} with text and prices.")
    return found


def body(article_id: uuid.UUID, number: int | None = None) -> Body | None:
    """The paid text of one version, by default the current one; None when there is no such version.

    The caller has already checked that the reader owns this version.
    """
    versions = Version.objects.filter(article_id=article_id)
    if number is None:
        versions = Version.objects.filter(pk__in=Article.objects.filter(pk=article_id).values("current_version_id"))
    elif 1 <= number < 2**31:
        versions = versions.filter(number=number)
    else:
        return None
    found = versions.values("number", "title", "words", "made_at", "body_html", "markdown").first()
    if found is None:
        return None
    return Body(
        version=found["number"],
        title=found["title"],
        words=found["words"],
        made_at=found["made_at"],
        html=found["body_html"],
        markdown=without_divider(found["markdown"]),
    )


def quotable(article_id: uuid.UUID) -> tuple[Price, ...]:
    """Every price of either audience that an unexpired quote can name, newest first."""
    since = timezone.now() - datetime.timedelta(seconds=settings.QUOTE_SECONDS)
    in_force = PriceVersion.objects.filter(Q(ends_at=None) | Q(ends_at__gte=since), article_id=article_id)
    return tuple(Price(*row) for row in in_force.order_by("-id").values_list("id", "audience", "amount_micros"))


def _one(statement: str, argument: Any) -> Listing | None:
    with connection.cursor() as cursor:
        cursor.execute(statement, [argument])
        row = cursor.fetchone()
        if row is None:
            return None
        found = dict(zip((column[0] for column in cursor.description), row, strict=True))
    if not isinstance(found["article_id"], uuid.UUID):
        found["article_id"] = uuid.UUID(found["article_id"])
    for name in ("published_at", "updated_at"):
        found[name] = _aware(found[name])
    people = Price(found.pop("people_id"), PEOPLE, found.pop("people_micros"))
    agents = Price(found.pop("agents_id"), AGENTS, found.pop("agents_micros"))
    return Listing(**found, people=people, agents=agents)


def _aware(moment: Any) -> Any:
    """The moment with its time zone: SQLite returns text or naive datetimes, all of them UTC."""
    if isinstance(moment, str):
        moment = datetime.datetime.fromisoformat(moment)
    if moment is not None and moment.tzinfo is None:
        return moment.replace(tzinfo=datetime.UTC)
    return moment
