"""What only a real account can show. Opt in: `STRIPE_TEST_KEY=sk_test_… python3 dev.py test -m stripe`.

Each test says what this shop relies on; where it does not hold at Stripe, payments/cards/stripe_api.py has to change.
With STRIPE_TEST_BASE the same list runs against another server that speaks Stripe's API. Nothing here needs a browser.
"""

import os
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe

from payments.cards import facts, stripe_api
from payments.cards.facts import Declined, Intent, StripeRefused

pytestmark = pytest.mark.stripe


@pytest.fixture(autouse=True)
def _account(settings: Any) -> None:
    key = os.environ.get("STRIPE_TEST_KEY", "")
    assert key.startswith(("sk_test_", "rk_test_")), "STRIPE_TEST_KEY has to be a key of Stripe's test mode."
    settings.STRIPE_SECRET_KEY = key
    settings.STRIPE_API_BASE = os.environ.get("STRIPE_TEST_BASE", "https://api.stripe.com")


@pytest.fixture
def v1(settings: Any) -> Any:
    """The official client, for what the product never does itself."""
    base = {"api": settings.STRIPE_API_BASE}
    return stripe.StripeClient(settings.STRIPE_SECRET_KEY, base_addresses=base, max_network_retries=0).v1  # type: ignore[arg-type]


def saved(v1: Any, token: str) -> tuple[str, str]:
    """A customer with this test card: their names."""
    customer = stripe_api.create_customer(str(uuid.uuid4()), "buyer@example.com")
    return customer, v1.payment_methods.attach(token, {"customer": customer}).id


def charged(v1: Any, token: str, cents: int = 600) -> Intent:
    customer, card = saved(v1, token)
    made = stripe_api.create_intent(str(uuid.uuid4()), customer, cents, f"t-{uuid.uuid4()}")
    return stripe_api.confirm_intent(made.id, card, f"t-{uuid.uuid4()}")


def settled(intent_id: str) -> Intent:
    """With its balance transaction, which comes a moment later."""
    ends = time.monotonic() + 30
    while not (found := stripe_api.intent(intent_id)).transaction:
        assert time.monotonic() < ends, "no balance transaction after 30 s"
        time.sleep(0.5)
    return found


def test_an_intent_made_without_any_method_is_confirmed_off_session_with_a_saved_card(v1):
    paid = charged(v1, "pm_card_visa")
    assert (paid.status, paid.stripe_charge_id[:3]) == ("succeeded", "ch_")


def test_the_balance_transaction_has_the_fee_and_the_day(v1):
    found = settled(charged(v1, "pm_card_visa").id)
    assert found.fee_cents > 0
    assert found.available_at
    since = datetime.now(UTC) - timedelta(minutes=10)
    moved = [one for one in stripe_api.money_since(since) if one.source == found.stripe_charge_id]
    assert [(one.amount_cents, one.fee_cents) for one in moved] == [(600, found.fee_cents)]


def test_a_bank_that_wants_to_ask_leaves_the_intent_open_for_the_holder(v1):
    customer, card = saved(v1, "pm_card_authenticationRequired")
    made = stripe_api.create_intent(str(uuid.uuid4()), customer, 600, f"t-{uuid.uuid4()}")
    with pytest.raises(Declined) as refused:
        stripe_api.confirm_intent(made.id, card, f"t-{uuid.uuid4()}")
    assert (refused.value.code, refused.value.intent) == ("authentication_required", made.id)
    found = stripe_api.intent(made.id)
    assert (found.status, found.error) == ("requires_payment_method", "authentication_required")
    assert found.client_secret


def test_the_same_key_repeats_the_answer_and_other_words_are_refused(v1):
    customer, _ = saved(v1, "pm_card_visa")
    key, ours = f"t-{uuid.uuid4()}", str(uuid.uuid4())
    first = stripe_api.create_intent(ours, customer, 600, key)
    assert stripe_api.create_intent(ours, customer, 600, key).id == first.id
    with pytest.raises(StripeRefused) as refused:
        stripe_api.create_intent(ours, customer, 700, key)
    assert refused.value.code == "idempotency_error"


def test_a_refund_goes_back_once_and_too_much_is_refused(v1):
    paid = charged(v1, "pm_card_visa")
    stripe_api.refund(paid.id, 400, "ours", f"t-{uuid.uuid4()}")
    assert [(one.amount_cents, one.ours) for one in stripe_api.refunds_of(paid.id)] == [(400, "ours")]
    with pytest.raises(StripeRefused):
        stripe_api.refund(paid.id, 300, "more", f"t-{uuid.uuid4()}")


def test_a_disputed_payment_is_withdrawn_with_a_fee(v1):
    paid = charged(v1, "pm_card_createDispute")
    ends = time.monotonic() + 60
    while not (found := v1.disputes.list({"payment_intent": paid.id}).data):
        assert time.monotonic() < ends, "no dispute after a minute"
        time.sleep(1)
    facts = stripe_api.dispute(found[0].id)
    assert facts.intent == paid.id
    assert [one.amount_cents for one in facts.moved] == [-600]
    assert facts.moved[0].fee_cents > 0


def test_a_hosted_page_takes_our_parameters(v1):
    customer, _ = saved(v1, "pm_card_visa")
    back = facts.WayBack("https://shop.example/back", "https://shop.example/away")
    origin, sale = facts.Origin(str(uuid.uuid4()), "", "topup", ""), facts.Sale("Balance", 500, keep_card=True)
    page = stripe_api.open_checkout(origin, customer, sale, back, f"t-{uuid.uuid4()}")
    assert (page.status, page.url[:4]) == ("open", "http")
    assert stripe_api.expire_session(page.id).status == "expired"
    assert stripe_api.open_setup(str(uuid.uuid4()), customer, back, f"t-{uuid.uuid4()}").url


def test_what_the_account_holds_can_be_asked(v1):
    assert isinstance(stripe_api.holds_cents(), int)
    assert isinstance(stripe_api.undelivered_since(datetime.now(UTC) - timedelta(hours=1)), list)
