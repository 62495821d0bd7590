"""Each test card does what its number promises, with the buyer there and away."""

import pytest
import stripe

from tests.standin.driver import Driver

BACK = "https://shop.example/back"


def declined(pay: Driver, card: str, **fields: object) -> stripe.CardError:
    with pytest.raises(stripe.CardError) as refused:
        pay.v1.payment_intents.confirm(pay.created(**fields).id, {"payment_method": card, "return_url": BACK})
    assert refused.value.http_status == 402
    return refused.value


def test_4242_pays_and_the_fee_and_the_funds_follow(pay: Driver) -> None:
    intent = pay.bought(metadata={"charge": "7"})
    assert (intent.status, intent.amount_received, intent.last_payment_error) == ("succeeded", 500, None)
    charge = pay.charge(intent)
    assert (charge.paid, charge.captured, charge.amount_captured, charge.refunded) == (True, True, 500, False)
    assert charge.metadata["charge"] == "7"
    moved = charge.balance_transaction
    assert (moved.amount, moved.fee, moved.net, moved.type, moved.source) == (500, 45, 455, "charge", charge.id)
    assert moved.status == "pending"
    assert moved.available_on - moved.created == 2 * 86_400
    kinds = ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "charge.updated"]
    assert pay.events() == kinds


def test_the_balance_transaction_is_not_there_yet_when_the_payment_succeeds(pay: Driver) -> None:
    pay.fake("POST", "settings", {"settle_after": 60})
    intent = pay.bought()
    assert pay.charge(intent).balance_transaction is None
    assert pay.v1.balance_transactions.list().data == []
    told = {event.type: event.data.object for event in pay.v1.events.list().data}
    assert told["charge.succeeded"]["balance_transaction"] is None
    assert "charge.updated" not in told


def test_a_synchronous_capture_has_its_balance_transaction_at_once(pay: Driver) -> None:
    intent = pay.bought(capture_method="automatic")
    told = next(event for event in pay.v1.events.list().data if event.type == "charge.succeeded")
    assert told.data.object["balance_transaction"] == pay.charge(intent).balance_transaction.id


@pytest.mark.parametrize(
    ("token", "code", "why", "advice"),
    [
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline", "try_again_later"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds", "try_again_later"),
        ("pm_card_visa_chargeDeclinedLostCard", "card_declined", "lost_card", "do_not_try_again"),
        ("pm_card_visa_chargeDeclinedStolenCard", "card_declined", "stolen_card", "do_not_try_again"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card", "do_not_try_again"),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", "processing_error", "try_again_later"),
    ],
)
def test_a_declined_card_is_a_402_and_the_intent_is_open_again(
    pay: Driver, token: str, code: str, why: str, advice: str
) -> None:
    error = declined(pay, token)
    assert (error.code, error.error.decline_code, error.error.advice_code) == (code, why, advice)
    intent = pay.v1.payment_intents.retrieve(error.error.payment_intent.id, {"expand": ["latest_charge"]})
    assert (intent.status, intent.payment_method) == ("requires_payment_method", None)
    assert (intent.last_payment_error.decline_code, intent.last_payment_error.code) == (why, code)
    assert (intent.latest_charge.status, intent.latest_charge.paid) == ("failed", False)
    assert error.error.charge == intent.latest_charge.id
    assert pay.v1.balance_transactions.list().data == []
    assert pay.events() == ["payment_intent.created", "charge.failed", "payment_intent.payment_failed"]
    confirmed = pay.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa", "return_url": BACK})
    assert (confirmed.status, confirmed.last_payment_error) == ("succeeded", None)


@pytest.mark.parametrize("token", ["pm_card_visa_chargeDeclined", "pm_card_visa_chargeDeclinedStolenCard"])
def test_a_card_that_declines_cannot_be_kept_either(pay: Driver, token: str) -> None:
    buyer = pay.customer()
    with pytest.raises(stripe.CardError):
        pay.v1.payment_methods.attach(token, {"customer": buyer.id})
    with pytest.raises(stripe.CardError) as refused:
        pay.v1.setup_intents.create(
            {"customer": buyer.id, "payment_method": token, "confirm": True, "return_url": BACK}
        )
    assert refused.value.error.setup_intent.status == "requires_payment_method"
    assert pay.v1.customers.payment_methods.list(buyer.id).data == []
    assert pay.events()[-1] == "setup_intent.setup_failed"


