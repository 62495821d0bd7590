"""Mail where money moved: one receipt for each card payment, and to those whose answer or attention is needed."""

import re
from datetime import timedelta
from smtplib import SMTPRecipientsRefused
from typing import Any
from urllib.parse import unquote

import pytest
from django.core import mail as outbox
from django.utils import timezone

from payments import card_receipts, jobs, mailing, tasks
from payments.cards import checkout, disputes
from payments.models import Approval, Charge, Purse
from payments.purses import approval_mail
from tests import buyers
from tests.bank import Bank
from tests.unit.payments.cards.rows import disputed, moved, paid

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def reader(micros: int = 0, **more: Any) -> Purse:
    purse = buyers.purse(micros, **more)
    Purse.objects.filter(id=purse.id).update(email="reader@example.org")
    purse.refresh_from_db()
    return purse


def test_a_top_up_has_one_receipt(bank: Bank):
    bank.top_up(reader())
    assert [card_receipts.send_due(), card_receipts.send_due()] == [1, 0]
    (mail,) = outbox.outbox
    assert (mail.to, mail.subject) == (["reader@example.org"], "Receipt for $5.00")
    assert "It was added to your balance." in mail.body


def test_the_receipt_of_an_article_has_a_link_that_opens_it_again(bank: Bank):
    purse = reader(owner="guest:7")
    bank.top_up(purse, 500, buyers.offer(1, 250_000))
    tasks.send_mail()
    body = outbox.outbox[0].body
    assert "“Article 1”" in body
    assert "sign in with this email address" in body
    found = re.search(r"/library\?mailed=(\S+)", body)
    assert found
    grant = card_receipts.grant_of(unquote(found[1]))
    assert grant is not None
    assert grant.resource == buyers.offer(1).resource


def test_the_receipt_says_that_an_article_could_not_be_bought(bank: Bank):
    purse = reader()
    url = checkout.top_up(purse, 500, "/", buyers.offer(1, 6_000_000))
    bank.pay(url)
    bank.bring()
    card_receipts.send_due()
    assert "could not be bought" in outbox.outbox[0].body


def test_a_tab_that_was_charged_has_a_receipt(bank: Bank):
    bank.owing()
    tasks.charge_tabs()
    card_receipts.send_due()
    assert "It paid what you owed on your tab." in outbox.outbox[-1].body


OLD = timezone.now() - timedelta(days=4)


@pytest.mark.parametrize("without", [{"state": "failed"}, {"fulfilled_at": None}, {"decided_at": OLD}])
def test_what_is_unpaid_unfinished_or_old_has_none(without: dict[str, Any]):
    charge = paid(reader())
    Charge.objects.update(**without)
    assert card_receipts.send_due() == 0
    Charge.objects.update(state=charge.state)


def test_of_two_workers_one_sends_the_receipt(monkeypatch: pytest.MonkeyPatch):
    paid(reader())
    due = list(card_receipts._due())
    Charge.objects.update(receipt_sent_at=timezone.now())
    monkeypatch.setattr(card_receipts, "_due", lambda: due)
    assert (card_receipts.send_due(), outbox.outbox) == (0, [])


def test_a_receipt_that_could_not_be_sent_is_sent_by_the_next_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    asked: list[object] = []

    def away(*_: Any) -> None:
        asked.append(1)
        raise SMTPRecipientsRefused({"reader@example.org": (550, b"no")})

    for intent in ("pi_1", "pi_2"):
        paid(reader(), intent=intent)
    with monkeypatch.context() as here:
        here.setattr(mailing, "send_mail", away)
        assert card_receipts.send_due() == 0
    assert len(asked) == 1
    assert "could not be sent (SMTPRecipientsRefused): Receipt for $10.00" in caplog.text
    assert "reader@" not in caplog.text
    assert card_receipts.send_due() == 2


def test_mail_ends_with_its_jobs_time(monkeypatch: pytest.MonkeyPatch):
    paid(reader())
    monkeypatch.setattr(jobs, "goes_on", lambda: False)
    assert card_receipts.send_due() == 0


# --- Approvals -----------------------------------------------------------------------------------------------------


def ask(text: str, number: int) -> None:
    with pytest.raises(Exception, match="approval_required"):
        buyers.present(text, buyers.offer(number, 200_000))


def test_an_owner_is_mailed_once_an_hour_whatever_agents_ask():
    purse = reader(5_000_000)
    text = buyers.key(purse, approve_above_micros=100_000)
    for number in (1, 2):
        ask(text, number)
    assert [approval_mail.send_due(), approval_mail.send_due()] == [1, 0]
    (mail,) = outbox.outbox
    assert mail.subject == "Waiting for your approval: 2 purchases"
    assert all(words in mail.body for words in ("“Article 1” for $0.20", "“Article 2”", "/purse/approvals"))
    ask(text, 3)
    assert approval_mail.send_due() == 0
    Approval.objects.exclude(mailed_at=None).update(mailed_at=timezone.now() - timedelta(hours=2))
    assert approval_mail.send_due() == 1


def test_an_approval_that_is_asked_again_is_mailed_again_but_not_within_the_hour():
    text = buyers.key(reader(5_000_000), approve_above_micros=100_000)
    ask(text, 1)
    approval_mail.send_due()
    for wait in (False, True):
        if wait:
            Approval.objects.update(mailed_at=timezone.now() - timedelta(hours=2))
        with pytest.raises(Exception, match="approval_required"):
            buyers.present(text, buyers.offer(1, 300_000 + wait))
        assert approval_mail.send_due() == wait


@pytest.mark.parametrize("why", ["answered", "revoked", "no address"])
def test_nobody_is_mailed_about_what_waits_for_nobody(why: str):
    purse = reader(5_000_000)
    ask(buyers.key(purse, approve_above_micros=100_000), 1)
    if why == "answered":
        Approval.objects.update(state="declined")
    elif why == "revoked":
        purse.keys.update(revoked_at=timezone.now())
    else:
        Purse.objects.update(email="")
    assert approval_mail.send_due() == 0


# --- Staff -----------------------------------------------------------------------------------------------------------


def test_staff_are_told_of_a_dispute_once(settings: Any):
    settings.STAFF_EMAILS = ["till@example.org"]
    paid(reader())
    for status in ("needs_response", "under_review"):
        disputes.apply(disputed(status, moved("txn_1", -1000)))
    (mail,) = outbox.outbox
    assert (mail.to, mail.subject) == (["till@example.org"], "Dispute over $10.00")


def test_without_addresses_of_staff_nothing_is_sent():
    paid(reader())
    disputes.apply(disputed("needs_response", moved("txn_1", -1000)))
    assert outbox.outbox == []
