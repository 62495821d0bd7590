"""The rooms of the tree, the imports allowed between them, and the limits every module keeps; read with `ast`.

`ROOMS` is the documentation of the dependencies. Each rule is a function, and the tests show that it can be broken.
"""

import ast
import functools
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from dev.install import ROOT

from .modules import Module, chain, file_of, modules

BOOKS = {"Account", "Transaction", "Posting"}
WRITES = {"create", "bulk_create", "get_or_create", "update_or_create", "update", "bulk_update", "delete", "save"}
SPEAK_HTTP = {"payments/http.py", "payments/admin.py"}
ONE_DOOR = {"web3": "payments/onchain/rpc.py", "stripe": "payments/cards/stripe_api.py"}
FILE_LINES, FUNCTION_LINES, PARAMETERS = 400, 60, 5
# Over a limit, each with its reason.
EXCUSED = {
    "payments/onchain/lease.py:float": "minus infinity is a moment that has always passed, and no money",
}

# Every room, from the top down: its modules (files or folders), and the rooms it may import.
# An arrow points to a row further down, so there is no circle. `a/{b c}` stands for `a/b a/c`.
# A new arrow, and a module outside the rooms, is a decision: it is written here first.
ROOMS = """
dev                  | dev
                     | marketplace/ops publishers/models payments/{audit books values}
dev/standin          | dev/standin
                     |
marketplace          | marketplace/{__init__ apps celery settings urls wsgi}
                     | marketplace/{api reader shop staff} payments/{cards onchain values}
marketplace/accounts | marketplace/accounts
                     | marketplace/reader payments/values
marketplace/staff    | marketplace/staff
                     | publishers/{models base} payments/{cards books values}
marketplace/api      | marketplace/api
                     | marketplace/reader payments/{http proofs cards purses models}
marketplace/ops      | marketplace/ops
                     | marketplace/reader payments/{http cards onchain models values books}
marketplace/shop     | marketplace/shop
                     | marketplace/{reader base} publishers/{articles pricing models}
                     | payments/{fulfilment http gate rails cards purses notify models values}
marketplace/reader   | marketplace/reader
                     | marketplace/base publishers/{articles models base}
                     | payments/{fulfilment http gate proofs rails cards purses models values}
marketplace/base     | marketplace/{models paging}
                     |
publishers           | publishers/{__init__ apps management sample first_sale tasks}
                     | publishers/{articles models} payments/{jobs models values}
publishers/views     | publishers/{views forms urls admin}
                     | publishers/{articles pricing models base} payments/{http books notify models values}
publishers/articles  | publishers/articles
                     | publishers/{pricing models} payments/{notify values}
publishers/pricing   | publishers/{pricing sales}
                     | publishers/models payments/{rails books notify models values}
publishers/models    | publishers/models
                     | payments/{books values}
publishers/base      | publishers/csv_files
                     |
payments/pages       | payments/templatetags
                     | payments/values
payments             | payments/{admin apps checks management tasks}
                     | payments/{fulfilment audit cards purses onchain models values jobs books}
payments/http        | payments/http
                     | payments/{gate proofs rails values}
payments/fulfilment  | payments/{fulfilment card_receipts}
                     | payments/{gate cards jobs models values}
payments/gate        | payments/{gate denials}
                     | payments/{proofs rails notify models values}
payments/audit       | payments/audit
                     | payments/{onchain books models}
payments/proofs      | payments/proofs
                     | payments/{onchain values}
payments/rails       | payments/rails
                     | payments/{cards purses onchain books models values}
payments/cards       | payments/cards
                     | payments/{purses books notify jobs models values}
payments/purses      | payments/purses
                     | payments/{books notify jobs models values}
payments/onchain     | payments/onchain
                     | payments/{books notify jobs models values}
payments/books       | payments/books
                     | payments/{models values}
payments/notify      | payments/{notify waiters}
                     | payments/{models values}
payments/jobs        | payments/jobs
                     | payments/models
payments/models      | payments/{models sql}
                     | payments/values
payments/values      | payments/{__init__ money ids fields offers places quotes mailing events outages play}
                     |
"""
# Imports that the table does not allow and that are on their way out, each with where it belongs.
LEAVING: dict[str, str] = {}


class Room(NamedTuple):
    """One row of the table: the paths of its modules without .py, and the rooms it may import."""

    paths: list[str]
    imports: list[str]


