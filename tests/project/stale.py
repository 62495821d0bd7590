"""Names of this tree in prose, and the rules that refuse those which exist no more.

A rule takes a text and yields the stale names in it. It looks at names that only this project can mean, such as paths
below its own folders, so a library's or a standard's name is never refused; the few exceptions are listed.
"""

import ast
import functools
import importlib
import io
import itertools
import re
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

from django.core.management import get_commands
from django.urls import Resolver404, resolve

from dev import command
from dev.install import ROOT
from marketplace.ops.health import PROBES

PACKAGES = ("payments", "publishers", "marketplace", "dev", "bench", "tests")
FOLDERS = (*PACKAGES, "docs", "deploy", "templates", ".ci")
# The examples of the rules are stale on purpose.
EXAMPLES = {"tests/project/stale.py", "tests/project/test_stale_names.py"}

# What Python, uv and npm leave in our folders.
_NOT_OURS = {"__pycache__", ".venv", "node_modules"}
_TEXT = {".py", ".md", ".sql", ".sol", ".js", ".mjs", ".css", ".html", ".yaml", ".toml", ".conf", ".json", ".lock"}
_WITHOUT_SUFFIX = {"Dockerfile", ".env.example", ".gitignore", "run"}
_FILE = r"[\w./-]+\.(?:py|md|html|sql|sol|yaml|toml|conf|lock|json|css|js)"
# Files that a run of the demo writes.
_WRITTEN = {"stack.json"}
# Identifiers of others, each with its owner.
_OTHERS = {
    "session_replication_role": "PostgreSQL",
    "GIT_DIR": "git",
    "PR_SET_CHILD_SUBREAPER": "Linux",
    "ARTICLE_URL": "an argument of dev/read.py",
    "request.headers": "Django",
    "extra.name": "x402",
    "extra.version": "x402",
    "processor.url": "the demo's line of JSON",
    "charge.updated": "Stripe",
    **dict.fromkeys(
        (f"{name}.env" for name in ("shop", "web", "worker", "beat", "watcher", "settler", "migrate")),
        "/etc/pennypress (deploy/systemd)",
    ),
}
# Addresses on a server's disk, of a card processor, and of files.
_OTHER_ADDRESSES = re.compile(r"/(?:etc|opt|tmp|proc|path|dev|var|usr|_fake|v1|v3|static)\b|/$")
# What may stand before the number of a section: the standard whose section it is.
_STANDARD = re.compile(r"(?:RFC|EIP|ERC|CAIP|BIP|ISO|x402|WCAG)[ -]?\d*[^§\n]{0,40}$")
_SAMPLES = ("1", "x", "00000000-0000-4000-8000-000000000000")


# --- Prose and code ----------------------------------------------------------------------------------------------


@functools.cache
def files() -> tuple[str, ...]:
    """The paths of the tree's text files."""
    below = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if not _NOT_OURS & set(path.parts))
    found = (path for path in (*ROOT.glob("*"), *below) if path.suffix in _TEXT or path.name in _WITHOUT_SUFFIX)
    return tuple(sorted(str(path.relative_to(ROOT)) for path in found if path.is_file()))


@functools.cache
def documents() -> dict[str, str]:
    """The documents by path. Of the changelog only the newest entry, since an older one describes its own release."""
    found = {path: (ROOT / path).read_text() for path in files() if re.fullmatch(r"[A-Z]+\.md|docs/.+\.md", path)}
    found["CHANGELOG.md"] = "".join(re.split(r"(?m)^(?=## )", found["CHANGELOG.md"])[:2])
    return found


@functools.cache
def sources() -> dict[str, str]:
    """Every other text by path, without the articles for sale and the lock files."""
    left_out = {*EXAMPLES, *documents(), "uv.lock", "package-lock.json"}
    paths = (path for path in files() if path not in left_out and not path.startswith("publishers/sample/"))
    return {path: (ROOT / path).read_text(errors="replace") for path in paths}


