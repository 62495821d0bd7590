"""The page of one's own purse: what it shows, what its buttons do, and that nobody else's is there."""

import csv
import re
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from payments import purses
from payments.books import accounts, ledger
from payments.cards import tabs
from payments.models import Card, CardRefund, Charge, Payment, Purse, Setup
from tests import bank as banks
from tests import buyers, cast
from tests.bank import Bank
from tests.visitor import CANARY, HTML, Forms, Visitor, bought, owls, paid, reader

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def fresh(purse: Purse) -> Purse:
    purse.refresh_from_db()
    return purse


def with_tab(bank: Bank) -> tuple[Visitor, Purse]:
    """Somebody signed in who has saved a card through the page, and opened a tab."""
    visitor, purse = with_card(bank)
    visitor.press("/purse", "/purse/tab", action="open")
    return visitor, fresh(purse)


def with_card(bank: Bank) -> tuple[Visitor, Purse]:
    """Somebody signed in who has saved a card through the page."""
    visitor, purse, _ = reader()
    visitor.client.get(paid(visitor.press("/purse", "/purse/cards")["Location"]))
    return visitor, fresh(purse)


# --- What it shows ----------------------------------------------------------------------------------------------


def test_an_empty_purse_says_how_to_begin():
    for visitor in (Visitor(), Visitor(cast.person("reader"))):
        page = visitor.see("/purse")
        assert "Top up $5.00" in page
        assert not Purse.objects.exists()


def test_every_movement_is_there_with_the_balance_after_it():
    visitor, purse, _ = reader(1_000_000)
    buyers.present(buyers.key(purse), buyers.offer(1, 100_000))
    payment = buyers.press(purse, buyers.offer(2, 250_000)).payment
    purses.refund(payment.id, purse)
    page = visitor.see("/purse")
    rows = re.findall(r"<tr>\s*<td(.*?)</tr>", page, re.DOTALL)
    assert len(rows) == 4
    assert [re.findall(r'class="num">([^<]+)<', row) for row in rows] == [
        ["+$0.25", "$0.90"], ["−$0.25", "$0.65"], ["−$0.10", "$0.90"], ["+$1.00", "$1.00"],
    ]  # fmt: skip
    assert "Refund" in rows[0]
    assert "by your agent “reader”" in rows[2]
    assert "Top-up by card" in rows[3]
    assert "UTC" in page


def test_an_owed_tab_is_explained():
    visitor, purse, _ = reader(tab=3_000_000)
    buyers.press(purse, buyers.offer(1, 750_000))
    page = visitor.see("/purse")
    assert "−$0.75" in page
    assert "$2.25" in page
    due = tabs.next_charge_at(fresh(purse))
    assert due
    assert f'datetime="{due.isoformat(timespec="microseconds")[:16]}' in page


def test_the_file_has_every_movement_and_runs_nothing():
    visitor, purse, _ = reader(1_000_000)
    offer = buyers.offer(1, 100_000)
    object.__setattr__(offer, "title", '=HYPERLINK("https://evil.example","x")')
    key = buyers.key(purse)
    purse.keys.update(name="@SUM(A1)")
    buyers.present(key, offer)
    answer = visitor.client.get("/purse/movements.csv")
    assert answer["Content-Type"].startswith("text/csv")
    assert "no-store" in answer["Cache-Control"]
    rows = list(csv.DictReader(answer.getvalue().decode("utf-8-sig").splitlines()))
    assert [row["amount_usd"] for row in rows] == ["-0.10", "1.00"]
    assert [int(row["balance_micros"]) for row in rows] == [900_000, 1_000_000]
    assert rows[0]["article"].startswith("'=HYPERLINK")
    assert rows[0]["agent"] == "'@SUM(A1)"


def test_a_title_cannot_break_out_of_the_statement():
    visitor, purse, _ = reader(1_000_000)
    offer = buyers.offer(1, 100_000)
    object.__setattr__(offer, "title", "</td><script>alert(1)</script>")
    buyers.press(purse, offer)
    assert "<script>alert" not in visitor.see("/purse")


def test_a_long_statement_costs_the_same_number_of_queries(django_assert_max_num_queries):
    visitor, purse, _ = reader(5_000_000)
    for number in range(60):
        buyers.press(purse, buyers.offer(number, 1_000))
    with django_assert_max_num_queries(25):
        page = visitor.see("/purse")
    assert page.count("Article ") == 50
    assert "Show more" in page
    assert visitor.see("/purse?show=more").count("Article ") == 60