def rooms(table: str) -> dict[str, Room]:
    """The table by room, in its order."""
    found: dict[str, Room] = {}
    last = ""
    for line in filter(str.strip, table.splitlines()):
        name, text = (part.strip() for part in line.split("|"))
        names = re.sub(r"(\S+)\{([^}]*)\}", lambda m: " ".join(m[1] + each for each in m[2].split()), text).split()
        if name:
            last = name
            found[name] = Room(names, [])
        else:
            found[last].imports.extend(names)
    return found


TABLE = rooms(ROOMS)


@functools.cache
def room_of(path: str) -> str | None:
    """The room of a file: the one that names it, or the nearest folder above it."""
    bare = path.removesuffix(".py")
    named = [(len(own), room) for room, row in TABLE.items() for own in row.paths if f"{bare}/".startswith(f"{own}/")]
    return max(named)[1] if named else None


def arrows(module: Module) -> Iterator[str]:
    """A module imports its own room and the rooms that the table allows it."""
    here = room_of(module.path)
    if here is None:
        yield "is in no room of the table"
        return
    for name in module.imports():
        path = file_of(name)
        there = room_of(path) if path else None
        if path and there is None:
            yield f"imports {name}, which is in no room of the table"
        elif there not in (None, here, *TABLE[here].imports) and f"{module.path} → {there}" not in LEAVING:
            yield f"imports {name}: {here} does not know {there}"


def borders(module: Module) -> Iterator[str]:
    """web3, stripe and HTTP in payments each have one door, no rail posts to the books, no product knows its tests."""
    for name in module.imports():
        top = name.partition(".")[0]
        if top in ONE_DOOR and module.path != ONE_DOOR[top]:
            yield f"{name} is imported outside {ONE_DOOR[top]}"
        if top in ("tests", "bench") or (top == "dev" and not module.path.startswith("dev/")):
            yield f"the product imports {name}"
        if module.path.startswith("payments/rails/") and f"{name}.".startswith("payments.books.ledger."):
            yield f"a rail imports {name}: it may name accounts, not post"
        in_payments = module.path.startswith("payments/") and module.path not in SPEAK_HTTP
        if in_payments and f"{name}.".startswith("django.http."):
            yield f"{name} is imported outside payments/http.py"


def one_writer_of_the_books(module: Module) -> Iterator[str]:
    """Only payments/books/ledger.py makes or changes an Account, a Transaction or a Posting."""
    if module.path == "payments/books/ledger.py":
        return
    imported = {name.rpartition(".")[2] for name in module.imports() if "models" in name.split(".")} & BOOKS
    for call in module.calls():
        first, *rest = chain(call.func)
        if first in ("models", "books") and rest and rest[0] in BOOKS:
            first, *rest = rest
        elif first not in imported:
            continue
        if not rest or rest[-1] in WRITES:
            yield f"line {call.lineno} writes a {first}"


def one_door(module: Module) -> Iterator[str]:
    """Only payments/gate.py makes an Admission or an Admitted: no other code can let a request in."""
    if module.path == "payments/gate.py":
        return
    for call in module.calls():
        if (made := chain(call.func)[-1]) in ("Admission", "Admitted"):
            yield f"line {call.lineno} makes an {made}"


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


RULES = (one_door, arrows, borders, one_writer_of_the_books, small, whole_money, signs)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps_the_rule(rule) -> None:
    read = modules()
    assert len(read) > 60
    assert [f"{module.path}: {broken}" for module in read for broken in rule(module)] == []


