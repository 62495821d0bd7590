"""kill -9 at every step between claim and answer: the same header finishes the same purchase, once, by itself."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.shop import PATIENCE

from .stage import Stage

_SIGN, _RECORD = "payments.onchain.settler:Settler._signed", "payments.onchain.record:transfers"

SETTLER = [
    ("payments.onchain.rpc:simulate", "before", "claimed, nothing done"),
    ("payments.onchain.rpc:simulate", "after", "claimed and found good"),
    ("payments.onchain.lease:LeaseHolder.take_nonce", "after", "nonce taken, not committed"),
    ("payments.onchain.settler:Settler._attempt", "after", "signed, not committed"),
    (_SIGN, "after", "signed and stored, not sent"),
    ("payments.onchain.rpc:send", "before", "about to send"),
    ("payments.onchain.rpc:send", "after", "sent"),
    ("payments.onchain.logs:receipt", "after", "a receipt was read"),
    ("payments.onchain.view:has", "after", "its block was confirmed"),
    (_RECORD, "before", "about to record"),
    ("payments.books.ledger:post_all", "after", "posted, not committed"),
    (_RECORD, "after", "recorded"),
    ("payments.onchain.record:reopen", "before", "recorded and marked as mined"),
    ("payments.onchain.record:reopen", "after", "done"),
]

OUTRUN = [
    ("payments.onchain.record:reopen", "before", "mined without paying, not opened again"),
    ("payments.onchain.record:reopen", "after", "opened again"),
    ("payments.onchain.logs:fate_of", "before", "about to look for who paid"),
    ("payments.onchain.logs:fate_of", "after", "found who paid"),
    ("payments.onchain.record:claim_received", "after", "looked into suspense"),
]

WEB = [
    ("payments.gate:Admission._claim", "before", "verified, not claimed"),
    ("payments.rails.exact:Exact.claim", "before", "payment written, authorization not"),
    ("payments.rails.exact:Exact.claim", "after", "claim written, not committed"),
    ("payments.gate:Admission._claim", "after", "claimed"),
    ("payments.waiters:until_decided", "before", "about to wait"),
    ("payments.waiters:until_decided", "after", "decided, not looked at"),
    ("payments.http:with_receipt", "before", "paid, no answer yet"),
    ("payments.http:with_receipt", "after", "answer written, no byte sent"),
]

WATCHER = [
    ("payments.onchain.watcher:watch", "before", "about to look"),
    ("payments.onchain.logs:transfers_between", "after", "the logs were read"),
    ("payments.onchain.record:take_back", "before", "a reorganisation found"),
    ("payments.books.ledger:post_all", "before", "half of it taken back"),
    ("payments.onchain.record:take_back", "after", "one transfer taken back"),
    (_RECORD, "before", "about to record"),
    ("payments.onchain.watcher:_finalise", "before", "recorded, place not remembered"),
    ("payments.onchain.watcher:_finalise", "after", "place remembered"),
]

RPC = [
    ("eth_call", "before"),
    ("eth_call", "after"),
    ("eth_sendRawTransaction", "before"),
    ("eth_sendRawTransaction", "after"),
    ("eth_getTransactionReceipt", "before"),
    ("eth_getTransactionReceipt", "after"),
]

# What these steps leave behind does not depend on the database; the campaign kills at all of them on both.
_ON_ONE = pytest.mark.on_postgresql


def _named(points: list[tuple[str, str, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("step", "moment"), [pytest.param(*p[:2], id=p[2]) for p in points])


@_named(SETTLER)
def test_a_settler_killed_at_any_step_is_replaced_and_the_money_moves_once(stage: Stage, step: str, moment: str):
    purchase = stage.purchase()
    stage.trap.arm("settler", step, moment)
    with stage.death_of(stage.settler):
        purchase.send()
    purchase.finish()
    purchase.was_bought_once()


@_ON_ONE
@_named(OUTRUN)
def test_a_settler_killed_while_it_learns_that_a_stranger_paid_is_replaced(stage: Stage, step: str, moment: str):
    purchase = stage.purchase()
    stage.trap.arm("settler", step, moment)
    stage.node.on("eth_sendRawTransaction", before=lambda: stage.front_run(purchase))
    with stage.nobody_watches():
        with stage.death_of(stage.settler):
            purchase.send()
        purchase.finish()
    purchase.was_bought_once()


@_ON_ONE
@pytest.mark.parametrize(("method", "moment"), RPC)
def test_a_settler_killed_at_a_call_to_the_chain_is_replaced(stage: Stage, method: str, moment: str):
    purchase = stage.purchase()
    with stage.death_of(stage.settler) as kill:
        rule = stage.node.on(method, drop=moment, when=_is_the_settlers, **{moment: kill})
        purchase.send()
    assert rule.hits == 1
    purchase.finish()
    purchase.was_bought_once()


def _is_the_settlers(params: list) -> bool:
    """The web workers make calls too, in nobody's name."""
    return not (params and isinstance(params[0], dict) and "from" not in params[0])


