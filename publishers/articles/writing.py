"""Writing: articles are created, revised, published and withdrawn here. Text is only ever added.

When two people edit one article, the second save is refused and its author keeps the text. The database decides which
save was second.
"""

import re
import secrets
from dataclasses import dataclass

from django.contrib.auth.base_user import AbstractBaseUser as Person
from django.db import IntegrityError, transaction
from django.db.models.functions import Coalesce, Now
from django.utils.text import slugify

from payments import notify
from publishers import pricing
from publishers.models import SLUG_MAX, SUMMARY_MAX, TITLE_MAX, Article, Membership, Publication, Version

from . import manuscript
from .manuscript import Manuscript, NotPrintable


class ChangedMeanwhile(Exception):
    """A newer version was saved since the author opened this one; nothing was written."""


class SlugTaken(ValueError):
    """Another article or publication has this address; nothing was written."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A text that has been checked and rendered and can be saved as a version."""

    title: str
    summary: str
    markdown: str
    manuscript: Manuscript
    note: str = ""


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices for people and for agents, in micros."""

    people_micros: int
    agent_micros: int


@dataclass(frozen=True, slots=True)
class Opened:
    """What an author had before them when the editor opened: the version's number, and the price versions by id."""

    version: int
    people_price_id: int
    agents_price_id: int


def draft(title: str, markdown: str, summary: str = "", note: str = "") -> Draft:
    """Check and render what an author typed. Raises NotPrintable with a sentence for the author.

    Rendering a long text takes a while: call this before a transaction and not inside one.
    """
    title = manuscript.one_line(title)
    if not title:
        raise NotPrintable("Enter a title.")
    if len(title) > TITLE_MAX:
        raise NotPrintable(f"The title can have at most {TITLE_MAX} characters.")
    markdown = manuscript.plain_text(markdown)
    return Draft(
        title=title,
        summary=manuscript.one_line(summary)[:SUMMARY_MAX],
        markdown=markdown,
        manuscript=manuscript.prepare(markdown),
        note=manuscript.one_line(note)[:200],
    )


def create_publication(name: str, *, owner: Person, slug: str = "", **details: str) -> Publication:
    """Create a publication with its first owner.

    Raises SlugTaken when the wanted slug is taken. A slug made from the name gets a number or a random tail instead.
    """
    for candidate in _slugs(slug, name, "publication"):
        try:
            with transaction.atomic():
                publication = Publication.objects.create(name=name, slug=candidate, **details)
                Membership.objects.create(publication=publication, user=owner, role=Membership.OWNER)
                return publication
        except IntegrityError:
            if not Publication.objects.filter(slug=candidate).exists():
                raise
    raise SlugTaken("Another publication already uses this address. Choose a different one.")


def create_article(
    publication: Publication, text: Draft, prices: Prices, *, by: Person | None, slug: str = ""
) -> Article:
    """Create a draft article with its first version and both prices, in one database transaction.

    Raises SlugTaken when the wanted slug is taken.
    """
    for candidate in _slugs(slug, text.title, "article"):
        try:
            with transaction.atomic():
                article = Article.objects.create(publication=publication, slug=candidate)
                pricing.first_prices(
                    article, people_micros=prices.people_micros, agent_micros=prices.agent_micros, by=by
                )
                _add_version(article, text, number=1, by=by)
                return article
        except IntegrityError:
            if not Article.objects.filter(slug=candidate).exists():
                raise
    raise SlugTaken("Another article already uses this address. Choose a different one.")


def save_version(article: Article, text: Draft, *, by: Person | None, base: int) -> Version:
    """Save the next version after number `base`; returns the current version when nothing differs.

    Raises ChangedMeanwhile when `base` is no longer the newest version.
    """
    with transaction.atomic():
        current = Version.objects.filter(article=article).order_by("-number").first()
        if current is None or current.number != base:
            raise ChangedMeanwhile("Someone saved a newer version.")
        if (current.title, current.summary, current.markdown) == (text.title, text.summary, text.markdown):
            return current
        try:
            with transaction.atomic():
                return _add_version(article, text, number=base + 1, by=by)
        except IntegrityError as taken:
            # The check above avoids an error in the usual case; the unique version number decides.
            raise ChangedMeanwhile("Someone saved a newer version.") from taken


def revise(article: Article, text: Draft, prices: Prices, *, by: Person | None, opened: Opened) -> Version:
    """Save a text and both prices together, or nothing.

    Raises ChangedMeanwhile or pricing.PriceChangedMeanwhile when one of the three has changed since `opened`.
    """
    with transaction.atomic():
        version = save_version(article, text, by=by, base=opened.version)
        pricing.change_price(article, pricing.PEOPLE, prices.people_micros, by=by, was=opened.people_price_id)
        pricing.change_price(article, pricing.AGENTS, prices.agent_micros, by=by, was=opened.agents_price_id)
    return version


def move(article: Article, slug: str) -> None:
    """Move a draft to another address. An article that was ever on sale keeps its own: links and quotes name it."""
    try:
        with transaction.atomic():
            moved = Article.objects.filter(pk=article.pk, published_at=None).update(slug=slug)
    except IntegrityError as taken:
        raise SlugTaken("Another article already uses this address. Choose a different one.") from taken
    if moved:
        article.slug = slug


def publish(article: Article) -> bool:
    """Put an article on sale; True when this call did it."""
    waiting = Article.objects.filter(
        pk=article.pk, state__in=[Article.DRAFT, Article.WITHDRAWN], current_version__isnull=False
    )
    return _changed(waiting.update(state=Article.PUBLISHED, published_at=Coalesce("published_at", Now())))


def withdraw(article: Article) -> bool:
    """Take an article off sale; its buyers keep access. True when this call did it."""
    return _changed(Article.objects.filter(pk=article.pk, state=Article.PUBLISHED).update(state=Article.WITHDRAWN))


def _changed(rows: int) -> bool:
    if rows:
        notify.send()
    return rows == 1


def _add_version(article: Article, text: Draft, *, number: int, by: Person | None) -> Version:
    version = Version.objects.create(
        article=article,
        number=number,
        title=text.title,
        summary=text.summary,
        markdown=text.markdown,
        note=text.note,
        words=text.manuscript.words,
        teaser_html=text.manuscript.teaser_html,
        body_html=text.manuscript.body_html,
        made_by=by,
    )
    Article.objects.filter(pk=article.pk).update(current_version=version)
    article.current_version = version
    notify.send()
    return version


def _slugs(wanted: str, name: str, fallback: str) -> list[str]:
    """The slugs to try, in order: the wanted one alone, or the name's, then with a number, then with a random tail."""
    if wanted:
        return [wanted]
    stem = "-".join(re.findall("[a-z0-9]+", slugify(name)))[: SLUG_MAX - 10].strip("-") or fallback
    numbered = [f"{stem}-{n}" for n in range(2, 6)]
    return [stem, *numbered, f"{stem}-{secrets.token_hex(4)}"]
