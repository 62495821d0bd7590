"""Every table of the sellers: publications and their members, articles, their versions and their prices.

Text and prices are only ever added. Editing makes a new Version; changing a price closes one PriceVersion and opens the
next. `writing` and `pricing` do both. No money is recorded here.
"""

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, OuterRef, Q, Subquery
from django.db.models.functions import Cast
from django.utils import timezone

from payments.books import accounts
from payments.money import MAX_PRICE_MICROS, MIN_PRICE_MICROS

PEOPLE = "people"
AGENTS = "agents"
AUDIENCES = (PEOPLE, AGENTS)
TITLE_MAX = 200
SUMMARY_MAX = 300
SLUG_MAX = 120


def payee_of(publication_id: int) -> str:
    """The name under which payments knows a publication: "publisher:7"."""
    return f"publisher:{publication_id}"


def publication_id_of(payee: str) -> str:
    """The id of the publication that payments knows under this name."""
    return payee.removeprefix("publisher:")


class Publication(models.Model):
    """A seller: the name over its articles, and the payee to whom the books owe money."""

    name = models.CharField(max_length=100)
    slug = models.SlugField(max_length=SLUG_MAX, unique=True)
    description = models.CharField(max_length=SUMMARY_MAX, blank=True)
    time_zone = models.CharField(max_length=64, default="UTC")
    made_at = models.DateTimeField(default=timezone.now, editable=False)
    first_sale_told_at = models.DateTimeField(null=True, editable=False)
    members: models.ManyToManyField = models.ManyToManyField(
        settings.AUTH_USER_MODEL, through="Membership", related_name="publications"
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def payee(self) -> str:
        """The name under which payments knows this publication."""
        return payee_of(self.pk)

    @property
    def earned_account(self) -> str:
        """The account of the books that holds what this publication has earned."""
        return accounts.earned(self.payee)

    @property
    def accounts(self) -> tuple[str, str]:
        """The publication's accounts in the books: what it has earned, and its pending share of card money on hold."""
        return self.earned_account, accounts.pending(self.payee)

    def get_absolute_url(self) -> str:
        return f"/publications/{self.slug}"


class Membership(models.Model):
    """One person's role in one publication. Owners and editors may both write, price and publish."""

    OWNER = "owner"
    EDITOR = "editor"
    ROLES = [(OWNER, "Owner"), (EDITOR, "Editor")]

    publication = models.ForeignKey(Publication, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=ROLES, default=EDITOR)
    made_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["publication", "user"], name="membership_once"),
            models.CheckConstraint(condition=Q(role__in=["owner", "editor"]), name="membership_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.publication}"


class ArticleQuerySet(models.QuerySet["Article"]):
    """Queries over many articles."""

    def on_sale(self) -> "ArticleQuerySet":
        """The articles that the shop shows to the public, newest first, with both prices and without the paid text."""
        return self.filter(state=Article.PUBLISHED).for_lists().order_by("-published_at", "id")

    def for_lists(self) -> "ArticleQuerySet":
        """Publication, current version and both prices in the same query; the paid text stays in the database."""
        return (
            self.select_related("publication", "current_version")
            .defer("current_version__body_html", "current_version__markdown")
            .annotate(people_price_micros=_open_price(PEOPLE), agent_price_micros=_open_price(AGENTS))
        )

    def search(self, words: str) -> "ArticleQuerySet":
        """Articles whose title, summary, teaser or publication contains every word. Never searches the paid text."""
        found = self
        for word in words.split()[:8]:
            found = found.filter(
                Q(current_version__title__icontains=word)
                | Q(current_version__summary__icontains=word)
                | Q(current_version__teaser_html__icontains=word)
                | Q(publication__name__icontains=word)
            )
        return found


def _open_price(audience: str) -> Subquery:
    open_prices = PriceVersion.objects.filter(article=OuterRef("pk"), audience=audience, ends_at=None)
    return Subquery(open_prices.values("amount_micros"))


class Article(models.Model):
    """One article that can be bought. Its text is in its versions, its prices in its price versions."""

    DRAFT = "draft"
    PUBLISHED = "published"
    WITHDRAWN = "withdrawn"
    STATES = [(DRAFT, "Draft"), (PUBLISHED, "Published"), (WITHDRAWN, "Unpublished")]

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    publication = models.ForeignKey(Publication, models.PROTECT, related_name="articles")
    slug = models.SlugField(max_length=SLUG_MAX, unique=True)
    state = models.CharField(max_length=10, choices=STATES, default=DRAFT)
    current_version = models.ForeignKey("Version", models.PROTECT, null=True, editable=False, related_name="+")
    published_at = models.DateTimeField(null=True, editable=False)
    made_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ArticleQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["state", "-published_at"], name="article_on_sale")]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=["draft", "published", "withdrawn"]), name="article_state"),
            models.CheckConstraint(
                condition=Q(state="draft") | Q(current_version__isnull=False, published_at__isnull=False),
                name="article_published_has_text",
            ),
        ]

    def __str__(self) -> str:
        return self.current_version.title if self.current_version else self.slug

    @property
    def resource(self) -> str:
        """The name under which payments knows this article."""
        return f"article:{self.pk}"

    @property
    def url(self) -> str:
        """The canonical address, from the configured origin."""
        return f"{settings.BASE_URL}{self.get_absolute_url()}"

    def get_absolute_url(self) -> str:
        return f"/articles/{self.slug}"


