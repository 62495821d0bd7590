"""Runs a process of the product that dies at a chosen step: `python -m tests.faults.traps ROLE MODULE words…`.

The product does not know of it: its functions are wrapped before it starts. A trap is a file that names a step; the
first process to reach that step renames the file and kills itself with SIGKILL, as a power cut would. This process
itself is the supervisor: it forks the product's process, and forks it again when it was killed, without the second
and a half that importing everything takes.

It also notes what these processes ask of anybody outside while they have a transaction open (tests.outside).
"""

import ctypes
import functools
import importlib
import json
import os
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import outside

VARIABLE = "PENNYPRESS_TEST_TRAP"
# Every step at which a process may be made to die, in the order in which a purchase passes them.
STEPS = (
    "payments.gate:Admission._claim",
    "payments.rails.exact:Exact.claim",
    "payments.waiters:until_decided",
    "payments.http:with_receipt",
    "payments.onchain.rpc:simulate",
    "payments.onchain.lease:LeaseHolder.take_nonce",
    "payments.onchain.settler:Settler._attempt",
    "payments.onchain.settler:Settler._signed",
    "payments.onchain.rpc:send",
    "payments.onchain.logs:receipt",
    "payments.onchain.view:has",
    "payments.onchain.logs:transfers_between",
    "payments.onchain.logs:fate_of",
    "payments.books.ledger:post_all",
    "payments.onchain.record:transfers",
    "payments.onchain.record:reopen",
    "payments.onchain.record:claim_received",
    "payments.onchain.record:take_back",
    "payments.onchain.watcher:watch",
    "payments.onchain.watcher:_finalise",
)


class Trap:
    """The test's side: one file, armed for one death."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.sprung = file.with_suffix(".sprung")
        self.inside = file.with_suffix(".inside")

    def arm(self, role: str, step: str, moment: str) -> None:
        """The next process of a role that comes to a step dies before or after it."""
        assert step in STEPS
        self.sprung.unlink(missing_ok=True)
        draft = self.file.with_suffix(".draft")
        draft.write_text(json.dumps([role, step, moment]))
        draft.rename(self.file)

    def disarm(self) -> None:
        self.file.unlink(missing_ok=True)

    def note(self, what: str) -> None:
        """Something was asked inside a transaction; the process goes on, the test will not pass."""
        with self.inside.open("a") as lines:
            lines.write(f"{what}\n")

    def asked_inside(self) -> list[str]:
        """All that was noted by any process since this was asked last."""
        said = self.inside.read_text().splitlines() if self.inside.exists() else []
        self.inside.unlink(missing_ok=True)
        return said


def main(role: str, module: str, *words: str) -> None:
    """Wrap every step, then run the module until it ends by itself."""
    import django

    django.setup()
    trap = Trap(Path(os.environ[VARIABLE]))
    for step in STEPS:
        where, _, path = step.partition(":")
        *owners, name = path.split(".")
        owner = functools.reduce(getattr, owners, importlib.import_module(where))
        setattr(owner, name, _deadly(getattr(owner, name), trap, role, step))
    outside.watch(lambda what: trap.note(f"{role}: {what}"))
    sys.argv = [module, *words]
    _reap_orphans()
    while pid := os.fork():
        signal.signal(signal.SIGTERM, lambda *_, pid=pid: os.kill(pid, signal.SIGTERM))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        _sweep()
        if code != -signal.SIGKILL:
            sys.exit(code)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _reap_orphans() -> None:
    """What a killed process has forked becomes a child of ours."""
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def _sweep() -> None:
    """And goes with it, as everything of one unit does under any supervisor."""
    for pid in map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _deadly(step: Callable[..., Any], trap: Trap, role: str, name: str) -> Callable[..., Any]:
    @functools.wraps(step)
    def passed(*args: Any, **kwargs: Any) -> Any:
        _die_if_meant(trap, [role, name, "before"])
        result = step(*args, **kwargs)
        _die_if_meant(trap, [role, name, "after"])
        return result

    return passed


def _die_if_meant(trap: Trap, here: list[str]) -> None:
    try:
        if json.loads(trap.file.read_text()) == here:
            trap.file.rename(trap.sprung)
            os.kill(os.getpid(), signal.SIGKILL)
    except FileNotFoundError:
        """Nothing is armed, or somebody else has died of it."""


if __name__ == "__main__":
    main(*sys.argv[1:])
