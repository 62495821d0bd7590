"""The mail about a publication's first sale."""

from datetime import timedelta

import pytest
from django.core import mail as outbox
from django.utils import timezone

from payments.models import Payment
from publishers import first_sale, tasks
from tests import cast

pytestmark = pytest.mark.django_db


def test_the_owners_are_told_of_the_first_sale_once():
    alice = cast.person("alice")
    publication = cast.publication(alice)
    cast.editor(publication)
    article = cast.article(publication)
    assert first_sale.send_due() == 0
    for _ in range(2):
        cast.sale(article)
        tasks.mail_first_sales()
    (mail,) = outbox.outbox
    assert mail.to == [alice.email]
    assert mail.subject == "The Lantern has its first sale"
    assert "“Owls” for $0.05" in mail.body


def test_an_old_first_sale_is_no_news():
    cast.sale(cast.article(cast.publication(cast.person("alice"))))
    Payment.objects.update(decided_at=timezone.now() - timedelta(days=4))
    assert (first_sale.send_due(), outbox.outbox) == (0, [])


def test_of_two_workers_one_tells_it(monkeypatch: pytest.MonkeyPatch):
    cast.sale(cast.article(cast.publication(cast.person("alice"))))
    sold = list(first_sale._sold())
    first_sale.send_due()
    monkeypatch.setattr(first_sale, "_sold", lambda: sold)
    assert (first_sale.send_due(), len(outbox.outbox)) == (0, 1)
