"""A publication's first sale: its owners are told by mail, once."""

from datetime import timedelta

from django.conf import settings
from django.db.models import CharField, Exists, OuterRef, QuerySet, Value
from django.db.models.functions import Cast, Concat
from django.utils import timezone

from payments import jobs, mailing
from payments.models import OWNED, Payment
from payments.money import dollars

from .models import Article, Membership, Publication

_AT_ONCE = 100
# An older first sale is no news, for instance when this feature comes with an upgrade.
_NEWS = timedelta(days=3)


def send_due() -> int:
    """Tell the owners of publications that have sold for the first time. Returns how many publications."""
    sent = 0
    for publication in jobs.in_time(_sold()[:_AT_ONCE]):
        untold = Publication.objects.filter(pk=publication.pk, first_sale_told_at=None)
        if untold.update(first_sale_told_at=timezone.now()):
            sent += _send(publication)
    return sent


def _sold() -> QuerySet[Publication]:
    sales = Payment.objects.filter(payee=OuterRef("name_as_payee"), state__in=OWNED)
    name = Concat(Value("publisher:"), Cast("pk", CharField()))
    return Publication.objects.filter(first_sale_told_at=None).annotate(name_as_payee=name).filter(Exists(sales))


def _send(publication: Publication) -> bool:
    sales = Payment.objects.filter(payee=publication.payee, state__in=OWNED, decided_at__isnull=False)
    first = sales.order_by("decided_at").first()
    if first is None or first.decided_at is None or first.decided_at < timezone.now() - _NEWS:
        return False
    owners = Membership.objects.filter(publication=publication, role=Membership.OWNER, user__is_active=True)
    title = Article.objects.filter(pk=first.resource.removeprefix("article:")).select_related("current_version").first()
    return mailing.send(
        [email for email in owners.values_list("user__email", flat=True) if email],
        f"{publication.name} has its first sale",
        f"A reader bought “{title or first.resource}” for {dollars(first.amount_micros)}. Congratulations!\n\n"
        f"Your sales:\n{settings.BASE_URL}/studio/",
    )
