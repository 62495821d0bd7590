"""What the tests over HTTP share: a till in this process, and a count of what the chain was asked."""

from collections.abc import Callable
from typing import Any

import pytest

from payments import waiters
from payments.models import Authorization, Payment
from payments.onchain import rpc as product_chain
from publishers.models import Article
from tests import cast
from tests.chain import LocalChain
from tests.error_words import Promise, promised

from .till import Till


@pytest.fixture
def till(chain: LocalChain, settings: Any, monkeypatch: pytest.MonkeyPatch, db: None) -> Till:
    """An open till. Whoever waits for a decision lets the settler work meanwhile, so that nothing here needs time."""
    opened = Till(chain, settings)
    monkeypatch.setattr(waiters, "until_decided", lambda payment_id, seconds, source: opened.work())
    opened.open()
    return opened


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the JSON-RPC methods that the product has called so far."""
    calls: list[str] = []
    real = product_chain.request

    def counted(method: str, *params: Any) -> Any:
        calls.append(method)
        return real(method, *params)

    monkeypatch.setattr(product_chain, "request", counted)
    return calls


@pytest.fixture
def owls(db: None) -> Article:
    """An article on sale: 25 cents for people, 5 for agents."""
    return cast.article(cast.publication(cast.person("alice")))


@pytest.fixture
def refused(till: Till, owls: Article, asked: list[str]) -> Callable[..., None]:
    """Send a payment and expect to be refused: by this word and status, uncharged, unrecorded.

    Without the chain, unless the proof is `late`: its money may have moved in time.
    """

    def check(status: int, word: str, *, late: bool = False, **shown: str) -> None:
        asked.clear()
        answer = till.get(owls, **shown)
        said = answer.json()
        assert (answer.status_code, said["error"]) == (status, word)
        assert promised()[word] == Promise(status, False)
        assert said["charged"] is False
        assert said["message"].endswith("You have not been charged.")
        assert answer["Cache-Control"] == "no-store"
        assert ("PAYMENT-REQUIRED" in answer) == (status == 402)
        assert bool(asked) == late
        assert Payment.objects.count() == Authorization.objects.count() == 0

    return check
