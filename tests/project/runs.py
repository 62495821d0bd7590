"""Runs of `dev.py demo` as another agent sees them: a command line, its output, its exit code."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dev import environment
from dev.install import ROOT

START_SECONDS = 180


def finished(*words: str, variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`dev.py` with these words, to its end."""
    return subprocess.run(
        [sys.executable, "dev.py", *words],
        cwd=ROOT,
        env={**environment.for_tests(), **(variables or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
    )


class Demo:
    """`dev.py demo --json` with more words, up to its line and until it is stopped."""

    def __init__(self, *words: str, folder: Path, variables: dict[str, str] | None = None) -> None:
        self.errors = folder / "stderr"
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "dev.py", "demo", "--json", *words],
                cwd=ROOT,
                env={**environment.for_tests(), **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        assert first, self.errors.read_text()
        self.line: dict[str, Any] = json.loads(first)

    def now(self) -> dict[str, Any]:
        """The line with the process ids of now."""
        return dict(json.loads((Path(self.line["env"]["QUEUE_DIR"]).parent / "stack.json").read_text()))

    def pids(self) -> list[int]:
        return [pid for pids in self.now()["pids"].values() for pid in pids]

    def manage(self, *words: str) -> subprocess.CompletedProcess[str]:
        return finished("manage", *words, variables=self.line["env"])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send one signal; the exit code and what stdout held beyond the line."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=60)
        return self.process.returncode, rest

    def close(self) -> None:
        """Whatever the test did: nothing of it stays."""
        if self.process.poll() is None:
            self.stop()
        if self.process.stdout is not None:
            self.process.stdout.close()


def alive(pid: int) -> bool:
    """Whether a process with this number runs; one that ended and was not collected yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def soon(holds: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether it comes to hold in time."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
