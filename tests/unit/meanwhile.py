"""Somebody else is faster: between what a function has looked at and what it writes.

An early look hides the condition of the update behind it. Here the look is let through and the row changes then, so
the update is alone; no threads are needed for it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from django.db.models import Model, QuerySet


@contextmanager
def overtaken(model: type[Model], act: Callable[[], Any], skip: int = 0) -> Iterator[None]:
    """Just before the next update of a model's rows (the one after `skip` others) `act` happens, once."""
    real, waits = QuerySet.update, [skip]

    def update(rows: QuerySet, **change: Any) -> int:
        if rows.model is model and waits:
            if waits[0]:
                waits[0] -= 1
            else:
                waits.clear()
                act()
        return real(rows, **change)

    with mock.patch.object(QuerySet, "update", update):
        yield
    assert not waits, f"no {model.__name__} was updated: nobody could be overtaken"
