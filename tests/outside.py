"""No call leaves the process while a transaction is open: whoever waits outside must not hold rows, and what is not
committed must not have been told to anybody.

The product does not know of it: its two doors, to the node and to the card processor, and the two transports below
them (a list's later pages go through no door), are wrapped from outside. So is the post.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any

from django.db import connections

DOORS = (
    "payments.onchain.rpc:request",
    "web3:HTTPProvider.make_request",
    "payments.cards.stripe_api:_call",
    "stripe:RequestsClient.request",
    "django.core.mail:EmailMessage.send",
)


class InsideTransaction(AssertionError):
    """Somebody outside was asked, or told, before the commit."""


def in_transaction() -> bool:
    """Whether this thread has a transaction open that is not the one around a test."""
    here = connections.all(initialized_only=True)
    return any(not block._from_testcase for one in here for block in one.atomic_blocks)


def watch(note: Callable[[str], None]) -> None:
    """Wrap every door of this process, for good. `note` is told what was done inside a transaction; it may raise."""
    for door in DOORS:
        where, _, path = door.partition(":")
        *owners, name = path.split(".")
        owner = functools.reduce(getattr, owners, importlib.import_module(where))
        setattr(owner, name, _watched(getattr(owner, name), note, door))


def _watched(door: Callable[..., Any], note: Callable[[str], None], name: str) -> Callable[..., Any]:
    @functools.wraps(door)
    def passed(*args: Any, **kwargs: Any) -> Any:
        if in_transaction():
            note(f"{name} {next((word for word in args if isinstance(word, str)), '')}".strip())
        return door(*args, **kwargs)

    return passed


class Notes(list[str]):
    """What was done inside a transaction by the test that runs now, also where the error was swallowed."""

    def note(self, what: str) -> None:
        """Remember it, and stop whoever does it."""
        self.append(what)
        raise InsideTransaction(f"{what} while a transaction is open")

    def taken(self) -> list[str]:
        """All of them, which are forgotten with this."""
        said = list(self)
        self.clear()
        return said
