"""`dev.py test`: the static checks and every test, in four runs side by side, two on SQLite and two on PostgreSQL.

Tests whose result can depend on the database run on both, all others on one. tests/databases.py marks them. There are
four runs because each spends half its time waiting for blocks and processes.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dev import environment, install, services
from dev.children import Child, Children
from dev.say import Stop, say

# Below tests/: what runs on both databases, and what runs once, on SQLite. All the rest runs once, on PostgreSQL, such
# as the faults of the node and of the chain.
BOTH = (
    *("unit/payments", "unit/publishers/test_pricing.py", "races", "faults/cards"),
    *("faults/test_crashes.py", "faults/test_campaign.py", "faults/test_database.py"),
)
_PROGRAMS = ("project", "contracts", "standin", "browser", "interop")
# They need no running shop, and the run of money has time for them.
_BESIDE_MONEY = ("http/test_signatures.py", "http/test_studio_beside_a_rival.py")
ON_SQLITE = (*_PROGRAMS, *_BESIDE_MONEY)
# It measures CPU seconds, so it is not quick.
_TIMINGS = "unit/publishers/articles/test_costs.py"

_ALL = "not slow and not stripe"
_WITHOUT_POSTGRES = f"{_ALL} and not postgresql"
_ON_SQLITE = f"{_WITHOUT_POSTGRES} and not on_postgresql"
_ON_POSTGRES = f"{_ALL} and not on_sqlite"
# What is checked without starting the product, while the tests run.
_CHECKS = {
    "commit subjects": ["-m", "dev.commits"],
    "ruff check": ["-m", "ruff", "check", "."],
    "migrations": ["manage.py", "makemigrations", "--check", "--dry-run"],
    "mypy": ["-m", "mypy", "payments"],
}
_QUICK = f"{_WITHOUT_POSTGRES} and not programs"
# pytest exits with 5 when its arguments select no test, which markers often cause.
_PASSED = (0, 5)
_SECRET_KEY = "a key for tests that signs nothing of value"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def run(arguments: list[str], require_all: bool = False) -> int:
    """Return 0 if everything passed. Arguments go to pytest and skip the checks; `require_all` fails on a skip."""
    began = time.monotonic()
    install.python_packages(install.ALL_GROUPS)
    anvil = install.anvil(everything=True)
    missing = _install_missing()
    if missing and require_all:
        raise Stop(f"Some tests cannot run here: {_advice(missing)}")
    folder = Path(tempfile.mkdtemp(prefix="pennypress-test-"))
    children = Children()
    try:
        variables = _environment(anvil, folder, children)
        options = ["-p", "tests.no_skips", "--durations=15"] if require_all else ["-rs"]
        runs = _runs(arguments, folder, variables.get("TEST_POSTGRES_URL"))
        others = _start(options, runs[1:], variables, folder, children)
        failed = [] if arguments else _checked(_CHECKS, variables)
        failed += _failed(options, runs[0], others, variables)
    finally:
        children.stop()
        shutil.rmtree(folder, ignore_errors=True)
    if missing:
        say(f"Some tests were skipped: {_advice(missing)}")
    return _verdict(failed, began)


def quick(arguments: list[str]) -> int:
    """Run ruff and the tests that need only one database file: no chain, no shop, no browser. Two runs side by side."""
    began = time.monotonic()
    install.python_packages(install.ALL_GROUPS)
    folder = Path(tempfile.mkdtemp(prefix="pennypress-test-"))
    children = Children()
    variables = {**environment.for_tests(), "SECRET_KEY": _SECRET_KEY}
    half = ("unit/payments/audit", "unit/payments/cards", "unit/payments/purses", "unit/payments/sql")
    others = _in("unit", "http", but=[*half, _TIMINGS])
    runs = [
        _Tests("quick tests", _QUICK, _in(*half), _sqlite(folder)),
        _Tests("other quick tests", _QUICK, others, _sqlite(folder, "others")),
    ]
    if arguments:
        runs = [_Tests("quick tests", _QUICK, arguments, _sqlite(folder))]
    try:
        beside = _start(["-q"], runs[1:], variables, folder, children)
        failed = _checked({"ruff check": _CHECKS["ruff check"]}, variables)
        failed += _failed(["-q"], runs[0], beside, variables)
    finally:
        children.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return _verdict(failed, began)


def _verdict(failed: list[str], began: float) -> int:
    """Print the result and return the exit code."""
    took = f"{time.monotonic() - began:.0f} s"
    say(f"Failed: {', '.join(failed)} ({took})." if failed else f"Everything passed ({took}).")
    return 1 if failed else 0


def _environment(anvil: Path, folder: Path, children: Children) -> dict[str, str]:
    node = install.node()
    variables = {
        **environment.for_tests(),
        "ANVIL": str(anvil),
        "NODE": str(node),
        "X402_V1_PYTHON": str(install.v1_client()),
        "LOCALSTRIPE_PYTHON": str(install.localstripe()),
        "PATH": os.pathsep.join([str(install.PYTHON.parent), str(node.parent), os.environ.get("PATH", "")]),
        "SECRET_KEY": _SECRET_KEY,
        "DATABASE_URL": _sqlite(folder),
        "PYTHONUNBUFFERED": "1",
    }
    if browser := _browser():
        variables["CHROMIUM"] = browser
    if services.postgres_programs():
        variables["TEST_POSTGRES_URL"] = services.postgres(children, folder)
    if shutil.which("redis-server"):
        variables["TEST_REDIS_URL"] = services.redis(children, folder)
    return variables


def _sqlite(folder: Path, name: str = "pennypress") -> str:
    return f"sqlite:///{folder / name}.sqlite3"


@dataclass(frozen=True)
class _Tests:
    """One run of pytest: the marker expression and the paths that choose its tests, and its database."""

    name: str
    markers: str
    paths: list[str]
    database: str

    def command(self, options: list[str]) -> list[str]:
        """The arguments of Python that start it."""
        return ["-m", "pytest", "-m", self.markers, *options, *self.paths]


def _runs(arguments: list[str], folder: Path, postgres: str | None) -> list[_Tests]:
    """The runs of the whole suite; or at most two, on the two databases, of what the arguments choose."""
    sqlite = _sqlite(folder)
    if postgres is None:
        return [_Tests("tests on SQLite", _WITHOUT_POSTGRES, arguments, sqlite)]
    if arguments:
        return [
            _Tests("tests on SQLite", _ON_SQLITE, arguments, sqlite),
            _Tests("tests on PostgreSQL", _ON_POSTGRES, arguments, postgres),
        ]
    another = urlsplit(postgres)._replace(path=f"/{services.SECOND_DATABASE}").geturl()
    # The faults of cards need no running shop, and the run of everything else has time for them.
    faults = sorted(f"faults/{file.name}" for file in (install.ROOT / "tests" / "faults").glob("test_*.py"))
    races = ("races", *faults)
    return [
        _Tests("money on SQLite", _ON_SQLITE, _in(*BOTH, *_BESIDE_MONEY), sqlite),
        _Tests("races and faults on PostgreSQL", _ON_POSTGRES, _in(*races), another),
        _Tests("programs on SQLite", _ON_SQLITE, _in(*_PROGRAMS), _sqlite(folder, "programs")),
        _Tests("everything else on PostgreSQL", _ON_POSTGRES, _in("", but=[*races, *ON_SQLITE]), postgres),
    ]


def _in(*paths: str, but: Sequence[str] = ()) -> list[str]:
    """pytest's arguments for these paths below tests/ without those."""
    return [*(f"tests/{path}" for path in paths), *(f"--ignore=tests/{path}" for path in but)]


