"""docs/errors.md as a table: what is promised of every error word."""

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "errors.md"
_CHARGED = {"no": False, "yes": True, "unknown": None, "not here": None, "yes, or unknown": True}


@dataclass(frozen=True)
class Promise:
    """One row: the status, and what the answer says of a charge."""

    status: int
    charged: bool | None


def promised() -> dict[str, Promise]:
    """Every row of the table, by its word."""
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| [^|]+ \| ([^|]+) \| [^|]+ \|$", PAGE.read_text(), re.MULTILINE)
    return {word: Promise(int(status), _CHARGED[charged]) for word, status, charged in rows}


def told_to_people() -> set[str]:
    """The words of the second table: of pages and of the API, not of an article's address."""
    return set(re.findall(r"^\| `(\w+)` \| [^|]+ \|$", PAGE.read_text(), re.MULTILINE))