@_ON_ONE
@_named(WEB)
def test_a_web_worker_killed_at_any_step_leaves_nothing_half_done(stage: Stage, step: str, moment: str):
    purchase = stage.purchase()
    stage.trap.arm("web", step, moment)
    purchase.send_until_cut()
    assert stage.trap.sprung.exists()
    purchase.finish()
    purchase.was_bought_once()


@_ON_ONE
def test_the_whole_web_server_killed_after_the_claim_answers_the_same_header_when_it_is_back(stage: Stage):
    purchase = stage.purchase()
    with stage.nobody_settles():
        with stage.death_of(stage.web) as kill, purchase.under_way() as answer:
            stage.shop.wait(purchase.payments, "the claim")
            kill()
            assert isinstance(answer.exception(PATIENCE), Exception)
        assert [state for _, state in purchase.payments()] == ["claimed"]
    purchase.finish(web_dies=True)
    purchase.was_bought_once()


@_ON_ONE
def test_a_sale_made_while_the_web_server_was_dead_is_read_with_the_same_header(stage: Stage):
    purchase = stage.purchase()
    stage.trap.arm("web", "payments.waiters:until_decided", "before")
    with stage.death_of(stage.web) as kill:
        stage.signal(stage.web, signal.SIGSTOP)  # The master: it forks nobody anew meanwhile.
        with purchase.under_way() as answer:
            assert isinstance(answer.exception(PATIENCE), Exception)
        stage.shop.wait(purchase.grants, "the sale")
        kill()
    purchase.finish(web_dies=True)
    purchase.was_bought_once()


@_ON_ONE
@_named(WATCHER)
def test_a_watcher_killed_at_any_step_of_a_reorganisation_finishes_it_when_it_is_back(
    stage: Stage, step: str, moment: str
):
    purchase = stage.bought_on_old_money()
    with stage.death_of(stage.watcher):
        stage.trap.arm("watcher", step, moment)
        stage.reorganise(purchase)
    stage.shop.wait(purchase.transfers, "the second settlement")
    purchase.finish()
    stage.books_agree()
    purchase.was_bought_anew()


def test_everything_killed_at_once_comes_back_to_the_same_books(stage: Stage):
    purchases = stage.purchases(4)
    with stage.nobody_settles(), ThreadPoolExecutor(4) as pool:
        for purchase in purchases:
            pool.submit(purchase.send)
        for purchase in purchases:
            stage.shop.wait(purchase.payments, "the claim")
        for child in stage.children.values():
            child.signal(signal.SIGKILL)
        for child in stage.children.values():
            stage.shop.wait(lambda child=child: child.ended() is not None, "the end of all")
            child.start()
    for purchase in purchases:
        purchase.finish(web_dies=True)
        purchase.was_bought_once()
