"""Every word that the code can say stands in docs/errors.md with its status, and no other word does."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from payments import gate, http
from payments.offers import Offer, Price
from payments.rails.exact import EXACT
from tests.error_words import PAGE, promised, told_to_people

ROOT = PAGE.parents[1]
ROOMS = ["payments/*.py", "payments/[!m]*/*.py"]  # Not models and migrations.
ROOMS += [
    f"marketplace/{name}.py" for name in ("shop/article", "ops/errors", "ops/outage", "reader/key_views", "api/balance")
]
# What the card processor says is in its own words; ours are made of them elsewhere.
ANOTHERS = {"stripe_api.py", "facts.py"}


def said(tree: ast.AST) -> Iterator[str]:
    """Every error word in a module, by the places where one can stand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _in_a_call(node)
        elif isinstance(node, ast.ClassDef):
            yield from (
                _text(line.value) for line in node.body if isinstance(line, ast.Assign) and _names(line) == ["word"]
            )
        elif isinstance(node, ast.Dict):
            yield from (_text(v) for k, v in zip(node.keys, node.values, strict=True) if k and _text(k) == "error")
        elif isinstance(node, ast.FunctionDef) and node.name == "_reason":
            returned = [inner.value for inner in ast.walk(node) if isinstance(inner, ast.Return) and inner.value]
            yield from (_text(one) for value in returned for one in ast.walk(value))
        elif isinstance(node, ast.BoolOp) and isinstance(node.values[0], ast.Name | ast.Attribute):
            first = ast.unparse(node.values[0])
            if first.rpartition(".")[2] == "word":
                yield _text(node.values[-1])


def _in_a_call(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func).rpartition(".")[2]
    places = {
        "RailRefused": 0,
        "PurseRefused": 0,
        "StripeRefused": 0,
        "PaymentMalformed": 0,
        "PaymentRequired": 1,
        "release": 1,
        "Problem": 1,
        "_refused": 0,
    }
    place = places.get(name)
    if place is not None and len(call.args) > place and (word := _text(call.args[place])):
        yield f"invalid_exact_evm_payload_{word}" if name == "_refused" else word
    for keyword in call.keywords:
        if keyword.arg == "reason":
            values = [node for node in ast.walk(keyword.value) if isinstance(node, ast.Call)]
            yield _text(keyword.value)
            yield from (_text(inner.args[0]) for inner in values if ast.unparse(inner.func) == "Value")


def _text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _names(line: ast.Assign) -> list[str]:
    return [target.id for target in line.targets if isinstance(target, ast.Name)]


def words_of(files: list[Path]) -> set[str]:
    return {word for file in files for word in said(ast.parse(file.read_text())) if word}


def test_every_word_that_the_code_says_is_documented_and_no_other_is():
    files = [file for room in ROOMS for file in sorted(ROOT.glob(room)) if file.name not in ANOTHERS]
    assert words_of(files) == set(promised()) | told_to_people()


def test_what_an_articles_address_can_say_is_promised_with_its_status():
    """Buying with a key or a press is refused by these rooms alone; what they say stands in the first table."""
    rooms = [
        "payments/purses/api_keys.py",
        "payments/purses/approvals.py",
        "payments/purses/__init__.py",
        "payments/rails/*.py",
    ]
    said = words_of([file for room in rooms for file in sorted(ROOT.glob(room))])
    of_pages = {
        "too_many_keys", "key_made_already", "key_revoked", "budget_below_spent", "refund_too_late", "refund_used",
        "refund_of_machines", "too_many_refunds",
    }  # fmt: skip
    assert of_pages < told_to_people()
    assert said - of_pages <= set(promised())
    assert not set(promised()) & told_to_people()


@pytest.mark.parametrize(
    "line",
    [
        "raise RailRefused('new_word', 'x')",
        "raise purses.PurseRefused('new_word', 'x')",
        "raise gate.PaymentRequired(offer, 'new_word', 'x')",
        "record.release([1], 'new_word')",
        "payments.update(reason=Case(When(x, then=Value('new_word'))))",
        "payments.update(state=1, reason='new_word')",
        "JsonResponse({'error': 'new_word'})",
        "class Trouble(Exception):\n    word = 'new_word'",
        "told = error.word or 'new_word'",
    ],
)
def test_a_new_word_is_found_wherever_it_can_stand(tmp_path, line):
    file = tmp_path / "room.py"
    file.write_text(line)
    assert words_of([file]) == {"new_word"}


def test_every_reason_for_which_a_payment_is_let_go_has_a_sentence():
    files = [ROOT / "payments" / "onchain" / name for name in ("record.py", "refusals.py", "settler.py", "watcher.py")]
    assert words_of(files) == set(EXACT.reasons)


def test_the_errors_of_the_gate_have_the_promised_status_and_say_the_promised_thing_of_a_charge():
    offer = Offer("article:x", 1, "publisher:1", Price(1, "agents", 50_000), "http://x/", "X", "text/html")
    table = promised()
    for error in (
        gate.PaymentRequired(offer),
        gate.PaymentRequired(offer, "quote_expired", "x"),
        gate.PaymentMalformed("invalid_payload", "x"),
        gate.AlreadyPaid(),
        gate.CannotSay(),
        gate.PaymentInFlight(),
    ):
        told = http.problem(error)
        assert (told.status, told.charged) == (table[told.word].status, table[told.word].charged)
    with pytest.raises(ZeroDivisionError):
        http.problem(ZeroDivisionError())


def test_what_the_page_shows_as_an_example_is_what_is_answered():
    assert '"charged": false, "documentation": "https://…/about#agents"}' in PAGE.read_text()
    told = http.problem(gate.PaymentRequired(None, "quote_expired", "The quote has expired."))  # type: ignore[arg-type]
    said = {"message": "The quote has expired. You have not been charged.", "charged": False}
    assert http._said(told) == said | {"documentation": http.documentation()}