def test_every_answer_about_money_is_private():
    visitor, _, _ = reader(1_000_000)
    for address in ("/purse", "/purse/movements.csv", "/library"):
        rules = {word.strip() for word in visitor.client.get(address)["Cache-Control"].split(",")}
        assert {"private", "no-store"} <= rules


# --- Only one's own ------------------------------------------------------------------------------------------------


def test_other_peoples_money_is_not_there():
    owner, purse, _ = reader(1_000_000)
    card = Card.objects.create(purse=purse, stripe_card_id="pm_1", last4="4242")
    setup = Setup.objects.create(purse=purse, session="cs_1", state="open")
    payment = buyers.press(purse, buyers.offer()).payment
    charge = Charge.objects.get(purse=purse)
    for stranger in (Visitor(), reader()[0], reader(1_000_000)[0]):
        for address in (f"/purse/return/{charge.pk}", f"/purse/cards/return/{setup.pk}",
                        f"/purse/authenticate/{charge.pk}", f"/purse/return/{uuid.uuid4()}"):  # fmt: skip
            stranger.see(address, 404)
        token = next(form["fields"] for form in Forms(stranger.see("/library")).found if form["fields"])
        for action in ("use", "remove"):
            answer = stranger.client.post(f"/purse/cards/{card.pk}", token | {"action": action})
            assert answer.status_code == 404
        stranger.client.post(f"/purse/refund/{payment.pk}", token)
        stranger.client.post("/purse/withdraw", token | {"charge": str(charge.pk), "micros": "950000"})
    card.refresh_from_db()
    payment.refresh_from_db()
    assert card.removed_at is None
    assert payment.state == "confirmed"
    assert fresh(purse).balance_micros == 950_000
    assert not CardRefund.objects.exists()


@pytest.mark.parametrize(
    "address",
    [
        "/purse/top-up",
        "/purse/tab",
        "/purse/cards",
        "/purse/cards/1",
        "/purse/withdraw",
        f"/purse/refund/{uuid.uuid4()}",
    ],
)
def test_what_changes_something_wants_the_sites_own_form(address):
    visitor, _, _ = reader(1_000_000)
    assert visitor.client.post(address, {"amount": "500", "action": "close"}).status_code == 403
    assert visitor.client.get(address).status_code == 405


# --- The tab and its cards -------------------------------------------------------------------------------------------


def test_a_saved_card_is_saved_and_a_tab_opens_only_by_its_own_button(bank: Bank):
    visitor, purse = with_card(bank)
    assert (purse.tab_limit_micros, purse.tab_opened_at) == (0, None)
    page = visitor.see("/purse")
    assert "Your card is saved. You have not been charged." in page
    assert "your tab is open" not in page.lower()
    for said in ("up to $3.00", "visa ending in 4242", "when you owe $2.70", "every 7 days"):
        assert said in page
    visitor.press("/purse", "/purse/tab", action="open")
    assert "Your tab is open." in visitor.see("/purse")
    assert fresh(purse).tab_limit_micros == 3_000_000
    assert Charge.objects.count() == 0


def test_a_tab_whose_terms_have_changed_since_the_page_is_not_opened(bank: Bank, settings):
    visitor, purse = with_card(bank)
    form = next(one for one in Forms(visitor.see("/purse")).found if "terms" in one["fields"])
    settings.TAB_LIMIT_CENTS = 400
    visitor.client.post("/purse/tab", form["fields"] | {"action": "open"})
    assert "its terms have changed" in visitor.see("/purse")
    assert fresh(purse).tab_limit_micros == 0


def test_what_is_too_little_for_a_card_has_no_button(bank: Bank):
    visitor, purse = with_tab(bank)
    for micros, button in ((490_000, False), (10_000, True)):
        buyers.press(purse, buyers.offer(micros, micros))
        page = visitor.see("/purse")
        assert ('value="pay"' in page, "A card can't pay less than $0.50." in page) == (button, not button)


def test_another_card_changes_nothing_about_the_tab(bank: Bank):
    visitor, purse = with_tab(bank)
    visitor.client.get(paid(visitor.press("/purse", "/purse/cards")["Location"]))
    assert (fresh(purse).card, fresh(purse).cards.count()) == (purse.card, 2)


