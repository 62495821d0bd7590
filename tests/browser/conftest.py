"""Chromium, driven by Playwright. Its event loop runs in this thread: no Django ORM in these tests."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.visits import Visits
from tests.browser.wallet import InjectedWallet
from tests.shop import Shop

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Of the package and not of the session, because the loop must be gone when other tests use the database."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
    if not Path(program).exists():
        pytest.skip(f"Chromium is missing ({program}): sudo apt-get install chromium, or set CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS, timeout=120_000)
        yield browser
        browser.close()


@pytest.fixture
def visits(chromium: Browser, shop: Shop) -> Iterator[Visits]:
    """Visits in which nothing was blocked, nothing broke and no other host was asked."""
    visits = Visits(chromium, shop)
    yield visits
    visits.close()
    assert visits.complaints == []


@pytest.fixture(scope="package")
def article(shop: Shop) -> dict[str, Any]:
    """One whose two prices differ, so that the wrong one would be noticed."""
    return next(a for a in shop.line["articles"] if a["people_price_micros"] != a["agent_price_micros"])


@pytest.fixture
def new_wallet(shop: Shop) -> Callable[..., InjectedWallet]:
    """A wallet with ten test dollars, or as many as are asked for."""

    def make(micros: int = 10_000_000, **how: Any) -> InjectedWallet:
        return InjectedWallet(shop, shop.wallet(micros), **how)

    return make


@pytest.fixture
def wallet(new_wallet: Callable[..., InjectedWallet]) -> InjectedWallet:
    return new_wallet()
