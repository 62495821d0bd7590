"""Accidents on order: answers lost, late or wrong, before or after the call had its effect."""

import re
from dataclasses import dataclass
from typing import Any

KINDS = ("drop", "500", "429", "409", "slow")


@dataclass
class Fault:
    """One order. It is used up after `times` matching requests; `skip` lets that many pass first."""

    method: str
    path: re.Pattern[str]
    when: str
    kind: str
    times: int
    seconds: float
    skip: int


class Faults:
    """The caller holds the world's lock."""

    def __init__(self) -> None:
        self.orders: list[Fault] = []
        self.happened: list[dict[str, str]] = []

    def order(self, given: dict[str, Any]) -> None:
        """Raises ValueError for what is no fault."""
        unknown = set(given) - {"method", "path", "when", "kind", "times", "seconds", "skip"}
        if unknown or given.get("kind") not in KINDS or given.get("when", "before") not in ("before", "after"):
            raise ValueError(f"No such fault: {given}")
        if given["kind"] in ("429", "409") and given.get("when") == "after":
            raise ValueError("Who is too busy has done nothing: 429 and 409 come before.")
        self.orders.append(
            Fault(
                method=str(given.get("method", "")).upper(),
                path=re.compile(str(given.get("path", ""))),
                when=str(given.get("when", "before")),
                kind=str(given["kind"]),
                times=int(given.get("times", 1)),
                seconds=float(given.get("seconds", 0)),
                skip=int(given.get("skip", 0)),
            )
        )

    def strike(self, method: str, path: str) -> Fault | None:
        """The first order that this request meets."""
        for fault in list(self.orders):
            if fault.method in ("", method) and fault.path.search(path):
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                if fault.times <= 0:
                    self.orders.remove(fault)
                self.happened.append({"method": method, "path": path, "when": fault.when, "kind": fault.kind})
                return fault
        return None
