"""The arrows and the limits of the house, stated with `ast`. Each rule is a sentence, and is shown to be breakable."""

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from dev.install import ROOT

PACKAGES = ("payments", "publishers", "marketplace", "dev")
BOOKS = {"Account", "Transaction", "Posting"}
WRITES = {"create", "bulk_create", "get_or_create", "update_or_create", "update", "bulk_update", "delete", "save"}
SPEAK_HTTP = {"payments/http.py", "payments/admin.py"}
FILE_LINES, FUNCTION_LINES, PARAMETERS = 400, 60, 5
# Over a limit, each with its reason.
EXCUSED = {
    "payments/onchain/lease.py:float": "minus infinity is a moment that has always passed, and no money",
}


@dataclass(frozen=True)
class Module:
    """One file: its path from the top of the tree, its text, and what Python makes of it."""

    path: str
    text: str

    @functools.cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def calls(self) -> Iterator[ast.Call]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.Call))

    def imports(self) -> Iterator[str]:
        """Every name that is imported, absolute and in full: payments.models.Posting."""
        package = self.path.removesuffix(".py").split("/")[:-1]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = package[: len(package) - node.level + 1] if node.level else []
                origin = ".".join([*above, *([node.module] if node.module else [])])
                yield from (f"{origin}.{alias.name}" for alias in node.names)


def arrows(module: Module) -> Iterator[str]:
    """Marketplace → publishers → payments; web3, stripe and HTTP in one room each, rails below gate and books."""
    here = module.path
    for name in module.imports():
        starts = lambda *roots, name=name: any(f"{name}.".startswith(f"{root}.") for root in roots)  # noqa: E731
        if here.startswith("payments/") and starts("marketplace", "publishers"):
            yield f"payments imports {name}: payments knows nobody who sells"
        if here.startswith("publishers/") and starts("marketplace"):
            yield f"publishers imports {name}: sellers do not know the shop"
        if not here.startswith("dev/") and starts("dev", "tests", "bench"):
            yield f"the product imports {name}"
        if starts("web3") and here != "payments/onchain/rpc.py":
            yield f"{name} is imported outside payments/onchain/rpc.py"
        if starts("stripe") and here != "payments/cards/stripe_api.py":
            yield f"{name} is imported outside payments/cards/stripe_api.py"
        if here.startswith("payments/rails/") and starts("payments.gate", "payments.books.ledger", "payments.http"):
            yield f"a rail imports {name}"
        if here.startswith("payments/") and starts("django.http") and here not in SPEAK_HTTP:
            yield f"{name} is imported outside payments/http.py"


def one_writer_of_the_books(module: Module) -> Iterator[str]:
    """Only payments/books/ledger.py makes or changes an Account, a Transaction or a Posting."""
    if module.path == "payments/books/ledger.py":
        return
    imported = {name.rpartition(".")[2] for name in module.imports() if "models" in name.split(".")} & BOOKS
    for call in module.calls():
        first, *rest = _chain(call.func)
        if first in ("models", "books") and rest and rest[0] in BOOKS:
            first, *rest = rest
        elif first not in imported:
            continue
        if not rest or rest[-1] in WRITES:
            yield f"line {call.lineno} writes a {first}"


def _chain(node: ast.expr) -> list[str]:
    """What is called, from left to right: Posting.objects.filter(…).update is [Posting, objects, filter, update]."""
    found: list[str] = []
    while isinstance(node, ast.Attribute | ast.Call):
        if isinstance(node, ast.Attribute):
            found.append(node.attr)
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return [node.id if isinstance(node, ast.Name) else "", *reversed(found)]


def small(module: Module) -> Iterator[str]:
    """A file, a function and a list of parameters that a reader can hold."""
    if (lines := module.text.count("\n")) > FILE_LINES and f"{module.path}:file" not in EXCUSED:
        yield f"{lines} lines"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and f"{module.path}:{node.name}" not in EXCUSED:
            lines = (node.end_lineno or 0) - node.lineno + 1
            given = [a.arg for a in (*node.args.posonlyargs, *node.args.args) if a.arg not in ("self", "cls")]
            if lines > FUNCTION_LINES:
                yield f"{node.name} has {lines} lines"
            if len(given) > PARAMETERS:
                yield f"{node.name} takes {len(given)} positional parameters"


def whole_money(module: Module) -> Iterator[str]:
    """No float() and no FloatField: money is whole micros, for display too."""
    if module.path.startswith("dev/") or f"{module.path}:float" in EXCUSED:
        return
    for call in module.calls():
        name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        if name == "FloatField" or (name == "float" and isinstance(call.func, ast.Name)):
            yield f"line {call.lineno} calls {name}"