def _start(
    options: list[str], runs: list[_Tests], variables: dict[str, str], folder: Path, children: Children
) -> list[Child]:
    """Start these runs in the background. `_failed` waits for them and shows their output."""
    running = []
    for number, run in enumerate(runs):
        command = [str(install.PYTHON), *run.command(options)]
        child = Child(run.name, command, {**variables, "DATABASE_URL": run.database}, folder / f"tests-{number}.txt")
        child.stops_first = True
        running.append(children.start(child))
    if running:
        say(f"--- Started, and shown later: {', '.join(child.name for child in running)}")
    return running


def _failed(options: list[str], first: _Tests, running: list[Child], variables: dict[str, str]) -> list[str]:
    """Run the first in the foreground, then wait for the others. Returns the names of those that failed."""
    passed = _run(first.name, first.command(options), {**variables, "DATABASE_URL": first.database})
    return ([] if passed else [first.name]) + [child.name for child in running if not _passed(child)]


def _checked(checks: dict[str, list[str]], variables: dict[str, str]) -> list[str]:
    """Run each check and return the names of those that failed."""
    return [name for name, command in checks.items() if not _run(name, command, variables)]


def _passed(run: Child) -> bool:
    """Wait for a background run and show its output."""
    say(f"--- {run.name}")
    while (code := run.ended()) is None:
        time.sleep(0.2)
    print(run.log.read_text(errors="replace"), flush=True)
    return code in _PASSED


def _run(name: str, command: list[str], variables: dict[str, str]) -> bool:
    say(f"--- {name}")
    code = subprocess.run([str(install.PYTHON), *command], cwd=install.ROOT, env=variables).returncode
    return code == 0 or (code in _PASSED and "pytest" in command)


def _install_missing() -> dict[str, str]:
    """Install missing Debian packages where that needs no password, and return those still missing, by purpose."""
    wanted = _missing()
    may = _may_use_apt()
    if wanted and may is not None and shutil.which("apt-get"):
        say(f"Installing with apt: {' '.join(wanted.values())} …")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install_packages = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *wanted.values()]
        for command in (["apt-get", "update", "-qq"], install_packages):
            done = subprocess.run([*may, *command], env=quiet, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if done.returncode:
                say(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
    return _missing()


def _missing() -> dict[str, str]:
    found = {
        "the tests of commit subjects": ("git", shutil.which("git")),
        "the tests on PostgreSQL": ("postgresql", services.postgres_programs()),
        "the tests with Redis": ("redis-server", shutil.which("redis-server")),
        "the tests in a browser": ("chromium", _browser()),
    }
    return {purpose: package for purpose, (package, program) in found.items() if not program}


def _may_use_apt() -> list[str] | None:
    """The command prefix for apt-get, or None if it would need a password."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True).returncode == 0:
        return [sudo, "-n", "--preserve-env=DEBIAN_FRONTEND"]
    return None


def _browser() -> str | None:
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, _BROWSERS)), None)


def _advice(missing: dict[str, str]) -> str:
    return f"{', '.join(missing)}. To run them: sudo apt-get install {' '.join(missing.values())}"
