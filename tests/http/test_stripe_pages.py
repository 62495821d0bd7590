"""The two doors of the processor: the page on which a bank asks, and the inbox of webhooks."""

import json
import re

import pytest
from django.core import mail, signing
from django.test import Client

from payments.cards import charges, tabs
from payments.models import Charge, ProcessorEvent, Purse, Setup
from tests import buyers
from tests.bank import Bank
from tests.project.test_content_policy import Inline, check_policy
from tests.visitor import HTML, Visitor, path, reader

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]

ASKS = "4000002760003184"


def asked(bank: Bank) -> tuple[Charge, str]:
    """A tab whose bank wants to ask, and the link in the letter about it."""
    purse = bank.owing(card=ASKS)
    charge = tabs.charge_tab(purse.id)
    assert charge
    assert charge.state == "action"
    link = re.search(r"http\S+/purse/authenticate/\S+", str(mail.outbox[-1].body))
    assert link
    return charge, path(link[0])


def test_the_link_of_the_letter_opens_this_one_charge_without_signing_in(bank: Bank):
    charge, link = asked(bank)
    page = Client().get(link, headers=HTML)
    assert page.status_code == 200
    text = page.content.decode()
    assert "$6.00" in text
    assert "ending in 3184" in text
    assert "no-store" in page["Cache-Control"]
    purse = Purse.objects.get(pk=charge.purse_id)
    assert purse.email not in text
    assert "Article" not in text.split("<main", 1)[1].split("</main>", 1)[0]
    other, other_link = asked(bank)
    assert Client().get(link.replace(str(charge.pk), str(other.pk))).status_code == 404
    assert Client().get(other_link).status_code == 200


def owing(bank: Bank) -> tuple[Visitor, Purse]:
    """Somebody signed in whose tab is due, on a card whose bank asks."""
    visitor, purse, _ = reader()
    bank.pay(visitor.press("/purse", "/purse/cards")["Location"], ASKS)
    visitor.client.get(f"/purse/cards/return/{Setup.objects.get(purse=purse).pk}")
    visitor.press("/purse", "/purse/tab", action="open")
    Purse.objects.filter(pk=purse.pk).update(tab_limit_micros=20_000_000)
    buyers.press(purse, buyers.offer(1, 6_000_000))
    return visitor, purse


@pytest.mark.parametrize("token", ["", "?token=", "?token=x", "?token=%00", "other", "old"])
def test_without_the_link_there_is_nothing(bank: Bank, token, settings, monkeypatch):
    charge, link = asked(bank)
    address = link.partition("?")[0]
    if token == "other":
        token = "?token=" + signing.dumps(str(charge.pk), salt="something else")
    if token == "old":
        monkeypatch.setattr("payments.cards.mail._LINK_SECONDS", -1)
        token = "?" + link.partition("?")[2]
    for visitor in (Client(), reader(1_000_000)[0].client):
        assert visitor.get(address + token).status_code == 404
        assert visitor.post(address + token).status_code in (403, 404)


def test_only_this_page_may_load_the_processors_script(bank: Bank):
    _, link = asked(bank)
    page = Client().get(link, headers=HTML)
    rules = {rule.split()[0]: rule.split()[1:] for rule in page["Content-Security-Policy"].split("; ")}
    assert rules["script-src"] == ["'self'", bank.url]
    assert rules["connect-src"] == ["'self'", bank.url]
    assert rules["frame-src"] == [bank.url]
    assert rules["default-src"] == ["'none'"]
    assert Inline(page.content.decode()).found == [f"script src={bank.url}/stripe.js"]
    told = re.search(r'<script id="asked" type="application/json">(.*?)</script>', page.content.decode())
    assert told
    assert set(json.loads(told[1])) == {"publicKey", "clientSecret", "paymentMethod"}
    check_policy(Client().get("/about", headers=HTML)["Content-Security-Policy"])


def test_with_the_real_processor_its_three_hosts_are_allowed(settings):
    from marketplace.reader import bank_views

    settings.STRIPE_API_BASE, settings.STRIPE_JS_URL = "https://api.stripe.com", "https://js.stripe.com/v3/"
    assert bank_views.policy() == {
        "script-src": ["https://js.stripe.com"],
        "connect-src": ["https://api.stripe.com", "https://hooks.stripe.com", "https://js.stripe.com"],
        "frame-src": ["https://api.stripe.com", "https://hooks.stripe.com", "https://js.stripe.com"],
    }


