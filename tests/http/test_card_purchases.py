"""Buying by card, without any script: through the hosted page and back, as a guest or signed in."""

import re
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.core import mail as outbox

from payments import card_receipts, purses, tasks
from payments.cards import stripe_api
from payments.models import Payment
from payments.purses import joining
from publishers import pricing
from tests import bank as banks
from tests import buyers
from tests.bank import Bank
from tests.buyers import balance
from tests.visitor import CANARY, HTML, Forms, Visitor, owls, paid, path, reader

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def test_a_guest_fills_a_balance_and_comes_straight_back_to_the_open_article(bank: Bank):
    article, guest = owls(), Visitor()
    address = article.get_absolute_url()
    answer = guest.press(address, f"{address}/pay", seen=402, amount="500")
    assert answer.status_code == 303
    assert answer["Location"].startswith(bank.url)
    back = paid(answer["Location"])
    assert back == f"/purse/return/{banks.newest(guest.purse()).pk}"
    home = guest.client.get(back, headers=HTML)
    assert (home.status_code, home["Location"]) == (303, f"{address}#article")
    page = guest.see(address)
    assert CANARY in page
    assert "We charged $5.00 to your card, and the article is yours." in page
    assert balance(guest.purse()) == 4_750_000
    assert "Owls" in guest.see("/library")
    assert "$4.75" in guest.see("/purse")
    bank.agrees()


def test_the_second_article_is_bought_from_what_is_left(bank: Bank):
    first, second, guest = owls(), owls(title="Bats"), Visitor()
    address = first.get_absolute_url()
    bought = guest.press(address, f"{address}/pay", seen=402, amount="500")["Location"]
    guest.client.get(paid(bought))
    address = second.get_absolute_url()
    assert "from your balance ($4.75)" in guest.see(address, 402)
    guest.press(address, f"{address}/buy", seen=402)
    assert CANARY in guest.see(address)
    assert balance(guest.purse()) == 4_500_000


def test_the_link_in_a_receipts_mail_opens_the_article_in_another_browser(bank: Bank):
    article, guest, other = owls(), Visitor(), Visitor()
    address = article.get_absolute_url()
    guest.client.get(paid(guest.press(address, f"{address}/pay", seen=402, amount="500")["Location"]))
    tasks.send_mail()
    (mail,) = outbox.outbox
    assert mail.to == ["ada@example.com"]
    assert "“Owls” was bought from it for $0.25" in mail.body
    link = next(word for word in mail.body.split() if "mailed=" in word).removeprefix(settings.BASE_URL)
    assert "Your receipt has an article to open" in other.see(link)
    assert other.press(link, "/library").headers["Location"] == address
    assert CANARY in other.see(address)
    assert balance(guest.purse()) == 4_750_000


@pytest.mark.parametrize("wrong", ["forged", "refunded", "expired"])
def test_a_link_that_is_forged_or_whose_purchase_was_refunded_opens_nothing(bank: Bank, monkeypatch, wrong: str):
    article, guest, other = owls(), Visitor(), Visitor()
    address = article.get_absolute_url()
    guest.client.get(paid(guest.press(address, f"{address}/pay", seen=402, amount="500")["Location"]))
    tasks.send_mail()
    link = next(word for word in outbox.outbox[0].body.split() if "mailed=" in word).removeprefix(settings.BASE_URL)
    if wrong == "forged":
        link = link[:-1] + ("A" if link[-1] != "A" else "B")
    elif wrong == "refunded":
        purses.refund(Payment.objects.get().pk, guest.purse())
    else:
        monkeypatch.setattr(card_receipts, "_LINK_SECONDS", -1)
    assert other.press(link, "/library").headers["Location"] == "/library"
    assert "no longer opens an article" in other.see("/library")
    other.see(address, 402)


def test_one_dear_article_is_paid_by_card_alone(bank: Bank):
    article = owls(3_000_001)
    guest, address = Visitor(), article.get_absolute_url()
    url = guest.press(address, f"{address}/pay", seen=402, amount="direct")["Location"]
    guest.client.get(paid(url))
    assert CANARY in guest.see(address)
    charge = banks.newest(guest.purse())
    assert (charge.purpose, charge.amount_micros) == ("direct", 3_010_000)
    assert balance(guest.purse()) == 9_999


