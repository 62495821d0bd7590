"""Form bodies and query strings as the processor reads them: `a[b][0]=c` is a nest of objects and arrays."""

import re
from typing import Any
from urllib.parse import parse_qsl, urlencode

from .refusals import invalid


def decode(text: str) -> dict[str, Any]:
    """Nested dictionaries of strings. An array keeps its numbers as keys; `a[]=x&a[]=y` is numbered as it comes."""
    found: dict[str, Any] = {}
    for key, value in parse_qsl(text, keep_blank_values=True, strict_parsing=False):
        first, rest = re.fullmatch(r"([^\[\]]+)((?:\[[^\[\]]*\])*)", key), re.findall(r"\[([^\[\]]*)\]", key)
        if first is None:
            raise invalid(f"Invalid parameter name: {key}", key, keep=False)
        _place(found, [first[1], *rest], value, key)
    return found


def _place(found: dict[str, Any], path: list[str], value: str, key: str) -> None:
    for part, following in zip(path, path[1:], strict=False):
        part = part or str(max(0, len(found) - 1) if following else len(found))
        inner = found.setdefault(part, {})
        if not isinstance(inner, dict):
            raise invalid(f"Invalid object: {key}", key, keep=False)
        found = inner
    last = path[-1] or str(len(found))
    if last in found:
        raise invalid(f"Received the parameter twice: {key}", key, keep=False)
    found[last] = value


def with_query(url: str, **values: str) -> str:
    """The address with these added to its query."""
    address, mark, fragment = url.partition("#")
    return f"{address}{'&' if '?' in address else '?'}{urlencode(values)}{mark}{fragment}"
