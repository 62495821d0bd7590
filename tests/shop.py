"""A whole running shop for tests: the processes of `dev.py demo`, with a chain of its own."""

import argparse
import os
import re
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg

from dev import chain as dev_chain
from dev.stack import Stack
from tests import local
from tests.wallet import Wallet, decoded

# Seconds after which a test says that something never happens. A busy machine is slow, and that is no failure: how fast
# the product is, the benchmark asks.
PATIENCE = 60
ANVIL = Path(os.environ.get("ANVIL", "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil")).absolute()


class Shop:
    """A running stack, and what a test does with it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.line = stack.line()
        self.url: str = self.line["base_url"]
        self._known: list[Any] = []
        self.http = local.client(self.url, timeout=PATIENCE, headers={"Accept": "application/json"})

    def article(self, number: int = 0) -> dict[str, Any]:
        return self.line["articles"][number]

    def twins(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Two articles of one publication with equal prices."""
        seen: dict[tuple, dict] = {}
        for one in self.line["articles"]:
            key = (one["publication"], one["people_price_micros"], one["agent_price_micros"])
            if key in seen:
                return seen[key], one
            seen[key] = one
        raise AssertionError("the sample has no two articles of one price")

    def wallet(self, micros: int = 100_000_000) -> Wallet:
        """A new wallet with test dollars."""
        wallet = Wallet()
        self.mint(wallet.address, micros)
        return wallet

    def wallets(self, number: int, micros: int = 100_000_000) -> list[Wallet]:
        """Several at once: with timed blocks they all get their money in the same one."""
        wallets = [Wallet() for _ in range(number)]
        sent = [self._send_mint(wallet.address, micros) for wallet in wallets]
        for tx in sent:
            self.wait(lambda tx=tx: self.rpc("eth_getTransactionReceipt", tx), "the mint")
        return wallets

    def mint(self, holder: str, micros: int) -> None:
        tx = self._send_mint(holder, micros)
        self.wait(lambda: self.rpc("eth_getTransactionReceipt", tx), "the mint")

    def _send_mint(self, holder: str, micros: int) -> str:
        call = f"0x40c10f19{holder[2:].lower():0>64}{micros:064x}"
        minter = self.stack.accounts.minter.address
        return self.rpc("eth_sendTransaction", {"from": minter, "to": dev_chain.TEST_DOLLAR, "data": call})

    def balance(self, holder: str) -> int:
        return dev_chain.balance_micros(self.stack.chain_url, holder)

    def rpc(self, method: str, *params: Any) -> Any:
        """The chain itself, whatever stands between it and the product."""
        return dev_chain.rpc(self.stack.chain_url, method, *params)

    def terms(self, url: str, **headers: str) -> dict[str, Any]:
        """The decoded PAYMENT-REQUIRED of an address."""
        answer = self.http.get(url, headers=headers)
        assert answer.status_code == 402, (answer.status_code, answer.text[:300])
        return decoded(answer.headers["PAYMENT-REQUIRED"])

    def buy(self, wallet: Wallet, url: str, **headers: str) -> httpx.Response:
        """Ask, sign, and ask again with the payment."""
        return self.http.get(url, headers={"PAYMENT-SIGNATURE": wallet.pay(self.terms(url, **headers)), **headers})

    def reader(self) -> dict[str, str]:
        """A new account, made on the site's own pages: what a test buys for it is in no other test's way."""
        login = {"email": f"reader-{secrets.token_hex(4)}@example.org", "password": secrets.token_urlsafe(12)}
        with local.client(self.url, timeout=PATIENCE, follow_redirects=True) as browser:
            asked = self._post(browser, "/accounts/signup/", email=login["email"], password1=login["password"])
            code = self.wait(lambda: self._code(login["email"]), "the mail with the code")
            known = self._post(browser, str(asked.url), code=code)
            assert "Sign out" in known.text, known.text[:500]
        return login

    def _post(self, browser: httpx.Client, address: str, **form: str) -> httpx.Response:
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get(address).text)
        assert token, address
        data = {**form, "csrfmiddlewaretoken": token[1]}
        return browser.post(address, data=data, headers={"Referer": f"{self.url}{address}"})

    def _code(self, email: str) -> str | None:
        """The code in the newest mail to this address."""
        mails = (path.read_text() for path in sorted((self.stack.folder / "mail").glob("*")))
        codes = [re.search(r"^([A-Z0-9-]{6,})$", mail, re.M) for mail in mails if f"To: {email}" in mail]
        return codes[-1][1] if codes and codes[-1] else None

    def audit(self) -> None:
        """The product's own audit finds nothing new: what a test has left behind is said there, and once."""
        found = self.stack.ask("audit")
        new = [one for one in found if one not in self._known]
        self._known += new
        assert not new, "\n".join(["The audit of this shop finds:", *map(str, new)])

    def sql(self, statement: str) -> list[tuple]:
        """Rows from the shop's own database, read by another client than the product."""
        url = self.line["env"]["DATABASE_URL"]
        if url.startswith("sqlite"):
            with sqlite3.connect(f"file:{url.removeprefix('sqlite:///')}?mode=ro", uri=True) as connection:
                return connection.execute(statement).fetchall()
        with psycopg.connect(url) as connection:
            return connection.execute(statement).fetchall()  # type: ignore[arg-type]

    @staticmethod
    def wait(found: Any, what: str, seconds: float = PATIENCE) -> Any:
        """Poll until something is there; bounded."""
        ends = time.monotonic() + seconds
        while not (value := found()):
            assert time.monotonic() < ends, f"{what}: not within {seconds} s"
            time.sleep(0.02)
        return value


@contextmanager
def open_shop(name: str, *, block_time: float | None = None, rpc_url: str | None = None, chain_port: int | None = None,
              kind: type[Stack] = Stack, **variables: str) -> Iterator[Shop]:  # fmt: skip
    """Start a shop on the database that this test run is about; `variables` are settings of the product."""
    options = argparse.Namespace(
        port=None,
        chain_port=chain_port,
        block_time=block_time,
        rpc_url=rpc_url,
        broker_url=None,
        database_url=_database(name),
    )
    stack = kind(options)
    try:
        # Only while it starts: another shop that starts later must not get them too.
        with patch.dict(os.environ, variables):
            stack.start(ANVIL)
        shop = Shop(stack)
        with shop.http:
            yield shop
    finally:
        stack.stop()


def _database(name: str) -> str | None:
    """None: a new SQLite file. On PostgreSQL: a new database of that name, owned by the test role."""
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith("postgres"):
        return None
    parts = urlsplit(url)
    database = f"shop_{name}_{os.getpid()}".lower()
    with psycopg.connect(urlunsplit(parts._replace(path="/postgres")), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')  # type: ignore[arg-type]
        connection.execute(f'CREATE DATABASE "{database}"')  # type: ignore[arg-type]
    return urlunsplit(parts._replace(path=f"/{database}"))
