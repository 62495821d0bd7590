"""The product's modules as their text says: what each imports and calls, read with `ast`, once."""

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass

from dev.install import ROOT

PACKAGES = ("payments", "publishers", "marketplace", "dev")


@functools.cache
def file_of(name: str) -> str | None:
    """The file that a dotted name of ours is in, whether it names a module or something in one; None for others'."""
    if name.partition(".")[0] not in PACKAGES:
        return None
    place = name.replace(".", "/")
    for path in (f"{place}.py", f"{place}/__init__.py"):
        if (ROOT / path).is_file():
            return path
    return file_of(name.rpartition(".")[0]) if "." in name else None


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

    def imports(self, *, typing: bool = True) -> Iterator[str]:
        """Every imported name, absolute and in full: payments.models.Posting. Without `typing`, those of run time."""
        package = self.path.removesuffix(".py").split("/")[:-1]
        for node in _walk(self.tree, typing):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = package[: len(package) - node.level + 1] if node.level else []
                origin = ".".join([*above, *([node.module] if node.module else [])])
                yield from (f"{origin}.{alias.name}" for alias in node.names)


def _walk(node: ast.AST, typing: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if typing or not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from _walk(child, typing)


def chain(node: ast.expr) -> list[str]:
    """What is called, from left to right: Posting.objects.filter(…).update is [Posting, objects, filter, update]."""
    found: list[str] = []
    while isinstance(node, ast.Attribute | ast.Call):
        if isinstance(node, ast.Attribute):
            found.append(node.attr)
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return [node.id if isinstance(node, ast.Name) else "", *reversed(found)]


@functools.cache
def modules() -> list[Module]:
    """Every module of ours but the migrations, read and parsed once."""
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return [Module(str(path.relative_to(ROOT)), path.read_text()) for path in paths if path.parent.name != "migrations"]
