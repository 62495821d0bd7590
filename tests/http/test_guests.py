"""What a guest has, and how it comes along to an account: by this browser, or by a proven address."""

import pytest
from allauth.account.models import EmailAddress
from django.contrib.sessions.models import Session
from django.db import OperationalError

from marketplace.accounts.models import User
from marketplace.models import LibraryEntry
from payments import purses, tasks
from payments.cards import charges, saved_cards, sweeper
from payments.models import Charge, Purse, Transaction
from payments.purses import joining
from tests import buyers, cast
from tests.bank import Bank
from tests.visitor import CANARY, HTML, Forms, Visitor, owls, paid

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def account(email: str, *, verified: bool = True) -> User:
    user = User.objects.create_user(email)
    EmailAddress.objects.create(user=user, email=email, verified=verified, primary=True)
    return user


def guest_who_bought(bank: Bank, email: str = "ada@example.com") -> tuple[Visitor, str]:
    """A guest with an article and 4.75 dollars left."""
    address, guest = owls().get_absolute_url(), Visitor()
    url = guest.press(address, f"{address}/pay", seen=402, amount="500")["Location"]
    guest.client.get(paid(url, email=email))
    assert CANARY in guest.see(address)
    return guest, address


def purse_of(user: User) -> Purse:
    return Purse.objects.get(owner=f"user:{user.pk}")


@pytest.mark.parametrize(("amount", "pages"), [("500", 0), ("direct", 9), ("123", 9)])
def test_a_newcomer_who_is_refused_leaves_nothing_behind(bank: Bank, amount: str, pages: int):
    bank.settings.CHECKOUTS_PER_HOUR = pages
    address, guest = owls().get_absolute_url(), Visitor()
    form = next(form for form in Forms(guest.see(address, 402)).found if form["action"] == f"{address}/pay")
    answer = guest.client.post(form["action"], form["fields"] | {"amount": amount})
    assert answer["Location"] == address
    assert "You have not been charged" in guest.see(address, 402)
    assert Purse.objects.count() == Session.objects.count() == 0


def test_what_this_browser_has_comes_along_at_sign_in(bank: Bank):
    guest, address = guest_who_bought(bank, "somebody@example.com")
    reader = cast.person("reader")
    cast.sign_in(guest.client, reader)
    assert purse_of(reader).balance_micros == 4_750_000
    assert CANARY in guest.see(address)
    elsewhere = Visitor(reader)
    assert CANARY in elsewhere.see(address)
    assert "Owls" in elsewhere.see("/library")
    assert "$4.75" in elsewhere.see("/purse")
    assert "guest" not in guest.client.session


@pytest.mark.parametrize("page", ["/welcome", "/library", "/purse", "/purse/keys", "article"])
def test_looking_at_a_page_moves_no_money(bank: Bank, page: str):
    """Also when the browser still has a guest's purse: joining belongs to signing in and to a button."""
    guest, address = guest_who_bought(bank, "somebody@example.com")
    purse, reader = guest.purse(), cast.person("reader")
    guest.client.force_login(reader)
    before = Transaction.objects.count()
    guest.client.get(address if page == "article" else page)
    purse.refresh_from_db()
    assert (purse.joined_to_id, purse.balance_micros) == (None, 4_750_000)
    assert Transaction.objects.count() == before


def test_a_purse_is_joined_to_one_that_is_there(bank: Bank):
    guest, _ = guest_who_bought(bank, "somebody@example.com")
    reader = cast.person("reader")
    buyers.purse(1_000_000, owner=f"user:{reader.pk}")
    cast.sign_in(guest.client, reader)
    assert purse_of(reader).balance_micros == 5_750_000


def test_debts_of_this_browser_come_along_too():
    guest, address = Visitor(), owls().get_absolute_url()
    session = guest.client.session
    session["guest"] = "1"
    session.save()
    guest.client.cookies["sessionid"] = session.session_key
    buyers.purse(tab=1_000_000, owner="guest:1")
    guest.press(address, f"{address}/buy", seen=402)
    reader = cast.person("reader")
    cast.sign_in(guest.client, reader)
    assert "Owls" in guest.see("/library")
    assert purse_of(reader).balance_micros == -250_000


def test_a_guests_purse_with_a_proven_address_is_found_from_any_browser(bank: Bank):
    guest, address = guest_who_bought(bank, "Ada@example.com")
    ada = account("ada@example.com")
    Purse.objects.filter(email="Ada@example.com").update(email="ada@example.com")
    elsewhere = Visitor(ada)
    assert elsewhere.client.get("/welcome")["Location"] == "/library"
    # Anybody can name an address, and pay with a stolen card: its owner says whether it was them.
    assert not Purse.objects.filter(owner=f"user:{ada.pk}").exists()
    assert "has $4.75 left" in elsewhere.see("/library")
    elsewhere.press("/purse", "/purse/join", seen=200)
    assert purse_of(ada).balance_micros == 4_750_000
    assert "$4.75 left" not in elsewhere.see("/purse")
    assert CANARY in elsewhere.see(address)
    assert "Owls" in elsewhere.see("/library")
    assert CANARY in guest.see(address), "who bought it in this browser goes on reading"
    assert "from your balance" not in guest.see(owls().get_absolute_url(), 402)
    assert LibraryEntry.objects.filter(user=ada).count() == 1