class AppendOnly(models.Model):
    """A row that is written once: saving it again raises TypeError."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError(f"A {self._meta.verbose_name} is never changed: add the next one.")
        super().save(*args, **kwargs)


class Version(AppendOnly):
    """The text of an article at one moment, with the HTML that was rendered when it was saved.

    The long columns come last, so that reading the teaser does not read the body from the disk.
    """

    article = models.ForeignKey(Article, models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    title = models.CharField(max_length=TITLE_MAX)
    summary = models.CharField(max_length=SUMMARY_MAX, blank=True)
    words = models.PositiveIntegerField()
    made_at = models.DateTimeField(default=timezone.now)
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    note = models.CharField(max_length=200, blank=True)
    teaser_html = models.TextField()
    body_html = models.TextField()
    markdown = models.TextField()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["article", "number"], name="version_number_once"),
            models.CheckConstraint(condition=Q(number__gte=1), name="version_number_from_one"),
        ]

    def __str__(self) -> str:
        return f"{self.title} (version {self.number})"


class PriceVersion(AppendOnly):
    """What one audience pays for one article, from `starts_at` until `ends_at` (null: until further notice).

    A buyer's quote names one of these rows, so an amount never changes; only `ends_at` is set, once.
    """

    article = models.ForeignKey(Article, models.PROTECT, related_name="prices")
    audience = models.CharField(max_length=10, choices=[(PEOPLE, "People"), (AGENTS, "Agents")])
    amount_micros = models.BigIntegerField()
    starts_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField(null=True)
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")

    class Meta:
        ordering = ["-starts_at", "-id"]
        indexes = [models.Index(fields=["article", "ends_at"], name="price_in_force")]
        constraints = [
            models.UniqueConstraint(
                fields=["article", "audience"], condition=Q(ends_at=None), name="price_one_open_per_audience"
            ),
            models.CheckConstraint(condition=Q(audience__in=["people", "agents"]), name="price_audience"),
            models.CheckConstraint(
                condition=Q(amount_micros__gte=MIN_PRICE_MICROS, amount_micros__lte=MAX_PRICE_MICROS),
                name="price_bounds",
            ),
            # SQLite would accept 1000.5 in an integer column.
            models.CheckConstraint(
                condition=Q(amount_micros=Cast("amount_micros", models.BigIntegerField())), name="price_whole_micros"
            ),
            models.CheckConstraint(
                condition=Q(ends_at=None) | Q(ends_at__gte=F("starts_at")), name="price_ends_after_start"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.article_id} for {self.audience}: {self.amount_micros} micros"