@pytest.mark.parametrize("agrees", [True, False])
def test_what_the_processor_says_counts_and_not_what_the_page_says(bank: Bank, agrees):
    charge, link = asked(bank)
    visitor = Visitor()
    assert visitor.press(link, link).status_code == 303  # The script lied, or there was none.
    charge.refresh_from_db()
    assert charge.state == "action"
    bank.do(f"payment_intents/{charge.intent}/authenticate", ok=agrees)
    if not agrees:  # Otherwise the page asks the processor before it shows the button again.
        visitor.press(link, link)
    visitor.see(link)
    charge.refresh_from_db()
    page = visitor.see(link)
    if agrees:
        assert charge.state == "succeeded"
        assert "Thank you" in page
        assert "We charged $6.00 to your card ending in 3184" in page
        bank.agrees()
    else:
        assert charge.state != "succeeded"
        assert "You have not been charged" in page


def test_the_purses_own_session_needs_no_link(bank: Bank):
    visitor, purse = owing(bank)
    charge = tabs.charge_tab(purse.id)
    assert charge
    assert "$6.00" in visitor.see(f"/purse/authenticate/{charge.pk}")
    assert "Confirm with your bank" in visitor.see("/purse")


def test_a_processor_that_is_away_is_said(bank: Bank):
    _, link = asked(bank)
    bank.fault("payment_intents", "500", times=3)
    answer = Client().get(link, headers=HTML)
    assert answer.status_code == 503
    page = answer.content.decode()
    assert "know yet whether the payment succeeded" in page
    assert "not been charged" not in page, "the bank may have confirmed it just now"
    check_policy(answer["Content-Security-Policy"])


def test_a_payment_that_the_bank_has_just_confirmed_is_not_called_unpaid(bank: Bank):
    """The processor knows already, and we do not yet: the page looks before it says anything."""
    charge, link = asked(bank)
    bank.do(f"payment_intents/{charge.intent}/authenticate", ok=True)
    page = Client().get(link, headers=HTML).content.decode()
    assert "Thank you" in page
    charge.refresh_from_db()
    assert charge.state == "succeeded"


def test_paying_now_leads_to_the_bank_when_it_asks(bank: Bank):
    visitor, _ = owing(bank)
    answer = visitor.press("/purse", "/purse/tab", action="pay")
    assert answer.status_code == 303
    assert "/purse/authenticate/" in answer["Location"]
    assert "Your bank needs to confirm" in visitor.see(path(answer["Location"]))
    charge = Charge.objects.filter(purpose="tab").get()
    assert charges.look(charge).state == "action"


# --- Webhooks ---------------------------------------------------------------------------------------------------


def test_a_webhook_is_stored_once_and_answered(bank: Bank):
    bank.top_up(buyers.purse())
    event = bank.post()[0]
    browser = Client(enforce_csrf_checks=True)
    for _ in range(2):
        answer = browser.post(
            "/webhooks/stripe",
            event["payload"],
            content_type="application/json",
            headers={"Stripe-Signature": event["signature"]},
        )
        assert answer.status_code == 200
        assert not answer.cookies
    assert ProcessorEvent.objects.count() == 1
    bank.bring()


def test_a_webhook_signed_with_a_former_secret_is_taken_while_it_is_listed(bank: Bank, settings):
    bank.top_up(buyers.purse())
    event = bank.post()[0]
    former, settings.STRIPE_WEBHOOK_SECRET = settings.STRIPE_WEBHOOK_SECRET, "whsec_new"

    def post() -> int:
        signed = {"Stripe-Signature": event["signature"]}
        return Client().post("/webhooks/stripe", event["payload"], "application/json", headers=signed).status_code

    assert post() == 400
    settings.STRIPE_WEBHOOK_SECRET_FALLBACKS = ["whsec_older", former]
    assert post() == 200
    bank.bring()


@pytest.mark.parametrize("change", ["signature", "body", "nothing", "long"])
def test_what_the_processor_did_not_sign_is_refused_and_not_kept(bank: Bank, change):
    bank.top_up(buyers.purse())
    event = bank.post()[0]
    body, signature = event["payload"], event["signature"]
    if change == "signature":
        signature = signature[:-2] + ("00" if not signature.endswith("00") else "11")
    elif change == "body":
        body = body.replace("evt_", "evu_", 1)
    elif change == "nothing":
        signature = ""
    else:
        body += " " * 300_000
    answer = Client().post(
        "/webhooks/stripe", body, content_type="application/json", headers={"Stripe-Signature": signature}
    )
    assert answer.status_code == (413 if change == "long" else 400)
    assert not ProcessorEvent.objects.exists()


def test_a_webhook_is_only_posted():
    assert Client().get("/webhooks/stripe").status_code == 405
