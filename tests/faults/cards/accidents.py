"""Accidents on our own side: a worker that dies at a call to the processor or at a write to the database.

What the net and the processor do wrong is ordered from the stand-in (`Bank.fault`).
"""

import re
from collections.abc import Callable
from typing import Any

import pytest

from payments.cards import stripe_api

_WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE)\b", re.IGNORECASE)


class Crash(BaseException):
    """The worker dies here."""


class Accidents:
    """Kills the worker at a call to the processor or at a write to the database, before or after it had its effect."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._fuse: list[Any] = []
        self.crashes = 0
        self.calls = 0
        call = stripe_api._call

        def wrapped(asked: Callable[[Any], Any]) -> Any:
            self.calls += 1
            return self._pass("call", lambda: call(asked))

        patch.setattr(stripe_api, "_call", wrapped)

    def light(self, where: str, number: int, before: bool) -> None:
        """The worker dies at the so-many-th call or write from now."""
        self._fuse = [where, number, before]

    def put_out(self) -> None:
        self._fuse = []

    def on_statement(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        """Sits between the product and the database."""
        if not _WRITES.match(sql):
            return execute(sql, params, many, context)
        return self._pass("write", lambda: execute(sql, params, many, context))

    def _pass(self, where: str, act: Callable[[], Any]) -> Any:
        if not self._fuse or self._fuse[0] != where:
            return act()
        self._fuse[1] -= 1
        if self._fuse[1] > 0:
            return act()
        before = self._fuse[2]
        self._fuse = []
        self.crashes += 1
        if not before:
            act()
        raise Crash
