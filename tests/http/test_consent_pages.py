"""The balance page on consent: cards that are kept, pages that end in other ways, and what money back costs."""

import pytest

from payments.models import Card, Charge, Purse
from tests import bank as banks
from tests.bank import Bank
from tests.visitor import CANARY, Visitor, bought, paid, reader

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def fresh(purse: Purse) -> Purse:
    purse.refresh_from_db()
    return purse


@pytest.mark.parametrize("ticked", [True, False])
def test_a_top_up_saves_the_card_only_when_the_box_is_ticked(bank: Bank, ticked: bool):
    visitor, purse, _ = reader()
    tick = "keep_card" if ticked else ""
    visitor.client.get(paid(visitor.press("/purse", "/purse/top-up", tick=tick, amount="500")["Location"]))
    assert fresh(purse).balance_micros == 5_000_000
    assert ("ending in 4242" in visitor.see("/purse")) is ticked


def test_a_guest_has_no_box_and_saves_no_card(bank: Bank):
    guest = Visitor()
    assert "keep_card" not in guest.see("/purse")
    guest.client.get(paid(guest.press("/purse", "/purse/top-up", tick="keep_card", amount="500")["Location"]))
    assert not Card.objects.exists()


def test_a_payment_that_takes_days_is_said(bank: Bank):
    visitor, purse, _ = reader()
    url = visitor.press("/purse", "/purse/top-up", amount="500")["Location"]
    done = bank.pay(url, bank_account=True)["return_to"].removeprefix("http://localhost:8000")
    assert "can take a few days" in visitor.client.get(done, follow=True).content.decode()
    bank.do(f"payment_intents/{banks.newest(purse).intent}/arrive", paid=False)
    assert "did not go through" in visitor.client.get(done, follow=True).content.decode()


def test_leaving_a_page_that_nobody_can_tell_about_promises_nothing(bank: Bank):
    visitor, _, _ = reader()
    visitor.press("/purse", "/purse/top-up", amount="500")
    Charge.objects.update(session="cs_of_another_account")
    page = visitor.client.get("/purse/canceled", follow=True).content.decode()
    assert "has no record of this payment" in page
    assert "You have not been charged" not in page


def test_something_that_is_no_card_is_not_saved_and_that_is_said(bank: Bank):
    visitor, _, _ = reader()
    url = visitor.press("/purse", "/purse/cards")["Location"]
    done = bank.pay(url, bank_account=True)["return_to"].removeprefix("http://localhost:8000")
    assert "because it is not a card" in visitor.client.get(done, follow=True).content.decode()


def test_the_fee_that_the_processor_keeps_is_shown_before_a_refund(bank: Bank, settings):
    settings.REFUND_FEE_PAID_BY = "buyer"
    visitor, purse, _ = reader()
    bank.top_up(purse)
    page = visitor.see("/purse")
    assert "less the $0.45 fee" in page
    assert "Refund $4.55" in page
    visitor.press("/purse", "/purse/withdraw")
    page = visitor.see("/purse")
    assert "We are refunding $4.55 to your card" in page
    assert "Card fee of a refund" in page
    assert fresh(purse).balance_micros == 0


@pytest.mark.parametrize("suffix", [".md", ".json"])
def test_what_was_read_as_a_machine_reads_it_is_not_given_back(suffix: str):
    visitor, _, _, address = bought()
    assert "Refund $0.25" in visitor.see("/library")
    assert CANARY in visitor.see(f"{address}{suffix}")
    assert "Refund $0.25" not in visitor.see("/library")


def test_no_more_is_given_back_than_a_day_allows(settings):
    settings.REFUNDS_PER_DAY = 0
    visitor, _, payment, _ = bought()
    assert "Refund $0.25" not in visitor.see("/library")
    visitor.client.post(f"/purse/refund/{payment.pk}")
    payment.refresh_from_db()
    assert payment.state == "confirmed"
