"""Child processes: start each in its own session, watch and restart it, and stop it by its own id.

Each child leads a process group, so that its own forks stop with it. A dead leader stays unreaped until its group has
been killed, because the kernel does not reuse the process id before that.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from dev.install import ROOT
from dev.say import Stop, say, tail

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Child:
    """One process and its log. When an `essential` one dies, the run ends; the others are restarted."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], log: Path, essential: bool = False):
        self.name = name
        self.command = command
        self.environment = environment
        self.log = log
        self.essential = essential
        self.stops_first = False
        self.stop_signal = signal.SIGTERM
        self.folder = ROOT
        self.process: subprocess.Popen[bytes] | None = None
        self.due = 0.0
        self.asked = False

    @property
    def pid(self) -> int:
        """The leader's process id, or 0 while it is down."""
        return self.process.pid if self.process else 0

    def start(self) -> None:
        """Start the process and append its output to the log."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent if _libc else None,
            )

    def pids(self) -> list[int]:
        """The process ids of the leader and its direct forks."""
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            return [self.pid, *map(int, children)]
        return [self.pid] if self.pid else []

    def ended(self) -> int | None:
        """The exit code (negative: the signal that killed it), or None while it runs. Kills the rest of its group."""
        if self.process is None:
            return None
        if os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        self.signal(signal.SIGKILL)
        code = self.process.wait()
        self.process = None
        return code

    def signal(self, number: signal.Signals, group: bool = True) -> None:
        """Send a signal to the process group, or to the leader alone if `group` is false."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self.process.pid, number)

    def ask_to_stop(self) -> None:
        """Send the stop signal once, without waiting."""
        if not self.asked:
            self.asked = True
            self.signal(self.stop_signal, group=False)

    def stop(self, until: float) -> None:
        """Send the stop signal, wait until that time of the monotonic clock, then kill the group."""
        self.ask_to_stop()
        try:
            while self.process is not None and self.ended() is None and time.monotonic() < until:
                time.sleep(0.02)
        finally:
            self.signal(signal.SIGKILL)
            if self.process is not None:
                self.process.wait()
                self.process = None


class Children:
    """All children of one run, in start order."""

    def __init__(self) -> None:
        self.all: list[Child] = []

    def start(self, child: Child) -> Child:
        self.all.append(child)
        child.start()
        return child

    def still_starting(self) -> None:
        """Raises Stop if a child has ended. During the start that is a failure and no reason to restart it."""
        for child in self.all:
            code = child.ended()
            if code is not None:
                raise Stop(f"{child.name} {_how(code)} while it was starting.\n{tail(child.log)}")

    def look_after(self) -> None:
        """Restart each dead child after a second. Raises Stop if it was an essential one."""
        for child in self.all:
            pid, code = child.pid, child.ended()
            if code is not None and child.essential:
                raise Stop(f"{child.name} (process {pid}) {_how(code)}; without it nothing works.\n{tail(child.log)}")
            if code is not None:
                say(f"{child.name} (process {pid}) {_how(code)}; starting it again.")
                child.due = time.monotonic() + 1
            if child.process is None and time.monotonic() >= child.due:
                child.start()

    def stop(self, patience_seconds: float = 20) -> None:
        """Stop every child: those with `stops_first`, then the others, and the essential ones last."""
        until = time.monotonic() + patience_seconds
        for now in (
            [child for child in self.all if child.stops_first],
            [child for child in self.all if not child.stops_first and not child.essential],
            [child for child in self.all if child.essential],
        ):
            try:
                for child in now:
                    child.ask_to_stop()
                for child in now:
                    child.stop(until)
            except KeyboardInterrupt:
                # The second interrupt: stop waiting, but still stop every child.
                until = 0
                for child in now:
                    child.stop(until)
        self.all.clear()


def _how(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"


def _die_with_parent() -> None:
    """Runs in the child: if `dev.py` is killed, the kernel terminates this child too."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
