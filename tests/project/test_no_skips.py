"""The plugin that the build machine runs with."""

import subprocess
import sys
from pathlib import Path

import pytest

from dev.install import ROOT


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("def test_it():\n    pass\n", 0),
        ("import pytest\n\ndef test_it():\n    pytest.skip('no browser')\n", 1),
        ("import pytest\n\npytest.importorskip('no_such_module')\n", 1),
        ("import pytest\n\n@pytest.mark.xfail\ndef test_it():\n    assert False\n", 0),
    ],
    ids=["passed", "skipped", "skipped at import", "expected to fail"],
)
def test_a_skipped_test_is_a_failure(tmp_path: Path, body: str, code: int) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text(
        f"{body}\n\ndef test_other():\n    pass\n" if "importorskip" not in body else body
    )
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.no_skips",
        "-p",
        "no:django",
        "-c",
        str(tmp_path / "pytest.ini"),
    ]
    run = subprocess.run([*words, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == code, run.stdout + run.stderr
