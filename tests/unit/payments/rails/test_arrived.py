"""Money that came before its proof was shown here: it sells to its owner, and to nobody else."""

import time
from typing import Any

import pytest
from django.utils import timezone

from payments import gate, quotes
from payments.models import Authorization, Chain, Grant, Payment, PaymentState, Transfer
from payments.offers import Offer, Presented
from payments.onchain import view, watcher
from payments.proofs import receipts, wallets
from payments.rails import arrived
from tests import databases
from tests.http.proofs import wallet_proof
from tests.unit.payments.counter import Counter, offer
from tests.unit.payments.onchain.balancer import Balancer
from tests.wallet import Wallet, decoded, encoded

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def at_home(settings: Any) -> None:
    settings.BASE_URL = "https://shop.example"


def requoted(header: str) -> str:
    """The same authorization with a quote that was issued just now."""
    fresh = quotes.issue(offer()).token
    message = decoded(header)
    message["accepted"]["extra"]["quote"] = fresh
    return encoded(message)


def paid(counter: Counter, wallet: Wallet) -> str:
    """Settled by somebody else, and seen."""
    header = counter.sign(wallet, offer())
    counter.settle_as_observer(header)
    watcher.watch()
    return header


def show(**what: Any) -> gate.Admitted:
    return gate.verify(Presented(**what), offer()).settle()


def proof_of(wallet: Wallet, wanted: Offer | None = None) -> str:
    wanted = wanted or offer()
    return wallet_proof({"extensions": wallets.challenge(wanted), "resource": {"url": wanted.url}}, wallet)


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.time() + seconds
    for clock in ("payments.quotes.time.time", "payments.rails.exact.time.time"):
        monkeypatch.setattr(clock, lambda: now)


def test_it_sells_long_after_the_authorization_and_the_quote_have_expired_and_without_a_settler(counter, monkeypatch):
    wallet = counter.wallet()
    header = paid(counter, wallet)
    later(monkeypatch, 90 * 86_400)
    counter.mine(4, seconds_later=3_600)
    bought = counter.present(header, offer())
    assert (bought.payment.state, bought.proven) == (PaymentState.CONFIRMED, True)
    watcher.watch()
    assert Payment.objects.get().state == PaymentState.FINAL
    assert counter.chain.balance(wallet.address) == 9_950_000


def test_a_payment_that_was_failed_before_its_money_was_matched_completes_when_it_is_shown(counter: Counter):
    header = counter.sign(counter.wallet(), offer())
    payment = counter.claim_without_money(offer(), header)
    counter.settle_as_observer(header)
    Payment.objects.update(state=PaymentState.REFUNDED)  # So that the watcher does not match it.
    watcher.watch()
    Payment.objects.update(state=PaymentState.FAILED, reason="authorization_expired")
    bought = counter.present(header, offer())
    assert bought.payment == payment
    assert bought.payment.state == PaymentState.CONFIRMED


def test_an_old_quote_does_not_buy_at_its_old_price(counter: Counter, monkeypatch: pytest.MonkeyPatch):
    """Signed once, and settled by the buyer when the price has long changed."""
    header = counter.sign(counter.wallet(), offer())
    counter.settings.QUOTE_SECONDS = 0
    stale = requoted(header)
    counter.settings.QUOTE_SECONDS = 900
    counter.mine(seconds_later=30)
    counter.settle_as_observer(stale)
    watcher.watch()
    with pytest.raises(gate.AlreadyPaid):
        counter.present(stale, offer())
    assert not Payment.objects.exists()


@pytest.mark.parametrize("seen", [True, False], ids=["by the watcher", "only on the chain"])
def test_a_header_rebuilt_from_the_chain_with_a_quote_of_ones_own_opens_nothing(counter: Counter, seen: bool):
    header = counter.sign(counter.wallet(), offer())
    counter.settle_as_observer(header)
    if seen:
        watcher.watch()
    counter.settings.QUOTE_SECONDS = 60
    with pytest.raises(gate.AlreadyPaid):
        later_quote(counter, header)
    assert not Payment.objects.exists()
    assert not Grant.objects.exists()
    counter.settings.QUOTE_SECONDS = 900
    assert_sells(counter, header)


