"""Messages for the person at the terminal. They go to stderr, because stdout belongs to `demo --json`."""

import sys
from pathlib import Path


class Stop(Exception):
    """The command cannot continue. The message says why and what to do about it."""


def say(words: str) -> None:
    """Print to stderr and flush."""
    print(words, file=sys.stderr, flush=True)


def tail(log: Path, lines: int = 25) -> str:
    """The last lines of a log, indented, under its path. Shown when something failed."""
    try:
        text = log.read_text(errors="replace").splitlines()[-lines:]
    except OSError:
        text = []
    return "\n".join([f"The end of {log}:", *(f"    {line}" for line in text or ["(it is empty)"])])
