"""What the processor accepts: every v1 route and parameter type, read from the source of the installed SDK.

Nothing is imported from the SDK; its files are parsed. A call that the SDK cannot make is refused here.
"""

import ast
import functools
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .refusals import Refusal, invalid


@dataclass(frozen=True)
class Route:
    """One call of the API. `params` names its TypedDict and the file that declares it; None takes no parameters."""

    method: str
    template: str
    params: tuple[str, str] | None
    pattern: re.Pattern[str]


@functools.cache
def folder() -> Path:
    found = importlib.util.find_spec("stripe")
    if found is None or not found.submodule_search_locations:
        raise RuntimeError("The stripe package is not installed, and the stand-in takes its rules from it.")
    return Path(found.submodule_search_locations[0])


@functools.cache
def api_version() -> str:
    """The version the installed SDK pins, such as 2026-10-28.endive."""
    found = re.search(r'CURRENT = "([^"]+)"', (folder() / "_api_version.py").read_text())
    return found[1] if found else ""


@functools.cache
def routes() -> dict[str, list[Route]]:
    """Every v1 route of the SDK by HTTP method, those with fewer parts in braces first."""
    found: dict[str, list[Route]] = {"GET": [], "POST": [], "DELETE": []}
    seen = set()
    for path in sorted(folder().rglob("*_service.py")):
        if "v2" in path.relative_to(folder()).parts:
            continue
        for route in _routes_in(ast.parse(path.read_text())):
            if (route.method, route.template) not in seen:
                seen.add((route.method, route.template))
                found[route.method].append(route)
    for group in found.values():
        group.sort(key=lambda route: (route.template.count("{"), route.template))
    return found


def find(method: str, path: str) -> tuple[Route, list[str]]:
    """The route of this path and the parts in its braces. Raises a 404 when the SDK has no such call."""
    for route in routes().get(method, []):
        if match := route.pattern.fullmatch(path):
            return route, list(match.groups())
    message = f"Unrecognized request URL ({method}: {path}). The stand-in knows the calls of the installed SDK only."
    raise Refusal(404, message, keep=False)


def _routes_in(tree: ast.Module) -> list[Route]:
    where = {a.name: n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}
    found = []
    for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
        for call in (n for n in ast.walk(function) if isinstance(n, ast.Call)):
            if not (isinstance(call.func, ast.Attribute) and call.func.attr == "_request" and len(call.args) >= 2):
                continue
            method, template = _text(call.args[0]).upper(), _text(call.args[1])
            if template.startswith("/v1/"):
                pattern = re.compile(re.sub(r"\\\{\w+\\\}", "([^/]+)", re.escape(template)))
                found.append(Route(method, template, _params_of(function, where), pattern))
    return found


def _text(node: ast.expr) -> str:
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        node = node.func.value
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _params_of(function: ast.FunctionDef, where: dict[str, str]) -> tuple[str, str] | None:
    for argument in function.args.args:
        if argument.arg == "params" and argument.annotation:
            name = re.findall(r"\w+Params\b", ast.unparse(argument.annotation))[-1]
            return where[name], name
    return None


@functools.cache
def _classes(module: str) -> dict[str, dict[str, ast.expr]]:
    """The TypedDicts of one parameter file: their fields and annotations."""
    path = folder().parent / (module.replace(".", "/") + ".py")
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            lines = [line for line in node.body if isinstance(line, ast.AnnAssign)]
            found[node.name] = {str(getattr(line.target, "id", "")): _parsed(line.annotation) for line in lines}
    return found


def _parsed(node: ast.expr) -> ast.expr:
    """An annotation with its quotes taken off, inside brackets too (but not inside a Literal)."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _parsed(ast.parse(node.value, mode="eval").body)
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) != "Literal":
        return ast.Subscript(node.value, _parsed(node.slice), node.ctx)
    if isinstance(node, ast.Tuple):
        return ast.Tuple([_parsed(part) for part in node.elts], node.ctx)
    if isinstance(node, ast.BinOp):
        return ast.BinOp(_parsed(node.left), node.op, _parsed(node.right))
    return node


def check(route: Route, given: dict[str, Any]) -> dict[str, Any]:
    """What was sent, as the types of the SDK have it: numbers are numbers. Raises a 400 for whatever they refuse."""
    if "payment_method_types" in given and route.method == "POST" and not _knows(route, "payment_method_types"):
        message = "The `payment_method_types` parameter is no longer supported. Use `allowed_payment_method_types`."
        code = "payment_method_types_no_longer_supported"
        raise invalid(message, "payment_method_types", code, keep=False)
    if route.params is None:
        return _fields({"expand": ast.parse("NotRequired[List[str]]", mode="eval").body}, given, "", "")
    module, name = route.params
    return _fields(_classes(module)[name], given, "", module)


def _knows(route: Route, field: str) -> bool:
    return route.params is not None and field in _classes(route.params[0])[route.params[1]]


def _fields(declared: dict[str, ast.expr], given: Any, path: str, module: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise invalid("Invalid object", path, keep=False)
    found = {}
    for name, value in given.items():
        where = f"{path}[{name}]" if path else name
        if name not in declared:
            raise invalid(f"Received unknown parameter: {where}", where, "parameter_unknown", keep=False)
        found[name] = _value(_bare(declared[name])[0], value, where, module)
    for name, annotation in declared.items():
        if _bare(annotation)[1] and name not in given:
            where = f"{path}[{name}]" if path else name
            raise invalid(f"Missing required param: {where}.", where, "parameter_missing", keep=False)
    return found


def _bare(annotation: ast.expr) -> tuple[ast.expr, bool]:
    """Without NotRequired or Required, and whether the field must be there."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) in ("NotRequired", "Required"):
        return annotation.slice, ast.unparse(annotation.value) == "Required"
    return annotation, True


