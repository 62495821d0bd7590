"""An agent's key over HTTP: how it is shown, how it is refused, and what is none."""

import json
from typing import Any

from django.db import connection
from django.test import Client

from tests.error_words import promised

HTML = {"Accept": "text/html,*/*;q=0.8"}
SECRET = "A" * 32
STRANGE = [
    "Bearer",
    "Bearer ",
    "Bearer x",
    "bearer pp__",
    f"Bearer pp_unknownunkno_{SECRET}",
    f"Bearer pp_unknownunkno_{SECRET} and more",
    "Bearer " + "x" * 7_000,
    "Bearer pp_" + "é" * 12 + "_" + SECRET,
    "Bearer pp_%0d%0aaaaaaaa_" + SECRET,
    "Bearer \x00",
    "Bearer ' OR 1=1 --",
    "Bearer eyJhbGciOiJIUzI1NiJ9.e30.abc",
    "BEARER\tpp",
]


def shown(address: str, text: str, **headers: str) -> Any:
    return Client().get(address, headers={"Authorization": f"Bearer {text}"} | headers)


def refused(answer: Any) -> str:
    """The word of a refusal, which says all that every refusal says."""
    said = json.loads(answer.content)
    assert answer.status_code == 402, said
    assert said["charged"] is False
    assert said["message"].endswith("You have not been charged.")
    assert (promised()[said["error"]].status, promised()[said["error"]].charged) == (402, False)
    return str(said["error"])


def everything() -> str:
    """Every row of every table, as text."""
    with connection.cursor() as cursor:
        rows = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608
            rows += cursor.fetchall()
    return repr(rows)
