"""The check of commit subjects, against repositories made for it: what it refuses, and where it cannot look."""

import os
import subprocess
from pathlib import Path

import pytest

from dev import commits, suite

GOOD = "gate: refuse a proof spent elsewhere"


def git(folder: Path, *arguments: str) -> str:
    identity = {f"GIT_{role}_{key}": "x" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    variables = {**clean, **identity, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *arguments], cwd=folder, env=variables, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path, subject: str, *options: str) -> str:
    git(folder, "commit", "--allow-empty", "-q", "-m", subject, "-m", "A body; as long as it likes to be.", *options)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    return folder


@pytest.fixture
def base(repository: Path) -> str:
    """A commit from before the rule, whose own subject breaks it in every way."""
    return commit(repository, "This is older than the rule; it is longer than 72 characters, and has no area at all")


def test_good_subjects_pass(repository: Path, base: str, capsys: pytest.CaptureFixture[str]) -> None:
    for subject in (GOOD, "payments/cards: retry", "dev test: say why", "a: " + "x" * 69, "books: résumé, 10⁻⁶ (#12)"):
        commit(repository, subject)
    assert commits.check(repository, base) == 0
    assert "5 checked, 0 problems" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("subject", "problem"),
    [
        ("a: " + "x" * 70, "73 characters"),
        ("gate: refuse a proof; settle another", "semicolon"),
        ("Refuse a proof", "area: what"),
        ("gate refuse: ", "area: what"),
        ("gate:refuse", "area: what"),
        ("Gate: refuse", "area: what"),
        (": refuse", "area: what"),
    ],
)
def test_a_bad_subject_is_named_with_its_commit(
    repository: Path, base: str, capsys: pytest.CaptureFixture[str], subject: str, problem: str
) -> None:
    bad = commit(repository, subject)
    commit(repository, GOOD)
    assert commits.check(repository, base) == 1
    said = capsys.readouterr().err
    assert bad[:7] in said
    assert problem in said
    assert "2 checked, 1 problems" in said


def test_a_merge_is_left_out_and_what_it_brings_is_not(repository: Path, base: str) -> None:
    git(repository, "checkout", "-q", "-b", "side")
    commit(repository, GOOD)
    git(repository, "checkout", "-q", "main")
    commit(repository, GOOD)
    git(repository, "merge", "-q", "--no-ff", "-m", "Merge branch 'side'; whatever git says", "side")
    assert commits.check(repository, base) == 0
    git(repository, "checkout", "-q", "side")
    commit(repository, "No area")
    git(repository, "checkout", "-q", "main")
    git(repository, "merge", "-q", "--no-ff", "-m", "Merge", "side")
    assert commits.check(repository, base) == 1


def test_a_complete_clone_is_checked(repository: Path, base: str, tmp_path: Path) -> None:
    commit(repository, "No area")
    git(tmp_path, "clone", "-q", f"file://{repository}", "clone")
    assert commits.check(tmp_path / "clone", base) == 1


def test_a_shallow_clone_passes_and_says_so(
    repository: Path, base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(repository, "No area")
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repository}", "clone")
    assert commits.check(tmp_path / "clone", base) == 0
    assert "not checked: commit" in (said := capsys.readouterr().err)
    assert "the clone is shallow" in said


def test_a_tree_without_history_passes_and_says_so(
    repository: Path, base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "exported").mkdir()
    assert commits.check(tmp_path / "exported", base) == 0
    assert "not checked: " in capsys.readouterr().err


def test_a_tree_inside_another_repository_is_not_judged_by_it(
    repository: Path, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(repository, "No area")
    (repository / "exported").mkdir()
    assert commits.check(repository / "exported", base) == 0
    assert "no git repository of its own" in capsys.readouterr().err


def test_another_history_passes_and_says_so(repository: Path, base: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert commits.check(repository, "0" * 40) == 0
    assert "another history" in capsys.readouterr().err


def test_without_git_it_passes_and_says_so(
    repository: Path, base: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(repository, "No area")
    monkeypatch.setenv("PATH", str(repository))
    assert commits.check(repository, base) == 0
    assert "git is not installed" in capsys.readouterr().err


def test_the_suite_runs_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(suite, "_run", lambda name, command, variables: bool(ran.append(command)))
    assert "commit subjects" in suite._checked(suite._CHECKS, {})
    assert ["-m", "dev.commits"] in ran
