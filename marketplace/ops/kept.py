"""Answers from outside that are asked for rarely, however often somebody wants to know."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

_Answer = TypeVar("_Answer")


class Kept(Generic[_Answer]):
    """An answer that is at most so many seconds old. One thread asks at a time; the others get the last answer."""

    def __init__(self, ask: Callable[[], _Answer], seconds: float, first: _Answer) -> None:
        self._ask = ask
        self._seconds = seconds
        self._answer = first
        self._due = 0.0
        self._asking = threading.Lock()

    def __call__(self) -> _Answer:
        """The answer, asked for now if it is due."""
        if time.monotonic() >= self._due and self._asking.acquire(blocking=False):
            try:
                self._answer = self._ask()
            finally:
                self._due = time.monotonic() + self._seconds
                self._asking.release()
        return self._answer

    def forget(self) -> None:
        """Ask anew the next time."""
        self._due = 0.0
