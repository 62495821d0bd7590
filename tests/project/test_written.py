"""One way to write money and one way to write times: nothing on a page or in a sentence formats them on its own."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.install import ROOT

TEMPLATES = sorted([*ROOT.glob("templates/**/*.html"), *ROOT.glob("templates/**/*.txt")])
MODULES = sorted(
    path for package in ("marketplace", "publishers", "payments") for path in ROOT.glob(f"{package}/**/*.py")
)
# A dollar sign before a digit or a value, a rounding filter, and whole micros that stand in the text as they are.
MONEY = re.compile(r"\$(?:\d|\{[{%])|\|floatformat|>[^<]*\{\{ [\w.]+_micros \}\}")
# `moment` writes times. A date that is no moment, such as the day of a filter, is in no zone.
TIMES = re.compile(r"\{\{ [\w.]+\|(?:date|time)\b[^}]*\}\}")
ALLOWED = {
    # The script of the wallet needs the token's own unit, and the page shows what agents get.
    "studio/preview_as.html": "<code>{{ offer.price.amount_micros }}</code>",
    # Days of a filter and of a report, which says that they are UTC days.
    "staff/earnings.html": "|date:",
    # In the zone of the request, which it names.
    "account/email/base_notification.txt": '{{ timestamp|date:"j F Y, H:i" }} ({% zone_name %})',
    # Read out in a button, in the zone of the request.
    "reader/balance.html": '{{ one.charge.decided_at|date:"j F Y" }}',
}
# On their way out: sentences of the card rooms that spell an amount out.
LEAVING = {"payments/cards/tabs.py", "payments/cards/checkout.py"}


def found_in(template: str) -> list[str]:
    text = re.sub(r"\{% comment %\}.*?\{% endcomment %\}|\{#.*?#\}", "", template, flags=re.DOTALL)
    return [match[0] for line in text.splitlines() for match in (*MONEY.finditer(line), *TIMES.finditer(line))]


def spelled_out(source: str) -> Iterator[str]:
    """The strings of a module, without its docstrings, that have a dollar sign before a digit or a value."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = {id(node.body[0].value) for node in ast.walk(tree)
            if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield from re.findall(r".*\$\d.*", node.value)
        if isinstance(node, ast.JoinedStr):
            yield from re.findall(r"f['\"].*\$\{.*", ast.unparse(node))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_templates_leave_money_and_times_to_the_filters(path: Path) -> None:
    text = path.read_text()
    if allowed := ALLOWED.get(str(path.relative_to(ROOT / "templates"))):
        assert allowed in text, "an exception that is no longer needed"
        found = [one for one in found_in(text) if one not in allowed and allowed not in one and one[1:] not in allowed]
    else:
        found = found_in(text)
    assert found == []


def test_sentences_leave_money_to_the_formatter() -> None:
    found = {str(path.relative_to(ROOT)): list(spelled_out(path.read_text())) for path in MODULES}
    assert {path: said for path, said in found.items() if said and path not in LEAVING | {"payments/money.py"}} == {}


@pytest.mark.parametrize(
    "text",
    ["$0.50", "${{ price }}", "{{ price|floatformat:2 }}", "<p>{{ row.amount_micros }}</p>", "{{ at|date:'H:i' }}"],
)
def test_what_is_formatted_on_its_own_is_seen(text: str) -> None:
    assert found_in(text)


@pytest.mark.parametrize("text", ['f"up to ${micros / 10**6}"', 'said = "less than $0.50"', "f'${format_usd(1)}'"])
def test_a_sentence_that_spells_an_amount_out_is_seen(text: str) -> None:
    assert list(spelled_out(text))