def test_a_guest_is_asked_to_sign_in_before_a_card_is_saved():
    guest = Visitor()
    form = next(form for form in Forms(guest.see("/purse")).found if form["action"] == "/purse/top-up")
    answer = guest.client.post("/purse/cards", form["fields"])
    assert answer["Location"] == "/accounts/login/"
    assert not Purse.objects.exists()


def test_a_card_that_was_not_saved_is_said(bank: Bank):
    visitor, purse, _ = reader()
    visitor.press("/purse", "/purse/cards")
    setup = Setup.objects.get(purse=purse)
    answer = visitor.client.get(f"/purse/cards/return/{setup.pk}", follow=True)
    assert "No card was saved. You have not been charged." in answer.content.decode()
    assert fresh(purse).tab_limit_micros == 0


def test_a_tab_is_closed_opened_and_paid(bank: Bank):
    visitor, purse = with_tab(bank)
    visitor.press("/purse", "/purse/tab", action="close")
    assert fresh(purse).tab_limit_micros == 0
    visitor.press("/purse", "/purse/tab", action="open")
    assert fresh(purse).tab_limit_micros == 3_000_000
    buyers.press(purse, buyers.offer(1, 750_000))
    answer = visitor.press("/purse", "/purse/tab", action="pay")
    assert answer.status_code == 303
    assert "Thank you. We charged $0.75 to your card." in visitor.see("/purse")
    assert fresh(purse).balance_micros == 0
    bank.agrees()


def test_a_tab_that_is_declined_says_so_and_another_card_pays(bank: Bank):
    visitor, purse = with_tab(bank)
    visitor.client.get(paid(visitor.press("/purse", "/purse/cards")["Location"], "4000 0000 0000 0341"))
    bad = Card.objects.get(purse=purse, last4="0341")
    visitor.press("/purse", f"/purse/cards/{bad.pk}", action="use")
    assert fresh(purse).card_id == bad.pk
    buyers.press(purse, buyers.offer(1, 750_000))
    visitor.press("/purse", "/purse/tab", action="pay")
    page = visitor.see("/purse")
    assert "You have not been charged." in page
    assert "We could not charge your tab." in page
    good = Card.objects.get(purse=purse, last4="4242")
    visitor.press("/purse", f"/purse/cards/{good.pk}", action="use")
    assert fresh(purse).balance_micros == 0
    assert fresh(purse).flag == ""
    bank.agrees()


def test_too_little_to_charge_is_said(bank: Bank):
    """To whoever sends the form without its button, from an older page."""
    visitor, purse = with_tab(bank)
    buyers.press(purse, buyers.offer(1, 250_000))
    form = next(one for one in Forms(visitor.see("/purse")).found if one["action"] == "/purse/tab")
    visitor.client.post("/purse/tab", form["fields"] | {"action": "pay"})
    assert "You have not been charged." in visitor.see("/purse")
    assert fresh(purse).balance_micros == -250_000


def test_a_card_is_removed_but_not_while_it_owes(bank: Bank):
    visitor, purse = with_tab(bank)
    card = Card.objects.get(purse=purse)
    buyers.press(purse, buyers.offer(1, 250_000))
    visitor.press("/purse", f"/purse/cards/{card.pk}", action="remove")
    assert "You still owe money on this card" in visitor.see("/purse")
    buyers.fill(purse, 1_000_000)
    visitor.press("/purse", f"/purse/cards/{card.pk}", action="remove")
    assert "You have no saved cards." in visitor.see("/purse")
    assert fresh(purse).tab_limit_micros == 0
    assert ledger.balance(accounts.balance(purse.id), "USD") == 750_000


# --- Articles and money back -----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["library", "receipt"])
def test_an_article_is_given_back_from_the_library_or_its_receipt(where):
    visitor, purse, payment, address = bought()
    page = "/library" if where == "library" else f"/receipts/{payment.grants.get().pk}"
    assert "Refund $0.25" in visitor.see(page)
    answer = visitor.press(page, f"/purse/refund/{payment.pk}")
    assert answer["Location"] == "/library"
    assert "We refunded $0.25 to your balance" in visitor.see("/library")
    assert fresh(purse).balance_micros == 1_000_000
    assert CANARY not in visitor.see(address, 402)
    assert "Owls" not in visitor.see("/library")


