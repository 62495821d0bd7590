"""One line of JSON in for each request, one line of JSON out for its answer; the first line out says the version."""

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any


def serve(ask: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer until the other side hangs up; what the client raises is its answer too."""
    tell({"version": version("x402")})
    for line in sys.stdin:
        try:
            tell(ask(json.loads(line)))
        except Exception as error:
            tell({"raised": f"{type(error).__module__}.{type(error).__name__}: {error}"})


def tell(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)