def later_quote(counter: Counter, header: str) -> None:
    """A quote that was issued after the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("payments.quotes.time.time", lambda: time_of_head(counter) + 30)
        rebuilt = requoted(header)
    counter.present(rebuilt, offer())


def time_of_head(counter: Counter) -> int:
    return int(counter.chain.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)


def assert_sells(counter: Counter, header: str) -> None:
    try:
        counter.present(header, offer())
    except gate.PaymentInFlight:
        counter.work()
    assert counter.present(header, offer()).payment.state in (PaymentState.CONFIRMED, PaymentState.FINAL)


def test_version_1_has_no_quote_and_needs_the_wallet(counter: Counter):
    wallet = counter.wallet()
    paid(counter, wallet)
    admitted = show(wallet_proof=proof_of(wallet))
    assert admitted.proven
    assert counter.chain.balance(wallet.address) == 9_950_000


def test_a_wallet_without_money_here_opens_nothing(counter: Counter):
    paid(counter, counter.wallet())
    with pytest.raises(gate.PaymentRequired):
        show(wallet_proof=proof_of(Wallet()))
    dear = offer(1, micros=60_000)
    wallet = counter.wallet()
    paid(counter, wallet)
    with pytest.raises(gate.PaymentRequired):
        gate.verify(Presented(wallet_proof=proof_of(wallet, dear)), dear)


def restored(counter: Counter, wallet: Wallet, *, watched: bool = True) -> tuple[str, str]:
    """A backup from before the purchase was restored, and the chain was read again; the header and the receipt."""
    header = counter.sign(wallet, offer())
    with pytest.raises(gate.PaymentInFlight):
        counter.present(header, offer())
    counter.work()
    receipt = counter.present(header, offer()).receipt(offer())
    databases.empty()
    Counter(counter.chain, counter.settings)
    Chain.objects.update(started_at=0, scanned_to=0, opening_balance=0)
    head = counter.chain.rpc("eth_getBlockByNumber", "0x0", False)["hash"]
    Chain.objects.update(scanned_hash=bytes.fromhex(head[2:]))
    if watched:
        watcher.watch()
    assert not Payment.objects.exists()
    return header, receipt


@pytest.mark.parametrize("shown", ["header", "receipt", "wallet"])
def test_after_a_restore_header_receipt_and_wallet_each_open_the_article_without_a_second_payment(counter, shown):
    wallet = counter.wallet()
    header, receipt = restored(counter, wallet)
    ways = {
        "header": lambda: counter.present(header, offer()),
        "receipt": lambda: show(receipt=receipt),
        "wallet": lambda: show(wallet_proof=proof_of(wallet)),
    }
    assert ways[shown]().grant.resource == "article:1"
    assert counter.chain.balance(wallet.address) == 9_950_000
    assert Authorization.objects.count() == 1
    # And again, by each of the others.
    for way in ("receipt", "wallet"):
        assert ways[way]().grant == Grant.objects.get()


@pytest.mark.parametrize("shown", ["header", "receipt", "wallet"])
def test_while_the_watcher_is_behind_after_a_restore_nobody_is_told_to_pay(counter: Counter, monkeypatch, shown: str):
    wallet = counter.wallet()
    header, receipt = restored(counter, wallet, watched=False)
    counter.chain.rpc("anvil_mine", "0x100")
    if shown == "header":
        later(monkeypatch, 600)
    ways = {
        "header": lambda: counter.present(header, offer()),
        "receipt": lambda: show(receipt=receipt),
        "wallet": lambda: show(wallet_proof=proof_of(wallet)),
    }
    with pytest.raises(gate.PaymentInFlight):
        ways[shown]()
    while view.watcher_is_behind():
        watcher.watch()
        view._Behind.until = 0.0
    assert ways[shown]().grant.resource == "article:1"
    assert counter.chain.balance(wallet.address) == 9_950_000


def test_a_receipt_waits_for_the_watcher_whatever_else_its_buyer_tried(counter: Counter):
    wallet = counter.wallet()
    _, receipt = restored(counter, wallet, watched=False)
    counter.chain.rpc("anvil_mine", "0x100")
    buyer = f"eip155:{counter.settings.CHAIN_ID}:{wallet.address.lower()}"
    failed = {"state": PaymentState.FAILED, "decided_at": timezone.now(), "reason": "authorization_expired"}
    what = {"resource": "article:1", "version": 1, "payee": "publisher:7", "audience": "agents", "price_id": 1}
    tried = Payment.objects.create(rail="exact", buyer=buyer, amount_micros=50_000, **what, **failed)
    addresses = {"payer": wallet.address, "recipient": counter.settings.PAY_TO, "token": counter.settings.CHAIN_ASSET}
    proof = {"chain_id": counter.settings.CHAIN_ID, "nonce": bytes(32), "valid_after": 0, "valid_before": 1}
    Authorization.objects.create(
        payment=tried, signature=b"", **{name: bytes.fromhex(at[2:]) for name, at in addresses.items()}, **proof
    )
    with pytest.raises(gate.CannotSay):
        show(receipt=receipt)


@pytest.mark.parametrize("knows", [False, True])
def test_a_late_proof_is_not_refused_by_a_node_that_is_behind(counter: Counter, monkeypatch, knows: bool):
    """Its money moved in the newest block, and the node that is asked does not have that yet."""
    header = counter.sign(counter.wallet(), offer())
    counter.settle_as_observer(header)
    if knows:
        view.head()
    later(monkeypatch, 600)
    balancer = Balancer(monkeypatch, lambda method, params: method == "eth_call")
    balancer.on = True
    with pytest.raises(gate.PaymentInFlight):
        counter.present(header, offer())
    balancer.on = False


def test_a_late_proof_that_paid_nobody_long_ago_is_refused_for_good(counter: Counter, monkeypatch):
    wallet = counter.wallet()
    header = counter.sign(wallet, offer())
    counter.cancel(wallet, header)
    counter.chain.rpc("anvil_mine", hex(counter.settings.CHAIN_LOG_RANGE + 50))
    behind = True
    monkeypatch.setattr(view, "watcher_is_behind", lambda: behind)
    later(monkeypatch, 3_600)
    with pytest.raises(gate.PaymentInFlight):
        counter.present(header, offer())
    behind = False
    with pytest.raises(gate.PaymentRequired, match="authorization_used"):
        counter.present(header, offer())
    later(monkeypatch, 600 - 3_600)
    with pytest.raises(gate.PaymentInFlight):
        counter.present(header, offer())


@pytest.mark.parametrize("proof", ["receipt", "wallet"])
def test_a_watcher_that_has_read_everything_has_missed_nothing(counter: Counter, monkeypatch, proof: str):
    """A buyer without money here is told to pay; one whose payment was taken back too."""
    wallet = counter.wallet()
    _, receipt = restored(counter, wallet)
    other = counter.wallet()
    Transfer.objects.update(orphaned_at=timezone.now())
    way = {"receipt": {"receipt": receipt}, "wallet": {"wallet_proof": proof_of(other)}}[proof]
    with pytest.raises(gate.PaymentRequired):
        show(**way)
    if proof == "receipt":
        # That transaction was read, however far the watcher is.
        with monkeypatch.context() as patch:
            patch.setattr(view, "watcher_is_behind", lambda: pytest.fail("asked"))
            with pytest.raises(gate.PaymentRequired):
                show(**way)
    with monkeypatch.context() as patch:
        patch.setattr(view, "head", lambda floor: pytest.fail("asked again"))
        with pytest.raises(gate.PaymentRequired):
            show(**way)


def test_a_late_proof_is_refused_only_when_the_chain_says_that_its_money_did_not_move(counter: Counter, monkeypatch):
    wallet = counter.wallet()
    header = counter.sign(wallet, offer())
    later(monkeypatch, 600)
    with pytest.raises(gate.PaymentRequired, match="valid_before"):
        counter.present(header, offer())
    with monkeypatch.context() as patch:
        patch.setattr(counter.settings, "CHAIN_RPC_URL", "http://127.0.0.1:9")
        with pytest.raises(gate.CannotSay):
            counter.present(header, offer())


def test_a_receipt_for_another_article_or_by_another_shop_opens_nothing(counter: Counter, settings):
    _, receipt = restored(counter, counter.wallet())
    with pytest.raises(gate.PaymentRequired):
        gate.verify(Presented(receipt=receipt), offer(2))
    settings.SECRET_KEY = "another secret"
    assert receipts.read(receipt) is None
    with pytest.raises(gate.PaymentRequired):
        show(receipt=receipt)


def test_a_copy_that_was_checked_before_the_other_was_settled_reads_too(counter: Counter, monkeypatch):
    """Also when the block's clock is a second behind the quote's."""
    header = counter.sign(counter.wallet(), offer())
    copy = counter.verify(header, offer())
    with pytest.raises(gate.PaymentInFlight):
        counter.present(header, offer())
    counter.work()
    monkeypatch.setattr(arrived, "_moved_at", lambda *_: 0)
    admitted = copy.settle()
    assert (admitted.payment, admitted.proven) == (Payment.objects.get(), True)


def test_one_transfer_opens_one_article(counter: Counter):
    wallet = counter.wallet()
    paid(counter, wallet)
    show(wallet_proof=proof_of(wallet))
    other = offer(2)
    with pytest.raises(gate.PaymentRequired):
        gate.verify(Presented(wallet_proof=proof_of(wallet, other)), other)


def test_a_header_rebuilt_while_its_payment_is_under_way_opens_nothing_when_it_is_paid(counter: Counter, monkeypatch):
    wallet = counter.wallet()
    mine = counter.sign(wallet, offer(2))
    with pytest.raises(gate.PaymentInFlight):
        counter.present(mine, offer(2))
    monkeypatch.setattr("payments.waiters.until_decided", lambda *_: counter.work())
    rebuilt = decoded(mine)
    rebuilt["accepted"]["extra"]["quote"] = quotes.issue(offer(2)).token
    with pytest.raises(gate.AlreadyPaid):
        counter.present(encoded(rebuilt), offer(2))
    assert counter.present(mine, offer(2)).proven


def test_money_that_a_payment_of_ours_has_claimed_before_is_not_claimed_by_the_wallet(counter: Counter):
    """It was given up, the buyer bought by another, and then its money came all the same: it stays in suspense."""
    wallet = counter.wallet()
    first = counter.sign(wallet, offer())
    counter.claim_without_money(offer(), first)
    Payment.objects.update(state=PaymentState.RELEASED, reason="insufficient_funds")
    counter.buy(wallet, offer())
    counter.settle_as_observer(first)
    watcher.watch()
    other = offer(2)
    with pytest.raises(gate.PaymentRequired):
        gate.verify(Presented(wallet_proof=proof_of(wallet, other)), other)


def test_a_wallets_money_buys_nothing_that_is_not_sold_and_a_receipts_does(counter: Counter):
    wallet = counter.wallet()
    paid(counter, wallet)
    assert gate.verify(Presented(wallet_proof=proof_of(wallet)), offer()).sells
    _, receipt = restored(counter, counter.wallet())
    assert not gate.verify(Presented(receipt=receipt), offer()).sells


def test_a_challenge_of_a_former_key_is_answered(counter: Counter, settings: Any):
    wallet = counter.wallet()
    paid(counter, wallet)
    proof = proof_of(wallet)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another secret", [settings.SECRET_KEY]
    assert show(wallet_proof=proof).proven
