"""What the token says of a payer before anything is claimed: the balance, the authorization, and the payer's code.

Requests of this process that ask at the same time share one call. After a call that found junk (a payer without the
money, a spent authorization, a signature that can only be a contract's where no contract is), the next one waits a
moment: a crowd costs the node the same whether it is ten payers or a thousand.
"""

import contextlib
import functools
import json
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eth_abi import encode

from payments import places

from . import backoff, rpc, view

_WAITING_MAX = 40
_PAUSE_SECONDS = 0.5
_CROWD_SECONDS = 2.0
_PATIENCE_SECONDS = 4.0
# A question that the node did not answer is asked again so often, after so long.
_TRIES = 3
_AGAIN_SECONDS = 0.3
_CLOCK_SECONDS = 15
_WORD = 32
_BALANCE = (1 << 254) - 1
_HAS_CODE, _USED = 1 << 254, 1 << 255


class Unknowable(Exception):
    """A fact that decides cannot be read now. Nothing was claimed and the buyer was not charged; retry."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A payer's balance in the token's smallest unit, whether the authorization is spent, and whether code is there.

    `time` is that of the block that was read, in Unix seconds.
    """

    balance: int
    used: bool
    has_code: bool
    time: int = 0


@functools.cache
def _reader() -> bytes:
    artefact = Path(__file__).parent / "contracts" / "PayerFacts.json"
    return bytes.fromhex(json.loads(artefact.read_text())["bytecode"].removeprefix("0x"))


def read(asked: Sequence[tuple[bytes, bytes]], at: rpc.Block | None = None) -> list[Facts]:
    """The facts of many payers and their authorizations' nonces in one block, in one call. Raises ChainUnreachable."""
    payers, nonces = zip(*asked, strict=True)
    arguments = encode(["address", "address[]", "bytes32[]"], [rpc.token(), list(payers), list(nonces)])
    try:
        answer = rpc.call(None, _reader() + arguments, at)
    except rpc.CallReverted as error:
        raise rpc.ChainUnreachable(f"the payers' balances cannot be read: {error}") from error
    if len(answer) != _WORD * (len(asked) + 1):
        raise rpc.ChainUnreachable("the node's answer makes no sense")
    moment, *words = (int.from_bytes(answer[start : start + _WORD]) for start in range(0, len(answer), _WORD))
    return [Facts(word & _BALANCE, bool(word & _USED), bool(word & _HAS_CODE), moment) for word in words]


@dataclass(eq=False)
class _Question:
    payer: bytes
    nonce: bytes
    micros: int
    wants_code: bool
    late: bool
    facts: Facts | None = None
    tries: int = 0
    answered: threading.Event = field(default_factory=threading.Event)

    def is_refused_for(self, facts: Facts) -> bool:
        """Whether the payer is told that nothing was charged, which the newest block has to say."""
        return self.is_short(facts) or (self.late and not facts.used)

    def is_short(self, facts: Facts) -> bool:
        return facts.balance < self.micros and not facts.used

    @property
    def is_junk(self) -> bool:
        facts = self.facts
        if facts is None:
            return False
        return self.late or self.is_short(facts) or facts.used or (self.wants_code and not facts.has_code)


class _Desk:
    """Where the requests of this process ask. One of them at a time makes the call, for all that wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[_Question] = deque()
        self._asking = False
        self._not_before = 0.0
        # Until then the last call tells of the next one: it found junk.
        self._crowded_until = 0.0
        # Of the newest block that was read, in Unix seconds.
        self._newest_time = 0
        self.places = places.Places()

    def ask(self, question: _Question) -> Facts:
        ends = time.monotonic() + _PATIENCE_SECONDS
        with self._changed:
            self._waiting.append(question)
        while batch := self._turn(question, ends):
            self._answer(batch)
        if question.facts is None:
            raise Unknowable
        return question.facts

    def _turn(self, question: _Question, ends: float) -> list[_Question]:
        """The questions that this thread has to ask; none when its own is answered, or nobody answered it in time."""
        with self._changed:
            while not question.answered.is_set():
                now = time.monotonic()
                if now >= ends:
                    self._leave(question)
                    return []
                until = ends if self._asking else min(ends, self._not_before)
                if until > now:
                    self._changed.wait(until - now)
                    continue
                self._asking = True
                batch = list(self._waiting)
                self._waiting.clear()
                return batch
        return []

    def _leave(self, question: _Question) -> None:
        question.answered.set()
        with contextlib.suppress(ValueError):
            self._waiting.remove(question)

    def _answer(self, batch: list[_Question]) -> None:
        try:
            self._look(batch)
        finally:
            with self._changed:
                self._asking = False
                self._return(batch)
                self._changed.notify_all()

    def _look(self, batch: list[_Question]) -> None:
        """Answer all questions, if the node answers that is asked and is not behind.

        Who is to be refused is looked for again in the newer of two newest blocks: the money may have come, or gone, in
        the last one. In a crowd the reads just before this one know the newest block.
        """
        crowded = time.monotonic() < self._crowded_until
        with contextlib.suppress(rpc.ChainUnreachable):
            again = []
            for question, facts in self._read(batch, None):
                if question.is_refused_for(facts) and not crowded:
                    again.append(question)
                else:
                    question.facts = facts
            if again:
                for question, facts in self._read(again, view.newest_of_two(view.scanned_to())):
                    question.facts = facts

    def _read(self, batch: list[_Question], at: rpc.Block | None) -> list[tuple[_Question, Facts]]:
        """The facts in a block that is not older than any that was read before. Raises ChainUnreachable."""
        found = read([(question.payer, question.nonce) for question in batch], at)
        if found[0].time < self._newest_time:
            raise rpc.ChainUnreachable("the node is behind")
        # A node whose clock is wrong must not make all others look old.
        self._newest_time = min(found[0].time, int(time.time()) + _CLOCK_SECONDS)
        return list(zip(batch, found, strict=True))

    def _return(self, batch: list[_Question]) -> None:
        """Let those go who have an answer or have asked often enough. The others ask again, before everybody else."""
        found_junk = any(question.is_junk for question in batch)
        self._crowded_until = time.monotonic() + _CROWD_SECONDS if found_junk else 0.0
        pause = _PAUSE_SECONDS if found_junk else 0.0
        for question in reversed(batch):
            question.tries += 1
            if question.facts or question.tries >= _TRIES:
                question.answered.set()
            elif not question.answered.is_set():
                self._waiting.appendleft(question)
                pause = max(pause, _AGAIN_SECONDS, backoff.seconds_left())
        self._not_before = time.monotonic() + pause


_desk = _Desk()


def ask(payer: bytes, nonce: bytes, micros: int, source: str, *, wants_code: bool = False, late: bool = False) -> Facts:
    """The facts of a payer who wants to pay `micros`. Raises Unknowable when the chain or a place is not to be had.

    A balance below `micros` is certain as of the newest block that this process knows, with the authorization unused.
    `wants_code`: without code at the payer's address the request is junk. `late`: it will be refused unless the
    authorization is used. `source` is places.source_of the client.
    """
    try:
        with _desk.places.one(source, _WAITING_MAX):
            return _desk.ask(_Question(payer, nonce, micros, wants_code, late))
    except places.Full as error:
        raise Unknowable from error
