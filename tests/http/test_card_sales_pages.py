"""What publishers and the owner see of card sales: pending until the money is cleared, never more than the books."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from payments import purses
from payments.cards import holds
from payments.models import Charge
from publishers.articles import catalogue
from publishers.models import Publication
from tests import buyers, cast

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


@pytest.fixture
def lantern() -> Publication:
    return cast.publication(cast.person("alice"))


@pytest.fixture
def browser(lantern) -> Client:
    return cast.signed_in(lantern.members.get())


def _sold(lantern: Publication, title: str = "Owls"):
    made = cast.article(lantern, title)
    offer = catalogue.listing(made.pk).offer("people", mime_type="text/html")
    purse = buyers.purse(1_000_000)
    return purse, buyers.press(purse, offer).payment


def test_a_card_sale_is_pending_and_says_why(lantern, browser):
    cast.sale(cast.article(lantern, "Herons"))
    _, payment = _sold(lantern)
    page = browser.get(f"/studio/{lantern.slug}/balance").content.decode()
    assert 'From cards, <em>pending</em></th><td class="num">$0.2375<' in page
    assert 'From wallets, available</th><td class="num">$0.00' in page
    assert 'From wallets, <em>not final</em></th><td class="num">$0.0475<' in page
    assert "Balance: $0.285" in page
    assert "and 7 days have passed" in page
    assert "$0.285 not available yet" in browser.get(f"/studio/{lantern.slug}").content.decode()
    assert browser.get(f"/studio/{lantern.slug}/sales").content.decode().count(">Pending<") == 1
    sale = browser.get(f"/studio/{lantern.slug}/sales/{payment.pk}").content.decode()
    assert "(pending: paid by card, not available yet)" in sale
    assert "0.2375" in browser.get(f"/studio/{lantern.slug}/sales.csv").getvalue().decode()


def test_when_it_is_cleared_it_is_earned_and_the_balance_is_the_same(lantern, browser):
    _sold(lantern)
    Charge.objects.update(available_at=timezone.now())
    assert holds.clear(timezone.now() + timedelta(days=8)) == 1
    page = browser.get(f"/studio/{lantern.slug}/balance").content.decode()
    assert 'From cards, available</th><td class="num">$0.2375<' in page
    assert "Balance: $0.2375" in page
    assert ">Pending<" not in browser.get(f"/studio/{lantern.slug}/sales").content.decode()


def test_what_was_given_back_is_shown_in_words(lantern, browser):
    purse, payment = _sold(lantern)
    purses.refund(payment.id, purse)
    page = browser.get(f"/studio/{lantern.slug}/balance").content.decode()
    assert "Refunded to the buyer" in page
    assert "Balance: $0.00" in page


def test_the_owner_sees_what_cards_hold_owe_and_cost(lantern):
    _sold(lantern)
    owing = buyers.purse(tab=1_000_000)
    buyers.press(owing, buyers.offer(9, 600_000))
    staff = cast.staff()
    page = cast.signed_in(staff).get("/finance/earnings").content.decode()
    for line in (
        "Held by the card processor</dt><dd>$1.00<",
        "Prepaid by buyers</dt><dd>$0.75<",
        "tabs</dt><dd>$0.60<",
    ):
        assert line in page
