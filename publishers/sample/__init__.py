"""The sample catalogue: original articles as Markdown files, and logins for people who sell and read them.

Each file starts with a header between `---` lines: title, publication, slug, people, agents (prices in USD), summary.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser as Person
from django.utils.text import slugify

from payments.money import parse_usd
from publishers.articles import writing
from publishers.models import Article, Membership, Publication

FOLDER = Path(__file__).parent
LOGINS = ("publisher", "reader", "admin")


@dataclass(frozen=True, slots=True)
class Sample:
    """One article file, parsed but not saved."""

    title: str
    publication: str
    slug: str
    people: str
    agents: str
    summary: str
    markdown: str


def read(path: Path) -> Sample:
    """Parse one file. A missing field raises an error that names it."""
    _, head, markdown = path.read_text(encoding="utf-8").split("---\n", 2)
    fields = dict(line.split(":", 1) for line in head.strip().splitlines())
    return Sample(**{name.strip(): value.strip() for name, value in fields.items()}, markdown=markdown.strip() + "\n")


def put_on_sale(publisher: Person) -> list[Article]:
    """Create and publish the missing articles. Existing articles stay unchanged."""
    articles = []
    for path in sorted(FOLDER.glob("*.md")):
        sample = read(path)
        article = Article.objects.filter(slug=sample.slug).first()
        if article is None:
            text = writing.draft(sample.title, sample.markdown, sample.summary)
            prices = writing.Prices(parse_usd(sample.people), parse_usd(sample.agents))
            publication = _publication(sample.publication, publisher)
            article = writing.create_article(publication, text, prices, by=publisher, slug=sample.slug)
            writing.publish(article)
        articles.append(article)
    return articles


def people() -> dict[str, tuple[Person, str]]:
    """A publisher, a reader and an administrator by role, each with a new random password."""
    found, accounts = {}, get_user_model().objects
    for name in LOGINS:
        email, password = f"{name}@example.org", secrets.token_urlsafe(15)
        user = accounts.filter(email=email).first() or accounts.create_user(email)
        user.is_staff = user.is_superuser = name == "admin"
        user.set_password(password)
        user.save()
        EmailAddress.objects.update_or_create(user=user, email=email, defaults={"verified": True, "primary": True})
        found[name] = (user, password)
    return found


def authenticator_key(person: Person) -> str:
    """Give a person a new authenticator app, as staff need one. Returns the key that the app is set up with."""
    Authenticator.objects.filter(user=person, type=Authenticator.Type.TOTP).delete()
    key = generate_totp_secret()
    TOTP.activate(person, key)
    return key


def _publication(name: str, publisher: Person) -> Publication:
    publication = Publication.objects.filter(slug=slugify(name)).first()
    if publication is None:
        return writing.create_publication(name, owner=publisher, slug=slugify(name))
    Membership.objects.get_or_create(publication=publication, user=publisher, defaults={"role": Membership.OWNER})
    return publication
