"""docs/configuration.md lists every variable the product reads, with its default, and no other."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import pytest

from dev import environment
from dev.install import ROOT

SOURCES = ("marketplace/settings.py", "gunicorn.conf.py")
PRODUCT = ("marketplace", "publishers", "payments")
PROCESSES = {"all", "web", "worker", "beat", "watcher", "settler", "migrate"}
COMPUTED = object()
_READS = re.compile(r"env(\.\w+)?|database|os\.getenv|os\.environ\.(get|setdefault|pop)")
# What is read from the environment elsewhere, and why that is no setting.
ELSEWHERE = {"DJANGO_SETTINGS_MODULE": "names the settings file itself"}


def reads(text: str) -> Iterator[tuple[str, object]]:
    """Every variable that a source reads from the environment, with its default (None: there is none)."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) in ("os.environ", "env"):
            yield ast.literal_eval(node.slice), None
        if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
            continue
        if _READS.fullmatch(ast.unparse(node.func)):
            given = [word.value for word in node.keywords if word.arg == "default"] or node.args[1:2]
            try:
                yield node.args[0].value, ast.literal_eval(given[0]) if given else None
            except ValueError:
                yield node.args[0].value, COMPUTED


def documented(text: str) -> dict[str, dict[str, str]]:
    """The rows of the page's tables, by variable."""
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \|(.*)\|$", text, re.MULTILINE)
    names = ("default", "unit", "process", "meaning")
    assert len({name for name, _ in rows}) == len(rows), "a variable stands twice"
    return {name: dict(zip(names, (cell.strip() for cell in row.split(" | ")), strict=True)) for name, row in rows}


PAGE = documented((ROOT / "docs" / "configuration.md").read_text())


def test_every_variable_is_on_the_page_and_no_other() -> None:
    read = {name for source in SOURCES for name, _ in reads((ROOT / source).read_text())}
    assert len(read) > 40
    assert read == set(PAGE)


def test_the_page_tells_the_defaults() -> None:
    for source in SOURCES:
        for name, default in reads((ROOT / source).read_text()):
            said = PAGE[name]["default"].strip("`")
            written = {"": "none", "None": "none", "[]": "none", "False": "false"}.get(str(default), str(default))
            assert said if default is COMPUTED else said == written, name


def test_the_page_says_unit_process_and_meaning() -> None:
    for name, row in PAGE.items():
        assert row["unit"], name
        assert set(row["process"].split(", ")) <= PROCESSES, name
        assert row["meaning"].endswith("."), name


def values(row: dict[str, str]) -> list[str]:
    """The values that the page gives a variable: both of a switch, the words of a choice, the examples of a URL."""
    if row["unit"] == "0 or 1":
        return ["0", "1"]
    quoted = re.findall(r"`([^`]+)`", row["meaning"].partition(". ")[0])
    if row["unit"] in ("word", "level"):
        return quoted
    return [value for value in quoted if re.match(r"\w[\w+]*://", value)] if row["unit"] == "URL" else []


def test_the_page_gives_the_values_of_every_choice() -> None:
    assert values(PAGE["ACCOUNT_EMAIL_VERIFICATION"]) == ["mandatory", "optional", "none"]
    assert values(PAGE["LOG_LEVEL"]) == ["DEBUG", "INFO", "WARNING", "ERROR"]
    assert values(PAGE["TRUST_PROXY_HEADERS"]) == ["0", "1"]
    assert len(values(PAGE["EMAIL_URL"])) == len(values(PAGE["DATABASE_URL"])) == 2


def test_a_process_starts_with_every_documented_value(tmp_path: Path) -> None:
    # All first values at once, then all second ones, and so on: the values of two variables never depend on each other.
    names = [name for name, row in PAGE.items() if values(row)]
    for some in zip_longest(*(values(PAGE[name]) for name in names)):
        given = {name: value for name, value in zip(names, some, strict=True) if value is not None}
        variables = {"PATH": os.environ["PATH"], "QUEUE_DIR": str(tmp_path), "SECRET_KEY": "for this check", **given}
        command = [sys.executable, "manage.py", "check", "--fail-level", "ERROR"]
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{given}: {done.stderr}"


def test_nothing_else_reads_the_environment() -> None:
    for package in PRODUCT:
        for path in (ROOT / package).rglob("*.py"):
            source = str(path.relative_to(ROOT))
            if source not in SOURCES:
                assert {name for name, _ in reads(path.read_text())} <= set(ELSEWHERE), source
                others = re.findall(
                    r"^(?:import|from) (?:environ|dotenv)\b|from os import .*env", path.read_text(), re.MULTILINE
                )
                assert others == [], source


def test_only_the_settlers_commands_read_the_settlement_key() -> None:
    users = {
        path.name
        for package in PRODUCT
        for path in (ROOT / package).rglob("*.py")
        if "settings.SETTLER_KEY" in path.read_text()
    }
    assert users == {"settle.py", "deploy_settler.py"}
    assert PAGE["SETTLER_KEY"]["process"] == "settler"
    assert PAGE["DATABASE_OWNER_URL"]["process"] == "migrate"


def test_the_demo_knows_the_same_variables() -> None:
    assert environment._known() == set(PAGE)


def test_the_example_file_names_only_what_exists() -> None:
    compose_only = {"OWNER_DATABASE_PASSWORD", "APPLICATION_DATABASE_PASSWORD"}
    named = re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert set(named) <= set(PAGE) | compose_only
    assert compose_only <= set(named)
    assert {"SECRET_KEY", "BASE_URL", "CHAIN_RPC_URL", "PAY_TO", "SETTLER_KEY"} <= set(named)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('A = env.int("QUOTE_SECONDS", default=900)', ("QUOTE_SECONDS", 900)),
        ('A = env("SECRET", default=x)', ("SECRET", COMPUTED)),
        ('A = env.str("NEW")', ("NEW", None)),
        ('A = env["NEW"]', ("NEW", None)),
        ('def f():\n    return os.environ.get("WEB_BIND", "x")', ("WEB_BIND", "x")),
        ('os.environ["HIDDEN"]', ("HIDDEN", None)),
        ('os.getenv("HIDDEN")', ("HIDDEN", None)),
        ('D = {"default": database("DATABASE_URL", here)}', ("DATABASE_URL", COMPUTED)),
    ],
)
def test_every_way_to_read_a_variable_is_seen(source: str, found: tuple[str, object]) -> None:
    assert list(reads(source)) == [found]


def test_a_missing_and_an_invented_variable_would_be_noticed() -> None:
    page = Path(ROOT / "docs" / "configuration.md").read_text()
    assert "QUOTE_SECONDS" not in documented(page.replace("| `QUOTE_SECONDS` |", "| `OTHER` |"))
    assert "OTHER" in documented(page.replace("| `QUOTE_SECONDS` |", "| `OTHER` |"))
