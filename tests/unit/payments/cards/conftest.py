"""What the tests of each guard of cards share."""

from typing import Any

import pytest

from payments.cards import refunds, stripe_api, tabs
from payments.models import CardRefund


@pytest.fixture
def nobody_is_asked(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor is asked only if a test gives its answer."""
    settings.STRIPE_SECRET_KEY = "sk_test_of_the_tests"
    monkeypatch.setattr(stripe_api, "_call", lambda call: pytest.fail("the processor was asked"))
    monkeypatch.setattr(tabs, "_customers", lambda charge: set())


@pytest.fixture
def unsent(monkeypatch: pytest.MonkeyPatch) -> list[CardRefund]:
    """Refunds that were asked for; nothing is sent."""
    asked: list[CardRefund] = []
    monkeypatch.setattr(refunds, "drive", lambda refund: asked.append(refund) or refund)
    return asked
