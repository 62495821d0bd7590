"""Idempotency keys as the processor keeps them: the first answer is the answer, a failure of the server's included."""

from dataclasses import dataclass
from typing import Any

from .refusals import Refusal
from .world import DAY


@dataclass
class Kept:
    """A request under a key. `answer` is None while it runs."""

    asked: tuple[str, str, str]
    at: int
    answer: tuple[int, dict[str, Any]] | None = None


class Keys:
    """By key. The caller holds the world's lock."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}

    def begin(self, key: str, asked: tuple[str, str, str], now: int) -> tuple[int, dict[str, Any]] | None:
        """The first answer, if there is one; else this request is now the one under the key.

        Raises a 400 when the key was used for something else, and a 409 while another request runs under it.
        """
        found = self.kept.get(key)
        if found is None or now - found.at >= DAY:
            self.kept[key] = Kept(asked, now)
            return None
        if found.asked != asked:
            message = (
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                f"Try using a key other than '{key}' if you meant to execute a different request."
            )
            raise Refusal(400, message, kind="idempotency_error", keep=False)
        if found.answer is None:
            message = f"There is currently another in-progress request using this Idempotent Key: {key}."
            code = "idempotency_key_in_use"
            raise Refusal(409, message, kind="idempotency_error", code=code, keep=False)
        return found.answer

    def end(self, key: str, answer: tuple[int, dict[str, Any]] | None) -> None:
        """Remembers the answer; None forgets the key, as if it had never been used."""
        if answer is None:
            self.kept.pop(key, None)
        else:
            self.kept[key].answer = answer