def test_an_article_is_given_back_once_and_in_its_time(settings):
    visitor, purse, payment, address = bought()
    visitor.press("/library", f"/purse/refund/{payment.pk}")
    visitor.press(address, f"{address}/buy", seen=402)
    assert "Refund $" not in visitor.see("/library")
    again = Payment.objects.get(state="confirmed")
    other = owls(title="Bats").get_absolute_url()
    visitor.press(other, f"{other}/buy", seen=402)
    form = next(form for form in Forms(visitor.see("/library")).found if form["action"].startswith("/purse/refund/"))
    late = timezone.now() - timedelta(seconds=settings.REFUND_SECONDS + 1)
    Payment.objects.exclude(pk=again.pk).filter(state="confirmed").update(decided_at=late)
    visitor.client.post(form["action"], form["fields"])
    visitor.client.post(f"/purse/refund/{again.pk}", form["fields"])
    assert "Refund $" not in visitor.see("/library")
    assert fresh(purse).balance_micros == 500_000


def test_the_receipt_of_a_purchase_from_a_balance_says_so():
    visitor, _, payment, _ = bought()
    page = visitor.see(f"/receipts/{payment.grants.get().pk}")
    assert "topped up by card" in page
    assert "USDC" not in page
    article = visitor.see("/articles/owls")
    assert "Receipt and refund" in article


def test_unspent_money_goes_back_to_its_card(bank: Bank):
    visitor, purse, _ = reader()
    charge = bank.top_up(purse)
    buyers.press(purse, buyers.offer(1, 250_000))
    page = visitor.see("/purse")
    assert "Refund $4.75" in page
    visitor.press("/purse", "/purse/withdraw")
    page = visitor.see("/purse")
    assert "We are refunding $4.75 to your card" in page
    assert fresh(purse).balance_micros == 0
    charge.refresh_from_db()
    assert charge.refunded_micros == 4_750_000
    bank.agrees()


def test_a_refund_is_never_of_another_amount_than_the_page_showed(bank: Bank):
    visitor, purse, _ = reader()
    bank.top_up(purse)
    form = next(form for form in Forms(visitor.see("/purse")).found if form["action"] == "/purse/withdraw")
    buyers.press(purse, buyers.offer(1, 250_000))
    answer = visitor.client.post("/purse/withdraw", form["fields"], follow=True)
    assert "nothing was refunded" in answer.content.decode()
    for micros in ("5000000", "-1", "x", ""):
        visitor.client.post("/purse/withdraw", form["fields"] | {"micros": micros})
    assert fresh(purse).balance_micros == 4_750_000
    assert not CardRefund.objects.exists()


# --- The library ----------------------------------------------------------------------------------------------------


def test_the_library_shows_what_agents_bought_and_opens_it():
    article = owls()
    visitor, purse, _ = reader(1_000_000)
    key = buyers.key(purse)
    answer = visitor.client.get(f"{article.get_absolute_url()}.md", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200
    page = visitor.see("/library")
    assert "Owls" in page
    assert "by your agent “reader”" in page
    assert CANARY in visitor.see(article.get_absolute_url())
    assert "Your agent “reader”" in visitor.see(f"/receipts/{Payment.objects.get().grants.get().pk}")
    assert "Owls" not in reader(1_000_000)[0].see("/library")


def test_the_library_is_searched_by_title_and_publication():
    visitor, _, _ = reader(5_000_000)
    for title in ("Owls at night", "Bats"):
        address = owls(title=title).get_absolute_url()
        visitor.press(address, f"{address}/buy", seen=402)
    assert "Bats" not in visitor.see("/library?q=owls+NIGHT")
    assert "Owls at night" in visitor.see("/library?q=owls+NIGHT")
    both = visitor.see("/library?q=lantern")
    assert "Bats" in both
    assert "Owls at night" in both
    assert "No title or publication in your library" in visitor.see(f"/library?q={CANARY}")
    assert "No title or publication in your library" in visitor.see("/library?q=%00%27%22")


def test_an_open_bill_of_the_bank_is_shown(bank: Bank):
    visitor, purse, _ = reader()
    visitor.client.get(paid(visitor.press("/purse", "/purse/cards")["Location"]))
    assert "Confirm with your bank" not in visitor.see("/purse")
    Charge.objects.create(purse=purse, purpose="tab", amount_micros=600_000, state="action", intent="pi_1")
    page = visitor.see("/purse")
    assert f"/purse/authenticate/{banks.newest(purse).pk}" in page
    assert visitor.client.get("/purse", headers=HTML)["Vary"]
