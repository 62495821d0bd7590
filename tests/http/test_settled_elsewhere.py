"""Authorizations that somebody else brings to the chain: an observer, the payer itself, before or after they are shown.

The rule (docs/errors.md): what arrived for nobody in particular counts once, for the first who presents it.
"""

import pytest
from django.conf import settings

from payments.books import accounts, ledger
from payments.models import Grant, Payment, PaymentState, Transfer
from payments.onchain import watcher
from tests import cast
from tests.wallet import decoded

from .proofs import wallet_proof
from .till import repacked, requoted

pytestmark = pytest.mark.django_db


@pytest.fixture
def twin(owls):
    """Another article of the same publication at the same prices."""
    return cast.article(owls.publication, "Twin owls")


def suspended() -> int:
    """What lies in suspense, in micros."""
    return ledger.balance(accounts.suspense(settings.CHAIN_ID))


def test_what_an_observer_settled_first_counts_for_its_presenter(till, owls):
    wallet = till.wallet(1_000_000)
    header = till.sign(wallet, owls)
    tx = till.settle_as_observer(header)
    answer = till.get(owls, payment_signature=header)
    assert answer.status_code == 200
    assert decoded(answer["PAYMENT-RESPONSE"])["transaction"] == tx
    assert till.chain.balance(wallet.address) == 950_000
    assert ledger.balance(f"publisher:{owls.publication_id}:earned") == 47_500
    again = till.get(owls, ".md", payment_signature=header)
    assert again.status_code == 200
    assert decoded(again["PAYMENT-RESPONSE"])["transaction"] == tx
    assert Payment.objects.count() == Grant.objects.count() == 1


@pytest.mark.parametrize("version", [1, 2])
def test_money_that_waited_in_suspense_buys_when_it_is_presented(till, owls, version):
    wallet = till.wallet(1_000_000)
    header = till.sign(wallet, owls) if version == 2 else till.sign_v1(wallet, owls)
    tx = till.settle_as_observer(header)
    watcher.watch()
    assert suspended() == 50_000
    assert ledger.balance(f"publisher:{owls.publication_id}:earned") == 0
    if version == 2:
        answer = till.get(owls, payment_signature=header)
        assert decoded(answer["PAYMENT-RESPONSE"])["transaction"] == tx
    else:
        # The header is on the chain by now, and names no quote: the wallet has to prove that it paid.
        assert till.get(owls, x_payment=header).status_code == 409
        answer = till.get(owls, sign_in_with_x=wallet_proof(till.terms(owls), wallet))
    assert answer.status_code == 200
    assert answer["PAYMENT-RECEIPT"]
    assert suspended() == 0
    assert ledger.balance(f"publisher:{owls.publication_id}:earned") == 47_500


def test_it_does_not_count_a_second_time_for_another_article(till, owls, twin):
    header = till.sign(till.wallet(), owls)
    till.settle_as_observer(header)
    assert till.get(owls, payment_signature=header).status_code == 200
    for shown in ({"payment_signature": requoted(header, till.terms(twin))}, {"x_payment": as_version_1(header)}):
        answer = till.get(twin, **shown)
        assert answer.status_code == 402
        assert answer.json()["error"] == "authorization_spent_elsewhere"
        assert answer.json()["charged"] is None, "its money has moved, only not for this article"
    assert Payment.objects.count() == Grant.objects.count() == 1


def test_a_payment_settled_by_us_buys_no_second_article_of_the_same_price(till, owls, twin):
    header, _ = till.buy(till.wallet(), owls)
    answer = till.get(twin, payment_signature=header)
    assert (answer.status_code, answer.json()["error"]) == (402, "authorization_spent_elsewhere")
    answer = till.get(twin, payment_signature=requoted(header, till.terms(twin)))
    assert (answer.status_code, answer.json()["error"]) == (402, "authorization_spent_elsewhere")
    assert Grant.objects.count() == 1


def test_the_publisher_of_the_article_that_was_claimed_is_the_one_who_is_paid(till, owls):
    stranger = cast.article(cast.publication(cast.person("carol"), "The Raven"), "Ravens")
    header, _ = till.buy(till.wallet(), owls)
    answer = till.get(stranger, payment_signature=requoted(header, till.terms(stranger)))
    assert answer.status_code == 402
    assert ledger.balance(f"publisher:{owls.publication_id}:earned") == 47_500
    assert ledger.balance(f"publisher:{stranger.publication_id}:earned") == 0


def test_the_first_presenter_says_what_was_bought_even_if_it_is_an_observer(till, owls, twin):
    """Unavoidable: nothing in an authorization names an article. The payer, whose it is, can read by wallet proof."""
    header = till.sign(till.wallet(), owls)
    till.settle_as_observer(header)
    assert till.get(twin, payment_signature=requoted(header, till.terms(twin))).status_code == 200
    answer = till.get(owls, payment_signature=header)
    assert (answer.status_code, answer.json()["error"]) == (402, "authorization_spent_elsewhere")
    assert Grant.objects.get().resource == f"article:{twin.pk}"