def test_an_address_that_is_not_proven_finds_nothing(bank: Bank):
    guest_who_bought(bank)
    thief = account("ada@example.com", verified=False)
    page = Visitor(thief)
    for address in ("/welcome", "/library", "/purse"):
        page.client.get(address)
    assert not Purse.objects.filter(owner=f"user:{thief.pk}").exists()
    assert Purse.objects.get().joined_to is None


@pytest.mark.parametrize("trouble", ["owing", "dispute", "past_due", "somebody else's"])
def test_nobody_is_given_the_debts_and_disputes_of_who_names_their_address(trouble):
    ada = account("ada@example.com")
    guest = buyers.purse(tab=1_000_000, owner="guest:1" if trouble != "somebody else's" else "user:999")
    Purse.objects.filter(pk=guest.pk).update(email="ada@example.com")
    if trouble == "owing":
        buyers.press(guest, buyers.offer())
    elif trouble != "somebody else's":
        buyers.fill(guest, 1_000_000)
        Purse.objects.filter(pk=guest.pk).update(flag=trouble)
    page = Visitor(ada)
    assert "using your email address" not in page.see("/library")
    guest.refresh_from_db()
    assert guest.joined_to is None
    assert not Purse.objects.filter(owner=f"user:{ada.pk}").exists()


def test_who_signs_out_leaves_the_purse_behind(bank: Bank):
    guest, address = guest_who_bought(bank)
    reader = cast.person("reader")
    cast.sign_in(guest.client, reader)
    guest.client.logout()
    guest.see(address, 402)
    assert "Your balance is empty" in guest.see("/purse")


def test_two_browsers_of_one_person_join_both_purses(bank: Bank):
    reader = cast.person("reader")
    for _ in range(2):
        guest, _ = guest_who_bought(bank, "somebody@example.com")
        cast.sign_in(guest.client, reader)
    assert purse_of(reader).balance_micros == 9_500_000
    assert len(purses.buyers(purse_of(reader))) == 3


@pytest.mark.parametrize("error", [OperationalError("deadlock detected"), RuntimeError("a bug")])
def test_what_could_not_be_moved_at_sign_in_is_offered_afterwards(bank: Bank, monkeypatch, error: Exception):
    guest, address = guest_who_bought(bank, "somebody@example.com")
    purse, reader = guest.purse(), cast.person("reader")

    def broken(*_: Purse) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(joining, "join", broken)
        cast.sign_in(guest.client, reader)
    purse.refresh_from_db()
    assert purse.joined_to is None
    guest.press("/library", "/purse/join", seen=200)
    assert purse_of(reader).balance_micros == 4_750_000
    assert CANARY in guest.see(address)


def test_a_card_that_cannot_be_kept_does_not_keep_the_article(bank: Bank, monkeypatch):
    address, guest = owls().get_absolute_url(), Visitor()
    back = paid(guest.press(address, f"{address}/pay", seen=402, amount="500")["Location"])

    def broken(*_: object) -> None:
        raise OperationalError("deadlock detected")

    monkeypatch.setattr(saved_cards, "add", broken)
    assert guest.client.get(back, headers=HTML)["Location"] == f"{address}#article"
    assert Charge.objects.get().bought_id


def test_a_paid_charge_is_fulfilled_while_the_processor_is_away(bank: Bank):
    address, guest = owls().get_absolute_url(), Visitor()
    back = paid(guest.press(address, f"{address}/pay", seen=402, amount="500")["Location"])
    charge = charges.look(Charge.objects.get())
    assert (charge.state, charge.fulfilled_at) == ("succeeded", None)
    bank.fault("/v1/", "500", times=50)
    answer = guest.client.get(back, headers=HTML)
    bank.no_faults()
    assert (answer.status_code, answer["Location"]) == (303, f"{address}#article")


def test_a_paid_charge_is_fulfilled_before_a_slow_round_of_the_sweeper(bank: Bank, monkeypatch):
    address, guest = owls().get_absolute_url(), Visitor()
    paid(guest.press(address, f"{address}/pay", seen=402, amount="500")["Location"])

    def killed() -> None:
        assert Charge.objects.get().fulfilled_at
        raise SystemExit("the worker is restarted in a slow round")

    charges.look(Charge.objects.get())
    monkeypatch.setattr(sweeper, "sweep", killed)
    with pytest.raises(SystemExit):
        tasks.sweep_cards()