@functools.cache
def comments() -> dict[str, str]:
    """The comments and docstrings of each Python file."""
    return {path: _prose(text) for path, text in sources().items() if path.endswith(".py")}


def _prose(source: str) -> str:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    found = [token.string for token in tokens if token.type == tokenize.COMMENT]
    return "\n".join(found + [ast.get_docstring(node) or "" for node in _documented(ast.parse(source))])


def _code(source: str) -> str:
    """A Python file without comments and docstrings."""
    tree = ast.parse(source)
    for node in _documented(tree):
        node.body[0] = ast.Pass()
    return ast.unparse(tree)


def _documented(tree: ast.Module) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        documentable = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documentable and ast.get_docstring(node) is not None:
            yield node


@functools.cache
def code() -> dict[str, str]:
    """The sources without prose. Of the tests' strings only the variables that they read from the environment."""
    found = {path: _code(text) if path.endswith(".py") else text for path, text in sources().items()}
    for path in (path for path in found if path.startswith("tests/")):
        read = re.findall(r"environ(?:\.get)?[\[(]['\"](\w+)", found[path])
        found[path] = re.sub(r"'.*?'|\".*?\"", "", found[path]) + "\n" + " ".join(read)
    return found


@functools.cache
def words() -> frozenset[str]:
    """Every identifier of the code."""
    return frozenset(word for text in code().values() for word in re.findall(r"\w+", text))


@functools.cache
def options() -> frozenset[str]:
    """Every --option of dev.py and of the tests."""
    given = "".join(text for path, text in sources().items() if path.endswith(".py"))
    return frozenset(re.findall(r"\"(--[a-z-]+)\"", given)) | frozenset(command._demo_options()._option_string_actions)


# --- The rules ---------------------------------------------------------------------------------------------------


def paths(text: str) -> Iterator[str]:
    """A path below one of our folders, or of a static file; `<name>` and `*` stand for anything."""
    for name in re.findall(rf"(?<![\w/.@-])(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./*<>-]*", text):
        wanted = re.sub(r"<\w+>", "*", name).rstrip("./-")
        if not any(ROOT.glob(wanted)) and not (ROOT / name.partition("/")[0] / "static" / wanted).exists():
            yield name


def file_names(text: str) -> Iterator[str]:
    """A file in backticks, by its name or the end of its path; a template by its path."""
    for name in {*re.findall(rf"`({_FILE})`", text), *re.findall(r"(?<![\w./<>])[\w-]+/[\w./-]+\.html", text)}:
        if name not in _WRITTEN and not any(f"/{path}".endswith(f"/{name}") for path in files()):
            yield name


def dotted(text: str) -> Iterator[str]:
    """A dotted name that begins with one of our packages."""
    for name in re.findall(rf"(?<![\w./@-])(?:{'|'.join(PACKAGES)})(?:\.\w+)+", text):
        if name != "dev.py" and not _is_there(name):
            yield name


def short(text: str) -> Iterator[str]:
    """Part of a module in backticks, by the module's last name: `ledger.post`."""
    for name in re.findall(r"`([a-z_]+\.\w+)(?:\(.*?\))?`", text):
        owner, _, part = name.partition(".")
        there = any(_is_there(f"{module}.{part}") for module in _modules().get(owner, []))
        if not there and name not in _OTHERS and not re.fullmatch(_FILE, name):
            yield name


@functools.cache
def _modules() -> dict[str, list[str]]:
    """The modules of the product and its tools, in full, by their last name."""
    found: dict[str, list[str]] = {}
    for path in files():
        if path.endswith(".py") and path.partition("/")[0] in PACKAGES and not path.startswith("tests/"):
            name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            found.setdefault(name.rpartition(".")[2], []).append(name)
    return found