def test_an_authorization_of_another_amount_stays_in_suspense_and_buys_nothing(till, owls):
    header = till.sign(till.wallet(), owls, value=49_999)
    till.settle_as_observer(header)
    answer = till.get(owls, payment_signature=header)
    assert answer.status_code == 402
    assert answer.json()["error"] == "invalid_exact_evm_payload_authorization_value_mismatch"
    watcher.watch()
    assert suspended() == 49_999
    assert not Payment.objects.exists()


@pytest.mark.parametrize("in_flight", [False, True])
def test_a_cancelled_authorization_pays_nothing_and_is_told_so(till, owls, in_flight):
    wallet = till.wallet(1_000_000)
    header = till.sign(wallet, owls)
    till.asleep = True
    if in_flight:
        assert till.get(owls, payment_signature=header).status_code == 503
    till.cancel(wallet, header)
    till.asleep = False
    answer = till.get(owls, payment_signature=header)
    assert (answer.status_code, answer.json()["error"], answer.json()["charged"]) == (402, "authorization_used", False)
    assert till.chain.balance(wallet.address) == 1_000_000
    assert [payment.state for payment in Payment.objects.all()] == [PaymentState.RELEASED] * in_flight
    assert not Grant.objects.exists()
    # Told so, the buyer signs again and is not held back by the dead authorization.
    assert till.buy(wallet, owls)[1].status_code == 200


def test_one_that_an_observer_settles_while_it_is_in_flight_pays_once(till, owls):
    wallet = till.wallet(1_000_000)
    header = till.sign(wallet, owls)
    till.asleep = True
    waiting = till.get(owls, payment_signature=header)
    assert (waiting.status_code, waiting.json()["error"], waiting.json()["charged"]) == (
        503,
        "settlement_pending",
        None,
    )
    assert int(waiting["Retry-After"]) > 0
    tx = till.settle_as_observer(header)
    till.asleep = False
    answer = till.get(owls, payment_signature=header)
    assert answer.status_code == 200
    assert decoded(answer["PAYMENT-RESPONSE"])["transaction"] == tx
    assert till.chain.balance(wallet.address) == 950_000


def test_a_second_authorization_of_an_owner_that_is_on_the_chain_is_kept_and_not_taken_for_a_proof(till, owls):
    """It is public now: whoever shows it may be anybody. The money is in suspense, and nobody is told "not charged"."""
    wallet = till.wallet()
    till.buy(wallet, owls)
    second = till.sign(wallet, owls)
    till.settle_as_observer(second)
    answer = till.get(owls, payment_signature=second)
    assert (answer.status_code, answer.json()["error"], answer.json()["charged"]) == (409, "already_paid", None)
    watcher.watch()
    assert suspended() == 50_000


def test_an_authorization_that_paid_somebody_else_in_the_meantime_is_not_taken_for_ours(till, owls):
    """The same nonce, signed for another recipient and settled: the token calls ours used; it paid us nothing."""
    wallet = till.wallet()
    nonce = "0x" + "5a" * 32
    header = till.sign(wallet, owls, nonce=nonce)
    till.settle_as_observer(till.sign(wallet, owls, nonce=nonce, to="0x" + "77" * 20))
    answer = till.get(owls, payment_signature=header)
    assert (answer.status_code, answer.json()["error"], answer.json()["charged"]) == (402, "authorization_used", False)
    assert not Grant.objects.exists()


def test_what_others_settled_counts_when_it_is_as_deep_as_what_we_settle(till, owls, settings):
    settings.CHAIN_CONFIRMATIONS = 3
    header = till.sign(till.wallet(), owls)
    till.asleep = True
    assert till.get(owls, payment_signature=header).status_code == 503
    till.settle_as_observer(header)
    till.asleep = False
    till.work()
    block = Transfer.objects.get(payment__state=PaymentState.CONFIRMED).block_number
    assert int(till.chain.rpc("eth_blockNumber"), 16) - block + 1 >= 3


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("in_flight", [False, True])
def test_the_same_nonce_that_paid_us_another_amount_does_not_leave_the_payment_hanging(till, owls, in_flight, watched):
    wallet = till.wallet()
    nonce = "0x" + "6b" * 32
    header, other = till.sign(wallet, owls, nonce=nonce), till.sign(wallet, owls, nonce=nonce, value=7)
    till.asleep = True
    if in_flight:
        assert till.get(owls, payment_signature=header).status_code == 503
    till.settle_as_observer(other)
    if watched:
        watcher.watch()
    till.asleep = False
    answer = till.get(owls, payment_signature=header)
    assert (answer.status_code, answer.json()["error"], answer.json()["charged"]) == (402, "authorization_used", False)
    assert suspended() == 7
    assert not Grant.objects.exists()


def as_version_1(header: str) -> str:
    message = decoded(header)
    return repacked({"x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": message["payload"]})
