"""Findings, the results of an audit: a stable word, a sentence and the ids concerned. Nothing here reads data."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """A violated invariant: its word, a sentence, and the ids concerned (at most twenty)."""

    word: str
    sentence: str
    ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.word}: {self.sentence}" + (f" [{', '.join(self.ids)}]" if self.ids else "")


def finding(word: str, sentence: str, ids: Iterable) -> Iterator[Finding]:
    """Yield one finding if there is at least one id."""
    first = tuple(str(one) for one in itertools.islice(ids, 20))
    if first:
        yield Finding(word, sentence, first)
