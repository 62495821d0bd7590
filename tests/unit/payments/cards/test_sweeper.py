"""The sweeper finishes what others left, whatever else it meets, and asks nothing when there is nothing to do."""

from datetime import timedelta

import pytest
from django.utils import timezone

from payments import fulfilment, gate, purses, tasks
from payments.cards import checkout, refunds
from payments.models import CardRefund, Charge, Payment
from tests import buyers
from tests.bank import Bank, newest
from tests.buyers import balance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def test_a_crash_between_the_money_and_the_article_is_mended_by_the_sweeper(bank, monkeypatch):
    purse = buyers.purse()
    bank.pay(checkout.top_up(purse, 500, "/", buyers.offer()))
    monkeypatch.setattr(fulfilment, "fulfil", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fulfilment.returned(newest(purse).id)
    monkeypatch.undo()
    assert balance(purse) == 5_000_000
    bank.later()
    assert balance(purse) == 4_950_000


def test_an_idle_sweep_asks_the_processor_nothing(bank):
    before = len(bank.requests())
    bank.later()
    assert len(bank.requests()) == before


def test_an_article_that_was_given_back_is_not_bought_again_after_a_crash(bank, monkeypatch):
    purse = buyers.purse()
    bank.pay(checkout.top_up(purse, 500, "/", buyers.offer()))
    verify = gate.verify

    def dying(*args):
        verify(*args).settle()
        raise KeyboardInterrupt

    monkeypatch.setattr(gate, "verify", dying)
    with pytest.raises(KeyboardInterrupt):
        fulfilment.returned(newest(purse).id)
    monkeypatch.setattr(gate, "verify", verify)
    purses.refund(Payment.objects.get().id, purse)
    bank.later()
    assert balance(purse) == 5_000_000
    assert newest(purse).fulfilled_at


def test_the_sweeper_goes_on_after_what_it_cannot_understand(bank: Bank, monkeypatch: pytest.MonkeyPatch):
    purse = buyers.purse()
    charge = bank.top_up(purse, 1000)
    bank.fault("/v1/refunds$", "drop", "before", method="POST")
    refunds.to_card(purse, charge, 1_000_000)
    CardRefund.objects.update(made_at=timezone.now() - timedelta(hours=1))
    bank.pay(checkout.top_up(buyers.purse(), 500, "/"))
    Charge.objects.update(look_at=timezone.now())
    monkeypatch.setattr("payments.cards.charges.look", lambda charge: 1 // 0)
    tasks.sweep_cards()
    assert CardRefund.objects.get().state == "done"
    monkeypatch.undo()
    bank.later()
    bank.agrees()
