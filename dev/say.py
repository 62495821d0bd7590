"""Words for the person at the terminal. They go to stderr: stdout belongs to `demo --json`."""

import sys
from pathlib import Path


class Stop(Exception):
    """Nothing can go on; the message is a sentence that says why and what to do about it."""


def say(words: str) -> None:
    """One line, or several, on stderr, at once."""
    print(words, file=sys.stderr, flush=True)


def tail(log: Path, lines: int = 25) -> str:
    """The last lines of a log, indented, with its address; for the moment something failed."""
    try:
        text = log.read_text(errors="replace").splitlines()[-lines:]
    except OSError:
        text = []
    return "\n".join([f"The end of {log}:", *(f"    {line}" for line in text or ["(it is empty)"])])