def test_0341_is_kept_and_declines_when_it_is_charged(pay: Driver) -> None:
    buyer = pay.customer("pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError) as refused:
        pay.away(pay.card_of(buyer), buyer.id)
    assert refused.value.error.decline_code == "generic_decline"
    assert pay.v1.payment_intents.retrieve(refused.value.error.payment_intent.id).status == "requires_payment_method"


def test_a_kept_card_is_charged_with_the_buyer_away(pay: Driver) -> None:
    buyer = pay.customer("pm_card_visa")
    assert pay.away(pay.card_of(buyer), buyer.id).status == "succeeded"


def test_3184_away_is_refused_and_the_buyer_finishes_the_same_intent(pay: Driver) -> None:
    buyer = pay.customer("pm_card_authenticationRequired")
    with pytest.raises(stripe.CardError) as refused:
        pay.away(pay.card_of(buyer), buyer.id)
    error = refused.value
    assert (error.http_status, error.code, error.error.decline_code) == (402, *["authentication_required"] * 2)
    intent = error.error.payment_intent
    assert (intent.status, intent.last_payment_error.code) == ("requires_payment_method", "authentication_required")
    assert error.error.payment_method.id == pay.card_of(buyer)
    failed = pay.fake("POST", f"payment_intents/{intent.id}/authenticate", {"ok": False})
    assert failed["error"]["code"] == "payment_intent_authentication_failure"
    assert pay.v1.payment_intents.retrieve(intent.id).status == "requires_payment_method"
    done = pay.fake("POST", f"payment_intents/{intent.id}/authenticate", {"ok": True})
    assert (done["error"], done["intent"]["status"]) == (None, "succeeded")
    paid = [charge for charge in pay.v1.charges.list({"payment_intent": intent.id}).data if charge.paid]
    assert len(paid) == 1
    assert paid[0].payment_method_details.card.three_d_secure.result == "authenticated"


def test_3184_with_the_buyer_there_waits_for_them(pay: Driver) -> None:
    intent = pay.bought("pm_card_authenticationRequired")
    assert (intent.status, intent.next_action.type) == ("requires_action", "redirect_to_url")
    assert intent.next_action.redirect_to_url.return_url == BACK
    assert pay.v1.charges.list().data == []
    assert pay.events()[-1] == "payment_intent.requires_action"
    pay.fake("POST", f"payment_intents/{intent.id}/authenticate", {"ok": True})
    assert pay.v1.payment_intents.retrieve(intent.id).status == "succeeded"


def test_3155_asks_once_when_it_is_set_up_and_then_lets_the_shop_charge(pay: Driver) -> None:
    buyer = pay.customer()
    setup = pay.v1.setup_intents.create({"customer": buyer.id, "usage": "off_session"})
    given = {"payment_method": "pm_card_authenticationRequiredOnSetup", "return_url": BACK}
    setup = pay.v1.setup_intents.confirm(setup.id, given)
    assert setup.status == "requires_action"
    pay.fake("POST", f"setup_intents/{setup.id}/authenticate", {"ok": True})
    setup = pay.v1.setup_intents.retrieve(setup.id)
    assert (setup.status, setup.payment_method) == ("succeeded", pay.card_of(buyer))
    assert pay.away(str(setup.payment_method), buyer.id).status == "succeeded"
    assert {"setup_intent.requires_action", "setup_intent.succeeded", "payment_method.attached"} <= set(pay.events())


def test_3155_that_was_never_set_up_needs_the_buyer(pay: Driver) -> None:
    buyer = pay.customer("pm_card_authenticationRequiredOnSetup")
    with pytest.raises(stripe.CardError) as refused:
        pay.away(pay.card_of(buyer), buyer.id)
    assert refused.value.code == "authentication_required"


def test_3178_authenticates_and_then_has_no_money(pay: Driver) -> None:
    intent = pay.bought("pm_card_authenticationRequiredChargeDeclinedInsufficientFunds")
    done = pay.fake("POST", f"payment_intents/{intent.id}/authenticate", {"ok": True})
    assert done["error"]["decline_code"] == "insufficient_funds"
    assert pay.v1.payment_intents.retrieve(intent.id).status == "requires_payment_method"


def test_a_card_kept_by_a_payment_is_the_customers(pay: Driver) -> None:
    buyer = pay.customer()
    intent = pay.bought(customer=buyer.id, setup_future_usage="off_session")
    assert pay.card_of(buyer) == intent.payment_method
    pay.v1.payment_methods.detach(str(intent.payment_method))
    assert pay.events()[-1] == "payment_method.detached"
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        pay.away(str(intent.payment_method), buyer.id)


def test_a_card_belongs_to_one_customer(pay: Driver) -> None:
    first, second = pay.customer("pm_card_visa"), pay.customer()
    for customer in ({"customer": second.id}, {}):
        with pytest.raises(stripe.InvalidRequestError):
            pay.created(payment_method=pay.card_of(first), **customer)


def test_an_intent_succeeds_once_and_is_not_cancelled_after_it(pay: Driver) -> None:
    intent = pay.bought()
    for wrong in (
        lambda: pay.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa", "return_url": BACK}),
        lambda: pay.v1.payment_intents.cancel(intent.id),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            wrong()
        assert refused.value.code == "payment_intent_unexpected_state"
        assert refused.value.error.payment_intent.status == "succeeded"
    assert len(pay.v1.charges.list().data) == 1


def test_a_cancelled_intent_takes_no_payment(pay: Driver) -> None:
    intent = pay.v1.payment_intents.cancel(pay.created().id, {"cancellation_reason": "abandoned"})
    assert (intent.status, intent.cancellation_reason) == ("canceled", "abandoned")
    with pytest.raises(stripe.InvalidRequestError):
        pay.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa", "return_url": BACK})
    assert pay.events()[-1] == "payment_intent.canceled"


def test_a_confirmation_needs_a_card_and_a_way_back(pay: Driver) -> None:
    intent = pay.created()
    with pytest.raises(stripe.InvalidRequestError, match="missing a payment method"):
        pay.v1.payment_intents.confirm(intent.id, {"return_url": BACK})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        pay.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})
    assert refused.value.param == "return_url"
    cards_only = pay.created(allowed_payment_method_types=["card"])
    assert pay.v1.payment_intents.confirm(cards_only.id, {"payment_method": "pm_card_visa"}).status == "succeeded"


