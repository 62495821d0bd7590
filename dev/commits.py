"""Commit subjects: `area: what`, at most 72 characters, one change. `python -m dev.commits` checks this tree's.

A shallow clone or an exported tree lacks the history. It passes, with a sentence that says why.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from dev.install import ROOT
from dev.say import say

# Subjects are checked from the commit after this one; older ones were written before the rule.
BASE = "403d4c05f0b2e88bb94d93b642aa8d8dfc614be0"
LIMIT_CHARACTERS = 72
_FORM = re.compile(r"[a-z0-9][\w./-]*(?: [\w./-]+)*: \S.*")


class NoHistory(Exception):
    """The commits after the base cannot be listed here. The message says why."""


def problems(subject: str) -> Iterator[str]:
    """What is wrong with one subject."""
    if len(subject) > LIMIT_CHARACTERS:
        yield f"has {len(subject)} characters, {LIMIT_CHARACTERS} are allowed"
    if ";" in subject:
        yield "has a semicolon: make one commit of each change"
    if not _FORM.fullmatch(subject):
        yield "is not of the form `area: what`"


def subjects(folder: Path, base: str) -> list[tuple[str, str]]:
    """The commits after the base by hash and subject, without merges. Raises NoHistory."""
    if Path(_git(folder, "rev-parse", "--show-toplevel").strip()).resolve() != folder.resolve():
        raise NoHistory("this tree is no git repository of its own")
    try:
        _git(folder, "merge-base", "--is-ancestor", base, "HEAD")
    except NoHistory as error:
        shallow = _git(folder, "rev-parse", "--is-shallow-repository").strip() == "true"
        reason = "the clone is shallow" if shallow else "this is another history"
        raise NoHistory(f"commit {base[:7]} is not here, since {reason}") from error
    log = _git(folder, "log", "--no-merges", "--format=%h%x00%s", f"{base}..HEAD")
    return [(commit, subject) for commit, _, subject in (line.partition("\0") for line in log.splitlines())]


def check(folder: Path = ROOT, base: str = BASE) -> int:
    """Report problems in the commits after the base. Returns 1 for any, 0 for none or without the history."""
    try:
        found = subjects(folder, base)
    except NoHistory as reason:
        say(f"Commit subjects are not checked: {reason}.")
        return 0
    wrong = [f"{commit} {subject!r} {problem}" for commit, subject in found for problem in problems(subject)]
    say("\n".join([*wrong, f"Commit subjects: {len(found)} checked, {len(wrong)} problems."]))
    return 1 if wrong else 0


def _git(folder: Path, *arguments: str) -> str:
    # Git sets GIT_DIR and the like for hooks. A container may run as another user than the tree's owner.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    options = ["-c", f"safe.directory={folder}", "-c", "log.showSignature=false", "-c", "i18n.logOutputEncoding=UTF-8"]
    try:
        done = subprocess.run(["git", "-C", str(folder), *options, *arguments], env=variables, capture_output=True)
    except FileNotFoundError as error:
        raise NoHistory("git is not installed") from error
    if done.returncode:
        raise NoHistory(done.stderr.decode(errors="replace").strip() or "git does not know it")
    return done.stdout.decode(errors="replace")


if __name__ == "__main__":
    raise SystemExit(check())