def signs(module: Module) -> Iterator[str]:
    """Every module says at its door what it is."""
    if module.text.strip() and not ast.get_docstring(module.tree):
        yield "has no docstring"


def modules() -> list[Module]:
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return [Module(str(path.relative_to(ROOT)), path.read_text()) for path in paths if path.parent.name != "migrations"]


RULES = (arrows, one_writer_of_the_books, small, whole_money, signs)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rules(rule) -> None:
    read = modules()
    assert len(read) > 60
    assert [f"{module.path}: {broken}" for module in read for broken in rule(module)] == []


BROKEN = [
    (arrows, "payments/quotes.py", "from publishers.models import Article"),
    (arrows, "payments/management/commands/audit.py", "import marketplace.shop.article"),
    (arrows, "publishers/pricing.py", "def late():\n    from marketplace import shelf"),
    (arrows, "marketplace/shop/article.py", "from dev import chain"),
    (arrows, "payments/onchain/settler.py", "from web3 import Web3"),
    (arrows, "marketplace/ops/health.py", "import web3.eth"),
    (arrows, "payments/onchain/rpc.py", "import stripe"),
    (arrows, "payments/rails/exact.py", "from .. import gate"),
    (arrows, "payments/rails/exact.py", "from payments.books.ledger import post"),
    (arrows, "payments/rails/exact.py", "from payments import http"),
    (arrows, "payments/gate.py", "from django.http import HttpRequest"),
    (one_writer_of_the_books, "payments/gate.py", "from .models import Posting\nPosting(amount_micros=1).save()"),
    (one_writer_of_the_books, "payments/gate.py", "from . import models\nmodels.Transaction(key='x')"),
    (one_writer_of_the_books, "payments/gate.py", "from .models import Posting\nPosting.objects.all().update(x=2)"),
    (one_writer_of_the_books, "payments/gate.py", "from . import models\nmodels.Account.objects.all().delete()"),
    (one_writer_of_the_books, "payments/a.py", "from payments.models.books import Account\nAccount.objects.create()"),
    (small, "payments/gate.py", "\n" * (FILE_LINES + 1)),
    (small, "payments/gate.py", "def long():\n" + "    pass\n" * FUNCTION_LINES),
    (small, "payments/gate.py", "def greedy(a, b, c, d, e, f): ..."),
    (whole_money, "publishers/pricing.py", "price = float('0.05')"),
    (whole_money, "publishers/models.py", "from django.db import models\nprice = models.FloatField()"),
    (signs, "payments/gate.py", "import os"),
]


@pytest.mark.parametrize(("rule", "path", "text"), BROKEN)
def test_each_rule_can_be_broken(rule, path: str, text: str) -> None:
    assert list(rule(Module(path, text)))


ALLOWED = [
    (arrows, "marketplace/shop/article.py", "from publishers import catalogue\nfrom payments import gate"),
    (arrows, "payments/rails/exact.py", "from payments import chain\nfrom . import RailRefused"),
    (arrows, "payments/onchain/rpc.py", "from web3 import HTTPProvider"),
    (arrows, "payments/cards/stripe_api.py", "import stripe"),
    (arrows, "payments/http.py", "from django.http import HttpRequest"),
    (
        one_writer_of_the_books,
        "payments/onchain/settler.py",
        "from eth_account import Account\nAccount.create()\nAccount('x')",
    ),
    (
        one_writer_of_the_books,
        "payments/audit/__init__.py",
        "from .models import Posting\nPosting.objects.filter(id=1).count()",
    ),
    (one_writer_of_the_books, "payments/books/ledger.py", "from .models import Posting\nPosting.objects.create()"),
    (small, "payments/gate.py", "def enough(self, a, b, c, d, e, *, f): ...\n" + "\n" * (FILE_LINES - 1)),
    (signs, "payments/management/__init__.py", ""),
]


@pytest.mark.parametrize(("rule", "path", "text"), ALLOWED)
def test_what_is_allowed_passes(rule, path: str, text: str) -> None:
    assert list(rule(Module(path, text))) == []


def test_every_excuse_is_still_needed() -> None:
    texts = {module.path: module for module in modules()}
    for excuse in EXCUSED:
        path, what = excuse.split(":")
        bare = Module(path.replace("payments/", "payments/not_"), texts[path].text)
        rule = whole_money if what == "float" else small
        assert list(rule(bare)), f"{excuse} is excused for nothing"
