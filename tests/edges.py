"""Every number of the settings that decides something is tried at the value it is shipped with, on both sides.

`@pytest.mark.both_sides("QUOTE_SECONDS")` says that a test does that; such a test runs with the shipped value, whatever
the other tests run with. It moves the clock, or the rows' moments, and writes the edge out as a number: one that reads
the setting follows whatever is wrong with it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dev.install import ROOT

MARK = "both_sides"


def shipped(text: str = "") -> dict[str, Any]:
    """Every number, and list of numbers, that the settings read from the environment, with its default."""
    found = {}
    for node in ast.walk(ast.parse(text or (ROOT / "marketplace" / "settings.py").read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("env.int", "env.float", "env.list"):
            given = {word.arg: word.value for word in node.keywords}
            if ast.unparse(node.func) != "env.list" or ast.unparse(given.get("cast", ast.Constant(str))) == "int":
                found[ast.literal_eval(node.args[0])] = ast.literal_eval(given["default"])
    return found


def named(path: Path) -> Iterator[tuple[str, str]]:
    """Every setting that a file's tests are marked with, with the test."""
    for node in ast.walk(ast.parse(path.read_text())):
        for mark in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == f"pytest.mark.{MARK}":
                yield from ((ast.literal_eval(word), node.name) for word in mark.args)