def _choices(node: ast.expr) -> list[ast.expr]:
    """The members of a union, however it is written."""
    if isinstance(node, ast.BinOp):
        return [*_choices(node.left), *_choices(node.right)]
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) in ("Union", "Optional"):
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return [choice for part in parts for choice in _choices(part)]
    return [node]


def _value(node: ast.expr, given: Any, where: str, module: str) -> Any:
    """One value by its annotation. `Literal[…] | str` is what the SDK writes for an enumeration: it is held to it."""
    choices = _choices(node)
    words = [w for choice in choices for w in _words(choice)]
    if given == "" and "" in words:
        return ""
    enumerated = any(words)
    refused: Refusal | None = None
    for choice in choices:
        if enumerated and isinstance(choice, ast.Name) and choice.id == "str":
            continue
        if _words(choice):
            if given in _words(choice) or (isinstance(given, str) and given.lower() in _true(_words(choice))):
                return given
            continue
        try:
            return _single(choice, given, where, module)
        except Refusal as refusal:
            # A refusal from further inside says more than one of the value as a whole.
            refused = refusal if refused is None or refusal.error.get("param") != where else refused
    if refused is not None and not enumerated:
        raise refused
    shown = ", ".join(w for w in words if w)
    raise invalid(f"Invalid {where}: must be one of {shown}", where, keep=False)


def _true(words: list[str]) -> list[str]:
    """Literal[True] arrives in a form as the word."""
    return [str(word).lower() for word in words if isinstance(word, bool)]


def _words(node: ast.expr) -> list[Any]:
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return [part.value for part in parts if isinstance(part, ast.Constant)]
    return []


def _single(node: ast.expr, given: Any, where: str, module: str) -> Any:
    if isinstance(node, ast.Name):
        return _SCALARS[node.id](given, where) if node.id in _SCALARS else _nested(node.id, given, where, module)
    if not isinstance(node, ast.Subscript):
        raise invalid(f"Invalid value: {where}", where, keep=False)
    outer, inner = ast.unparse(node.value), node.slice
    if outer in ("List", "list"):
        return _list(inner, given, where, module)
    if outer in ("Dict", "dict", "UntypedStripeObject"):
        if not isinstance(given, dict):
            raise invalid("Invalid object", where, keep=False)
        kind = inner.elts[-1] if isinstance(inner, ast.Tuple) else inner
        # An empty value unsets its key.
        return {k: v if v == "" else _value(kind, v, f"{where}[{k}]", module) for k, v in given.items()}
    raise invalid(f"Invalid value: {where}", where, keep=False)


def _nested(name: str, given: Any, where: str, module: str) -> Any:
    declared = _classes(module)
    if name not in declared:
        raise invalid(f"The stand-in cannot read the type {name}", where, keep=False)
    return _fields(declared[name], given, where, module)


def _list(inner: ast.expr, given: Any, where: str, module: str) -> list[Any]:
    if isinstance(given, dict) and given and all(key.isdigit() for key in given):
        given = [given[key] for key in sorted(given, key=int)]
    if not isinstance(given, list):
        raise invalid("Invalid array", where, keep=False)
    return [_value(inner, one, f"{where}[{number}]", module) for number, one in enumerate(given)]


def _string(given: Any, where: str) -> str:
    if not isinstance(given, str):
        raise invalid(f"Invalid string: {where}", where, keep=False)
    if given == "":
        message = f"You passed an empty string for '{where}'. It cannot be unset: remove it or give it a value."
        raise invalid(message, where, "parameter_invalid_empty", keep=False)
    return given


def _integer(given: Any, where: str) -> int:
    if not isinstance(given, str) or not re.fullmatch(r"-?\d{1,18}", given):
        raise invalid(f"Invalid integer: {given}", where, "parameter_invalid_integer", keep=False)
    return int(given)


def _boolean(given: Any, where: str) -> bool:
    if given not in ("true", "false"):
        raise invalid(f"Invalid boolean: {given}", where, keep=False)
    return bool(given == "true")


def _decimal(given: Any, where: str) -> str:
    if not isinstance(given, str) or not re.fullmatch(r"-?\d+(\.\d+)?", given):
        raise invalid(f"Invalid decimal: {given}", where, keep=False)
    return given


_SCALARS = {
    "str": _string,
    "int": _integer,
    "bool": _boolean,
    "float": _decimal,
    "Decimal": _decimal,
    "Any": lambda given, where: given,
}
