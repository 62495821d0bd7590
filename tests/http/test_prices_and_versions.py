"""Time passes between the quote and the payment, and after it: prices change, texts change, articles are withdrawn."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from payments.books import ledger
from payments.models import Payment, PaymentState, Posting
from publishers import pricing
from publishers.articles import writing
from publishers.models import PriceVersion
from tests import cast
from tests.chain import nobody_looks_for_money
from tests.wallet import decoded

from .proofs import wallet_proof
from .till import requoted

pytestmark = pytest.mark.django_db
FORMATS = ["", ".md", ".json"]


def priced(article, micros, audience="agents"):
    """Change a price now."""
    open_now = pricing.open_prices(article)[audience]
    pricing.change_price(article, audience, micros, by=None, was=open_now.pk)


def rewritten(article, text):
    """The next version of an article."""
    article.refresh_from_db()
    words = f"Free.\n\n<!-- paywall -->\n\n{text}\n"
    writing.save_version(
        article, writing.draft(article.current_version.title, words), by=None, base=article.current_version.number
    )


# --- Prices -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("now_asked", [20_000, 900_000])
@pytest.mark.parametrize("version", [1, 2])
def test_a_quote_is_honoured_while_it_lives_whatever_the_price_is_now(till, owls, now_asked, version):
    wallet = till.wallet(1_000_000)
    header = till.sign(wallet, owls) if version == 2 else till.sign_v1(wallet, owls)
    priced(owls, now_asked)
    assert decoded(till.get(owls)["PAYMENT-REQUIRED"])["accepts"][0]["amount"] == str(now_asked)
    shown = {"payment_signature": header} if version == 2 else {"x_payment": header}
    assert till.get(owls, **shown).status_code == 200
    assert 1_000_000 - till.chain.balance(wallet.address) == 50_000
    payment = Payment.objects.get()
    assert payment.amount_micros == 50_000
    assert sum(Posting.objects.filter(transaction=payment.sale).values_list("amount_micros", flat=True)) == 50_000
    assert PriceVersion.objects.get(pk=payment.price_id).amount_micros == 50_000


def test_after_its_life_a_quote_is_refused_and_the_new_price_is_told(till, owls, settings):
    settings.QUOTE_SECONDS = 0
    header = till.sign(till.wallet(0), owls)
    priced(owls, 70_000)
    answer = till.get(owls, payment_signature=header)
    assert (answer.status_code, answer.json()["error"], answer.json()["charged"]) == (402, "quote_expired", False)
    fresh = decoded(answer["PAYMENT-REQUIRED"])["accepts"][0]
    assert fresh["amount"] == "70000"
    assert not Payment.objects.exists()


def test_an_old_price_without_a_quote_is_honoured_for_the_life_of_a_quote_and_no_longer(till, owls):
    """Version 1 echoes no quote: the amount must be one that can have been quoted just now."""
    wallet = till.wallet()
    header = till.sign_v1(wallet, owls)
    priced(owls, 70_000)
    long_ago = timezone.now() - timedelta(seconds=till.settings.QUOTE_SECONDS + 1)
    was = PriceVersion.objects.filter(article=owls, amount_micros=50_000)
    was.update(starts_at=long_ago - timedelta(hours=1), ends_at=long_ago)
    answer = till.get(owls, x_payment=header)
    assert answer.status_code == 402
    assert answer.json()["error"] == "invalid_exact_evm_payload_authorization_value_mismatch"
    assert answer.json()["accepts"][0]["maxAmountRequired"] == "70000"
    assert not Payment.objects.exists()
    assert till.buy_v1(wallet, owls)[1].status_code == 200


def test_the_cheaper_quote_opens_the_dearer_format(till, owls):
    """Promised to publishers in these words: the cheaper price is what an article really costs."""
    wallet = till.wallet(1_000_000)
    header = till.sign(wallet, owls, ".json")
    assert till.get(owls, "", accept="text/html", payment_signature=header).status_code == 200
    assert till.chain.balance(wallet.address) == 950_000


def test_a_person_who_asks_for_the_page_pays_the_price_for_people(till, owls):
    wallet = till.wallet(1_000_000)
    page = till.get(owls, "", accept="text/html")
    header = wallet.pay(decoded(page["PAYMENT-REQUIRED"]))
    assert till.get(owls, "", accept="text/html", payment_signature=header).status_code == 200
    assert till.chain.balance(wallet.address) == 750_000
    assert ledger.balance(f"publisher:{owls.publication_id}:earned") == 237_500
    assert ledger.balance("platform:fees") == 12_500


# --- Versions -----------------------------------------------------------------------------------------


def test_an_owner_reads_the_latest_version_and_back_to_the_one_that_was_bought_but_no_older(till, owls):
    rewritten(owls, "Second text.")
    header, answer = till.buy(till.wallet(), owls)
    assert answer.json()["version"] == 2
    rewritten(owls, "Third text.")
    receipt = answer["PAYMENT-RECEIPT"]
    expected = {"": 3, "?version=3": 3, "?version=2": 2, "?version=1": 2, "?version=0": 2}
    for query, number in expected.items():
        for shown in ({"payment_receipt": receipt}, {"payment_signature": header}):
            read = till.get(owls, ".json", query, **shown)
            assert read.status_code == 200
            assert read.json()["version"] == number, query
            assert b"canary7731" not in read.content
    for query in ("?version=-1", "?version=two", "?version=%D9%A1", "?version=", "?version=2&version=x"):
        assert till.get(owls, ".json", query, payment_receipt=receipt).json()["version"] == 3, query
    for query in ("?version=4", "?version=99999999"):
        assert till.get(owls, ".json", query, payment_receipt=receipt).status_code == 404
    assert till.get(owls, ".json", "?version=" + "9" * 5000, payment_receipt=receipt).json()["version"] == 3


def test_an_older_version_is_not_for_sale_and_a_missing_one_costs_nothing(till, owls):
    rewritten(owls, "Second text.")
    wallet = till.wallet(1_000_000)
    header = till.sign(wallet, owls)
    assert till.get(owls, ".json", "?version=7", payment_signature=header).status_code == 404
    assert not Payment.objects.exists()
    bought = till.get(owls, ".json", "?version=1", payment_signature=header)
    assert (bought.status_code, bought.json()["version"]) == (200, 2)
    assert till.chain.balance(wallet.address) == 950_000


def test_versions_are_not_shown_to_those_who_have_not_paid(till, owls):
    for query in ("?version=1", "?version=2", "?version=99"):
        assert till.get(owls, ".md", query).status_code == 402


# --- Withdrawal ---------------------------------------------------------------------------------------


def test_owners_of_a_withdrawn_article_read_on_in_every_way(till, owls, settings):
    wallet, browser = till.wallet(), Client()
    header = till.sign(wallet, owls, "")
    bought = browser.get(f"/articles/{owls.slug}", headers={"accept": "text/html", "payment-signature": header})
    assert bought.status_code == 200
    receipt = bought["PAYMENT-RECEIPT"]
    second = till.sign(wallet, owls)
    writing.withdraw(owls)
    settings.REPLAY_SECONDS = 0
    for suffix in FORMATS:
        assert till.get(owls, suffix, payment_receipt=receipt).status_code == 200
        assert till.get(owls, suffix, payment_signature=header).status_code == 200
        assert till.get(owls, suffix, payment_signature=second).status_code == 200
        assert browser.get(f"/articles/{owls.slug}{suffix}").status_code == 200
    assert Payment.objects.count() == 1


def test_the_owner_of_a_withdrawn_article_still_gets_a_challenge_to_prove_the_wallet(till, owls):
    """Whoever lost receipt and session has the wallet left; without a challenge it could prove nothing."""
    wallet = till.wallet()
    till.buy(wallet, owls)
    writing.withdraw(owls)
    gone = till.get(owls)
    assert gone.status_code == 410
    told = decoded(gone["PAYMENT-REQUIRED"])
    assert told["accepts"] == []
    assert till.get(owls, sign_in_with_x=wallet_proof(told, wallet)).status_code == 200
    assert till.get(owls, sign_in_with_x=wallet_proof(told, till.wallet(0))).status_code == 410


def test_nobody_else_can_buy_a_withdrawn_article(till, owls, asked):
    wallet = till.wallet(1_000_000)
    header, version_1 = till.sign(wallet, owls), till.sign_v1(wallet, owls)
    writing.withdraw(owls)
    asked.clear()
    for shown in ({}, {"payment_signature": header}, {"x_payment": version_1}, {"payment_receipt": "junk"}):
        for suffix in FORMATS:
            for accept in ("text/html", "application/json"):
                answer = till.get(owls, suffix, accept=accept, **shown)
                assert answer.status_code == 410
                assert b"canary7731" not in answer.content
                assert answer["Cache-Control"] == "no-store"
                if suffix:
                    assert answer.json()["error"] == "withdrawn"
                    assert answer.json()["charged"] is False
    assert asked == []
    assert not Payment.objects.exists()
    assert till.chain.balance(wallet.address) == 1_000_000


def test_what_was_in_flight_when_the_article_was_withdrawn_is_delivered(till, owls):
    wallet = till.wallet(1_000_000)
    header = till.sign(wallet, owls)
    till.asleep = True
    assert till.get(owls, payment_signature=header).status_code == 503
    writing.withdraw(owls)
    till.asleep = False
    assert till.get(owls, payment_signature=header).status_code == 200
    assert till.chain.balance(wallet.address) == 950_000


def test_a_payment_that_failed_before_the_withdrawal_is_not_tried_again_after_it(till, owls):
    wallet = till.wallet(0)
    header = till.sign(wallet, owls)
    with nobody_looks_for_money():
        answer = till.get(owls, payment_signature=header)
    assert (answer.status_code, answer.json()["error"]) == (402, "insufficient_funds")
    writing.withdraw(owls)
    till.fund(wallet.address, 1_000_000)
    answer = till.get(owls, payment_signature=header)
    assert answer.status_code == 410
    assert Payment.objects.get().state == PaymentState.RELEASED
    assert till.chain.balance(wallet.address) == 1_000_000


def test_an_article_that_is_put_on_sale_again_is_sold_again(till, owls):
    writing.withdraw(owls)
    writing.publish(owls)
    assert till.buy(till.wallet(), owls)[1].status_code == 200


# --- Money that is not there ---------------------------------------------------------------------------


def test_a_wallet_without_money_is_told_so_and_the_same_header_pays_once_it_has_some(till, owls):
    wallet = till.wallet(49_999)
    header = till.sign(wallet, owls)
    answer = till.get(owls, payment_signature=header)
    assert (answer.status_code, answer.json()["error"], answer.json()["charged"]) == (402, "insufficient_funds", False)
    assert not Payment.objects.exists()
    till.fund(wallet.address, 1)
    assert till.get(owls, payment_signature=header).status_code == 200
    assert till.chain.balance(wallet.address) == 0


def test_an_observer_cannot_try_a_failed_payment_with_another_signature(till, owls):
    """The nonce is claimed by the authorization that came first; another one with it is foreign."""
    wallet = till.wallet(0)
    nonce = "0x" + "3c" * 32
    with nobody_looks_for_money():
        till.get(owls, payment_signature=till.sign(wallet, owls, nonce=nonce))
    till.fund(wallet.address, 1_000_000)
    other = till.sign(wallet, owls, nonce=nonce, validAfter=1)
    answer = till.get(owls, payment_signature=requoted(other, till.terms(owls)))
    assert (answer.status_code, answer.json()["error"]) == (402, "authorization_spent_elsewhere")
    assert till.chain.balance(wallet.address) == 1_000_000


def test_a_draft_is_found_by_nobody(till, owls):
    draft = writing.create_article(
        owls.publication, writing.draft("Draft", cast.TEXT), writing.Prices(250_000, 50_000), by=None
    )
    for suffix in FORMATS:
        assert till.get(draft, suffix).status_code == 404