def test_a_declined_card_leaves_the_article_closed_and_nobody_charged(bank: Bank):
    article, guest = owls(), Visitor()
    address = article.get_absolute_url()
    url = guest.press(address, f"{address}/pay", seen=402, amount="500")["Location"]
    assert not bank.pay(url, "4000000000000002")["paid"]
    charge = banks.newest(guest.purse())
    page = guest.client.get(f"/purse/return/{charge.pk}", headers=HTML)
    assert page.status_code == 200
    assert page["Refresh"].startswith("2; url=/purse/return/")
    guest.see(address, 402)
    assert balance(guest.purse()) == 0
    stripe_api.expire_session(charge.session)
    answer = guest.client.get(f"/purse/return/{charge.pk}", headers=HTML, follow=True)
    assert answer.redirect_chain == [(f"{address}#said", 303)]
    assert "You have not been charged." in answer.content.decode()


def left(visitor: Visitor, opened: Any) -> Any:
    """Follow the link on the hosted page that leads back without paying."""
    way = re.search(r'href="([^"]+)">Cancel', httpx.get(opened["Location"]).text)
    assert way
    return visitor.client.get(path(way[1]), headers=HTML, follow=True)


@pytest.mark.parametrize(("micros", "amount"), [(250_000, "500"), (3_000_000, "direct")])
def test_who_leaves_the_card_page_is_back_at_the_article_and_reads_that_nothing_was_charged(bank: Bank, micros, amount):
    article, guest = owls(micros), Visitor()
    address = article.get_absolute_url()
    back = left(guest, guest.press(address, f"{address}/pay", seen=402, amount=amount))
    assert (back.status_code, back.redirect_chain) == (402, [(f"{address}#said", 303)])
    assert "You left the card page without paying. You have not been charged." in back.content.decode()


def test_who_leaves_a_top_up_or_the_page_that_saves_a_card_reads_so_too(bank: Bank):
    visitor, purse, _ = reader()
    back = left(visitor, visitor.press("/purse", "/purse/top-up", amount="500"))
    assert back.redirect_chain == [("/purse#said", 303)]
    assert "You left the card page without paying. You have not been charged." in back.content.decode()
    back = left(visitor, visitor.press("/purse", "/purse/cards"))
    assert back.redirect_chain[-1] == ("/purse", 303)
    assert "No card was saved. You have not been charged." in back.content.decode()
    assert balance(purse) == 0


@pytest.mark.parametrize("answers", [True, False])
def test_who_paid_in_another_window_is_not_told_otherwise(bank: Bank, answers):
    article, guest = owls(), Visitor()
    address = article.get_absolute_url()
    opened = guest.press(address, f"{address}/pay", seen=402, amount="500")
    bank.pay(opened["Location"])
    if not answers:
        bank.fault("checkout/sessions", "500", times=4)
    page = guest.client.get(f"{address}/canceled", headers=HTML, follow=True)
    bank.no_faults()
    assert page.status_code == 200
    assert "You have not been charged" not in page.content.decode()
    assert ("the article is yours" in page.content.decode()) == answers


def test_who_has_opened_no_card_page_is_told_nothing():
    address = owls().get_absolute_url()
    for visitor in (Visitor(), reader()[0]):
        for opened, page in {
            "/purse/canceled": "/purse",
            "/purse/cards/canceled": "/purse",
            f"{address}/canceled": address,
        }.items():
            answer = visitor.client.get(opened, headers=HTML, follow=True)
            assert answer.redirect_chain[-1][0] == page
            assert "without paying" not in answer.content.decode()
    visitor.see("/articles/no-such-article/canceled", 404)


def test_while_the_processor_does_not_answer_the_page_waits_and_ends(bank: Bank):
    article, guest = owls(), Visitor()
    address = article.get_absolute_url()
    url = guest.press(address, f"{address}/pay", seen=402, amount="500")["Location"]
    back = paid(url)
    bank.fault("checkout/sessions", "500", times=2)
    waits = guest.client.get(back, headers=HTML)
    assert waits.status_code == 200
    assert waits["Refresh"] == f"2; url={back}?look=1"
    assert "won't be charged twice" in waits.content.decode()
    assert "no-store" in waits["Cache-Control"]
    given_up = guest.client.get(f"{back}?look=40", headers=HTML)
    assert "Refresh" not in given_up
    bank.no_faults()
    assert guest.client.get(f"{back}?look=1").status_code == 303
    assert CANARY in guest.see(address)


def test_a_webhook_that_was_faster_needs_no_second_question(bank: Bank):
    article, guest = owls(), Visitor()
    address = article.get_absolute_url()
    back = paid(guest.press(address, f"{address}/pay", seen=402, amount="500")["Location"])
    bank.bring()
    asked = len(bank.requests())
    assert guest.client.get(back)["Location"] == f"{address}#article"
    assert len(bank.requests()) == asked
    assert CANARY in guest.see(address)