@functools.cache
def _is_there(name: str) -> bool:
    """Whether a dotted name is a module, a folder or something in a module."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:end])
        if place.with_suffix(".py").is_file() or place.is_dir():
            if end == len(parts):
                return True
            return _has(importlib.import_module(".".join(parts[:end])), parts[end:])
    return False


def _has(owner: object, parts: list[str]) -> bool:
    first, *rest = parts
    if first in getattr(owner, "__annotations__", {}):
        return True
    return hasattr(owner, first) and (not rest or _has(getattr(owner, first), rest))


def identifiers(text: str) -> Iterator[str]:
    """A variable, a setting, a column, a view, a function: an identifier with an underscore."""
    found = re.findall(r"(?<![\w$./-])[A-Z][A-Z0-9]*_(?:[A-Z0-9]+_)*[A-Z0-9]*(?![\w-])", text)
    found += re.findall(r"`([a-z]\w*_\w+)(?:\(.*?\))?`", text)
    for name in found:
        known = any(word.startswith(name) for word in words()) if name.endswith("_") else name in words()
        # An error word is one of x402's prefixes and a word of ours. tests/…/test_error_words.py compares them in full.
        if not known and name not in _OTHERS and not name.startswith("invalid_exact_evm_payload_"):
            yield name


def manage_commands(text: str) -> Iterator[str]:
    """A command of manage.py, where a command line is quoted."""
    line = r"(?:`|python3? |/python |\"python\", \")manage\.py(?: |\", \")([a-z_]+)|dev\.py manage ([a-z_]+)"
    yield from {one or other for one, other in re.findall(line, text)} - set(get_commands())


def verbs(text: str) -> Iterator[str]:
    """A verb of dev.py, and an option beside one or at the beginning of a table's row."""
    named = set(re.findall(r"(?:`|python3? |/python )dev\.py ([a-z]+)", text))
    yield from named - set(re.findall(r"dev\.py (\w+)", command._USAGE))
    for line in re.findall(r"(?m)(?:dev\.py (?:demo|test)|`demo |^\| `(?=--))(.*)", text):
        yield from set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", line)) - options()


def markers(text: str) -> Iterator[str]:
    """A marker of the tests, after -m."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["markers"]
    known = {marker.partition(":")[0] for marker in listed} | {"and", "or", "not"}
    for given in re.findall(r"(?:dev\.py test|pytest)[^\n`]* -m (\w+|\"[^\"]+\"|'[^']+')", text):
        yield from set(re.findall(r"\w+", given)) - known


def tests(text: str) -> Iterator[str]:
    """A test, or a file of tests, by its name."""
    for name in re.findall(r"(?<![\w/])test_\w+(?![\w*<]|\.py)", text):
        if name not in words() and not any(Path(path).stem == name for path in files()):
            yield name


def addresses(text: str) -> Iterator[str]:
    """An address of this site: in backticks, or on this machine. `<…>` and `…` stand for anything."""
    found = re.findall(r"`(?:GET |POST )?(/[\w./<>…:-]*)(?:\?[^`]*)?`", text)
    found += re.findall(r"https?://(?:127\.0\.0\.1|localhost)(?::\d+)?(/[\w./<>…-]+)", text)
    yield from (name for name in found if not _OTHER_ADDRESSES.match(name) and not _leads_somewhere(name))


@functools.cache
def _leads_somewhere(address: str) -> bool:
    if address in PROBES:
        return True
    parts = re.split(r"<[^>]+>|…", address)
    for values in itertools.product(_SAMPLES, repeat=len(parts) - 1):
        try:
            resolve("".join(itertools.chain(*itertools.zip_longest(parts, values, fillvalue=""))))
        except Resolver404:
            continue
        return True
    return False


def references(text: str) -> Iterator[str]:
    """The number of something that no page here numbers: an invariant, a scenario, a section that is no standard's."""
    yield from re.findall(r"\bINV-?\d+\b|\bs\d\d\b", text)
    for found in re.finditer(r"§ ?[\d.]*|\b[Ss]ection \d[\d.]*", text):
        if not _STANDARD.search(text[: found.start()]):
            yield found[0]
