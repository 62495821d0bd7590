"""The findings of an audit, and rules: invariants that one query checks, compiled once a process and database."""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import QuerySet

SHOWN = 20


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
    first = tuple(str(one) for one in itertools.islice(ids, SHOWN))
    if first:
        yield Finding(word, sentence, first)


@dataclass(frozen=True)
class Rule:
    """An invariant: `broken` is the query of the rows that violate it, and of their ids unless it selects another."""

    word: str
    sentence: str
    broken: Callable[[], QuerySet]

    def check(self) -> Iterator[Finding]:
        """Yield a finding if any row breaks the rule. One statement."""
        sql, parameters, shown = _compiled(self.broken, connection.vendor)
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            yield from finding(self.word, self.sentence, (shown(value) for value, *_ in cursor.fetchall()))


def rule(word: str, sentence: str) -> Callable[[Callable[[], QuerySet]], Rule]:
    """Make a rule of a function that returns the query of what violates it. The query must not depend on anything."""
    return lambda broken: Rule(word, sentence, broken)


@functools.cache
def _compiled(broken: Callable[[], QuerySet], vendor: str) -> tuple[str, tuple, Callable[[Any], str]]:
    """The statement, its parameters, and how an id is shown. Building it costs several times as much as running it."""
    found = broken()
    if not found.query.values_select:
        found = found.values_list("pk")
    query = found[:SHOWN].query
    sql, parameters = query.get_compiler(connection=connection).as_sql()
    field = query.select[0].output_field

    def shown(value: Any) -> str:
        value = field.to_python(value)
        return bytes(value).hex() if isinstance(value, bytes | memoryview) else str(value)

    return sql, parameters, shown