BROKEN = [
    (one_door, "marketplace/shop/article.py", "from payments import gate\ngate.Admitted(1, 2, True)"),
    (one_door, "payments/fulfilment.py", "from payments.gate import Admission\nAdmission(offer)"),
    (arrows, "payments/quotes.py", "from publishers.models import Article"),
    (arrows, "payments/management/commands/audit.py", "import marketplace.shop.article"),
    (arrows, "publishers/pricing.py", "def late():\n    from marketplace.shop import listings"),
    (arrows, "publishers/models.py", "from .articles import catalogue"),
    (arrows, "marketplace/shop/article.py", "from dev import chain"),
    (arrows, "marketplace/reader/library.py", "from marketplace.shop.buying import SeeOther"),
    (arrows, "marketplace/shop/article.py", "from marketplace import urls"),
    (arrows, "payments/rails/exact.py", "from .. import gate"),
    (arrows, "payments/rails/exact.py", "from payments import http"),
    (arrows, "payments/purses/movements.py", "from payments.cards import charges"),
    (arrows, "payments/onchain/settler.py", "from payments import purses"),
    (arrows, "payments/books/ledger.py", "import payments.onchain.record"),
    (arrows, "payments/models/books.py", "if TYPE_CHECKING:\n    from ..books.ledger import Entry"),
    (arrows, "payments/money.py", "from .models import Posting"),
    (arrows, "payments/helpers.py", ""),
    (borders, "payments/onchain/settler.py", "from web3 import Web3"),
    (borders, "marketplace/ops/health.py", "import web3.eth"),
    (borders, "payments/onchain/rpc.py", "import stripe"),
    (borders, "marketplace/shop/article.py", "from dev import chain"),
    (borders, "dev/stack.py", "from tests.shop import Shop"),
    (borders, "payments/rails/exact.py", "from payments.books.ledger import post"),
    (borders, "payments/rails/purse.py", "from payments.books import ledger"),
    (borders, "payments/gate.py", "from django.http import HttpRequest"),
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
    (one_door, "payments/gate.py", "Admission(offer)"),
    (one_door, "payments/fulfilment.py", "gate.verify(presented, offer).settle()"),
    (arrows, "marketplace/shop/article.py", "from publishers.articles import catalogue\nfrom payments import gate"),
    (arrows, "payments/rails/exact.py", "from payments.onchain import rpc\nfrom . import RailRefused"),
    (arrows, "payments/gate.py", "import math\nfrom django.db import models\nfrom payments import money"),
    (arrows, "payments/books/ledger.py", "from payments.models import Posting"),
    (borders, "payments/onchain/rpc.py", "from web3 import HTTPProvider"),
    (borders, "payments/cards/stripe_api.py", "import stripe"),
    (borders, "payments/http.py", "from django.http import HttpRequest"),
    (borders, "dev/stack.py", "from dev import chain"),
    (borders, "payments/rails/purse.py", "from payments.books import accounts"),
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


def test_no_test_file_is_longer_than_a_reader_can_hold() -> None:
    texts = {path: path.read_text() for path in (ROOT / "tests").rglob("*.py") if ".venv" not in path.parts}
    assert len(texts) > 100
    assert [str(path) for path, text in texts.items() if text.count("\n") > FILE_LINES] == []


def upward(table: dict[str, Room]) -> list[str]:
    """The arrows of a table that do not point further down in it."""
    order = list(table)
    return [
        f"{room} → {other}"
        for room, row in table.items()
        for other in row.imports
        if other not in order or order.index(other) <= order.index(room)
    ]


def test_every_arrow_of_the_table_points_down() -> None:
    assert upward(TABLE) == []


def test_an_arrow_that_points_up_or_nowhere_would_be_noticed() -> None:
    assert upward(rooms("a | a\n  | b\nb | b\n  | a")) == ["b → a"]
    assert upward(rooms("a | x/{a b}\n  | a c")) == ["a → a", "a → c"]


def test_every_path_and_every_arrow_of_the_table_is_used() -> None:
    read = modules()
    for row in TABLE.values():
        for own in row.paths:
            assert (ROOT / own).is_dir() or (ROOT / f"{own}.py").is_file(), own
    used = {(room_of(module.path), room_of(file_of(name) or "")) for module in read for name in module.imports()}
    allowed = [(room, other) for room, row in TABLE.items() for other in row.imports]
    assert [arrow for arrow in allowed if arrow not in used] == []


def test_every_arrow_that_is_leaving_is_still_there() -> None:
    texts = {module.path: module for module in modules()}
    for leaving in LEAVING:
        path, room = leaving.split(" → ")
        assert room in {room_of(file_of(name) or "") for name in texts[path].imports()}, f"{leaving} is gone: strike it"
        assert room not in TABLE[room_of(path) or ""].imports, f"{leaving} is allowed"


def circles(read: list[Module]) -> list[str]:
    """The modules that import themselves, at run time, by way of others."""
    direct = {m.path: {p for name in m.imports(typing=False) if (p := file_of(name)) and p != m.path} for m in read}

    def reached(path: str) -> set[str]:
        found: set[str] = set()
        ahead = [path]
        while ahead:
            for other in direct.get(ahead.pop(), set()) - found:
                found.add(other)
                ahead.append(other)
        return found

    return [path for path in direct if path in reached(path)]


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circles(modules()) == []


def test_a_circle_would_be_noticed() -> None:
    one = Module("payments/money.py", "def late():\n    from . import ids")
    other = Module("payments/ids.py", "from payments import money")
    typed = Module("payments/ids.py", "if TYPE_CHECKING:\n    from payments import money")
    assert circles([one, other]) == ["payments/money.py", "payments/ids.py"]
    assert circles([one, typed]) == []