def test_a_processor_that_is_away_is_said_and_nobody_is_charged(bank: Bank):
    article, guest = owls(), Visitor()
    address = article.get_absolute_url()
    bank.fault("checkout/sessions", "500")
    answer = guest.press(address, f"{address}/pay", seen=402, amount="500")
    assert (answer.status_code, answer["Location"]) == (303, address)
    page = guest.see(address, 402)
    assert "You have not been charged." in page
    assert "moment" in page


def test_too_many_payment_pages_are_refused(bank: Bank, settings):
    settings.CHECKOUTS_PER_HOUR = 2
    article = owls()
    address = article.get_absolute_url()
    guests = [Visitor() for _ in range(3)]  # From one address, so the third is refused.
    locations = [guest.press(address, f"{address}/pay", seen=402, amount="500")["Location"] for guest in guests]
    assert [location.startswith(bank.url) for location in locations] == [True, True, False]
    assert "too many payment pages" in guests[2].see(address, 402)


def test_a_network_of_version_six_is_one_client(bank: Bank, settings):
    settings.CHECKOUTS_PER_HOUR = 1
    address = owls().get_absolute_url()
    opened = []
    for end in ("1:2:3::9", "1:2:3:4:5:6:7", "1:2:4::9"):
        guest = Visitor()
        guest.client.defaults["REMOTE_ADDR"] = f"2001:{end}"
        opened.append(guest.press(address, f"{address}/pay", seen=402, amount="500")["Location"].startswith(bank.url))
    assert opened == [True, False, True]


@pytest.mark.parametrize("amount", ["", "1", "501", "-500", "5e2", "٥٠٠", "direct"])
def test_amounts_that_are_not_on_offer_open_no_page(bank: Bank, amount):
    article, guest = owls(), Visitor()
    address = article.get_absolute_url()
    form = next(form for form in Forms(guest.see(address, 402)).found if form["action"].endswith("/pay"))
    answer = guest.client.post(form["action"], form["fields"] | {"amount": amount})
    assert answer["Location"] == address
    assert "You have not been charged." in guest.see(address, 402)
    assert bank.requests("checkout") == []


def test_a_price_that_rose_on_the_way_is_still_the_one_that_was_shown(bank: Bank):
    article, guest = owls(), Visitor()
    address = article.get_absolute_url()
    url = guest.press(address, f"{address}/pay", seen=402, amount="500")["Location"]
    now = article.prices.get(audience="people", ends_at=None)
    pricing.change_price(article, "people", 4_000_000, by=None, was=now.pk)
    guest.client.get(paid(url))
    assert CANARY in guest.see(address)
    assert balance(guest.purse()) == 4_750_000


def test_the_return_page_is_only_for_the_purse_that_paid(bank: Bank):
    article, guest = owls(), Visitor()
    address = article.get_absolute_url()
    url = guest.press(address, f"{address}/pay", seen=402, amount="500")["Location"]
    back = paid(url)
    for stranger in (Visitor(), reader(1_000_000)[0], reader()[0]):
        stranger.see(back, 404)
        stranger.see(address, 402)
    assert Payment.objects.count() == 0
    assert guest.client.get(back).status_code == 303


def test_money_that_cannot_buy_any_more_stays_on_the_balance(bank: Bank):
    article, guest = owls(), Visitor()
    address = article.get_absolute_url()
    url = guest.press(address, f"{address}/pay", seen=402, amount="500")["Location"]
    other = guest.press(address, f"{address}/pay", seen=402, amount="500")["Location"]
    guest.client.get(paid(url))
    answer = guest.client.get(paid(other), follow=True, headers=HTML)
    assert CANARY in answer.content.decode()
    assert balance(guest.purse()) == 9_750_000
    assert Payment.objects.count() == 1


def test_a_balance_is_filled_without_an_article_too(bank: Bank):
    visitor, purse, _ = reader()
    url = visitor.press("/purse", "/purse/top-up", amount="1000")["Location"]
    answer = visitor.client.get(paid(url), follow=True)
    assert answer.redirect_chain == [("/purse#said", 303)]
    assert "$10.00 was added to your balance." in answer.content.decode()
    assert balance(purse) == 10_000_000


def test_a_guests_purse_that_was_joined_elsewhere_takes_no_more_money(bank: Bank):
    article, guest = owls(), Visitor()
    address = article.get_absolute_url()
    url = guest.press(address, f"{address}/pay", seen=402, amount="500")["Location"]
    guest.client.get(paid(url))
    old = guest.purse()
    joining.join(old, buyers.purse())
    assert CANARY in guest.see(address)
    other = owls(title="Bats").get_absolute_url()
    assert "from your balance" not in guest.see(other, 402)
    url = guest.press(other, f"{other}/pay", seen=402, amount="500")["Location"]
    guest.client.get(paid(url))
    assert guest.purse() != old
    assert CANARY in guest.see(other)
    assert CANARY in guest.see(address)