def test_money_that_is_held_is_captured_in_part_or_released(pay: Driver) -> None:
    held = pay.bought(capture_method="manual")
    assert (held.status, held.amount_capturable) == ("requires_capture", 500)
    taken = pay.v1.payment_intents.capture(held.id, {"amount_to_capture": 300})
    assert (taken.status, taken.amount_received) == ("succeeded", 300)
    assert pay.charge(taken).balance_transaction.amount == 300
    released = pay.bought(capture_method="manual")
    assert pay.v1.payment_intents.cancel(released.id).status == "canceled"
    assert pay.charge(released).balance_transaction is None


def test_a_deleted_customer_is_gone(pay: Driver) -> None:
    buyer = pay.customer("pm_card_visa")
    assert pay.v1.customers.delete(buyer.id).deleted
    assert pay.v1.customers.retrieve(buyer.id).deleted
    with pytest.raises(stripe.InvalidRequestError):
        pay.created(customer=buyer.id)


def test_3155_that_was_set_up_still_asks_a_buyer_who_is_there(pay: Driver) -> None:
    buyer = pay.customer()
    kept = pay.fake("POST", "payment_methods", {"card": "4000002500003155", "customer": buyer.id, "set_up": True})
    assert pay.bought(kept["id"], customer=buyer.id).status == "requires_action"
    assert pay.away(kept["id"], buyer.id).status == "succeeded"


def test_3155_is_set_up_by_a_payment_that_keeps_it(pay: Driver) -> None:
    buyer = pay.customer()
    card = "pm_card_authenticationRequiredOnSetup"
    intent = pay.bought(card, customer=buyer.id, setup_future_usage="off_session")
    pay.fake("POST", f"payment_intents/{intent.id}/authenticate", {"ok": True})
    assert pay.away(pay.card_of(buyer), buyer.id).status == "succeeded"


def test_a_payment_that_keeps_its_card_is_not_made_with_the_buyer_away(pay: Driver) -> None:
    buyer = pay.customer("pm_card_visa")
    intent = pay.created(customer=buyer.id, setup_future_usage="off_session")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        pay.v1.payment_intents.confirm(intent.id, {"payment_method": pay.card_of(buyer), "off_session": True})
    assert (refused.value.http_status, refused.value.param) == (400, "off_session")
