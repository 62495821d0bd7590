"""A private PostgreSQL and Redis for the tests, on free ports and in a temporary folder."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from dev.chain import free_port
from dev.children import Child, Children
from dev.say import Stop, tail

_USER = "pennypress"
# Two runs of tests need a database each.
SECOND_DATABASE = "races"
# A cluster for one run need not survive a crash of the machine, and its tables stay small.
_SETTINGS = (
    *("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300"),
    *("jit=off", "autovacuum=off"),
)


def postgres_programs() -> Path | None:
    """The folder of the newest PostgreSQL server's executables, or None without one."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if installed:
        return installed[-1].parent
    return Path(on_path).resolve().parent if on_path else None


def postgres(children: Children, folder: Path) -> str:
    """Start a new cluster and return its superuser's URL. It lives for one test run, so fsync is off."""
    programs = postgres_programs()
    if programs is None:
        raise Stop("PostgreSQL is not installed here.")
    home = folder / "postgres"
    home.mkdir(mode=0o700)
    port, password = free_port(), secrets.token_hex(16)
    (home / "password").write_text(password)
    if os.geteuid() == 0:
        _give_to_postgres(folder, home)
    data = home / "data"
    initdb = [str(programs / "initdb"), "-D", str(data), "-U", _USER, "--pwfile", str(home / "password")]
    initdb += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    made = subprocess.run([*_as_postgres(), *initdb], cwd=home, capture_output=True, text=True)
    if made.returncode:
        raise Stop(f"PostgreSQL's initdb failed:\n{made.stderr}")
    command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(home)]
    for setting in _SETTINGS:
        command += ["-c", setting]
    server = Child("PostgreSQL", [*_as_postgres(), *command], dict(os.environ), folder / "postgres.log")
    server.folder = home
    # SIGINT is PostgreSQL's fast shutdown, which does not wait for open connections.
    server.stop_signal = signal.SIGINT
    children.start(server)
    environment = {**os.environ, "PGPASSWORD": password}
    address = ["-h", "127.0.0.1", "-p", str(port), "-U", _USER]

    def created(name: str) -> bool:
        create = [str(programs / "createdb"), *address, name]
        return subprocess.run(create, env=environment, capture_output=True).returncode == 0

    _wait(server, lambda: created(_USER))
    created(SECOND_DATABASE)
    return f"postgres://{_USER}:{password}@127.0.0.1:{port}/{_USER}"


def redis(children: Children, folder: Path) -> str:
    """Start an empty Redis without persistence and return its URL."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = Child("Redis", [*command, "--dir", str(folder)], dict(os.environ), folder / "redis.log")
    children.start(server)

    def answers() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return False
        return True

    _wait(server, answers)
    return f"redis://127.0.0.1:{port}/0"


def _wait(server: Child, answers: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not answers():
        if time.monotonic() > until or server.ended() is not None:
            raise Stop(f"{server.name} does not start.\n{tail(server.log)}")
        time.sleep(0.1)


def _give_to_postgres(folder: Path, home: Path) -> None:
    """Hand the folder to the user of Debian's package, because PostgreSQL refuses to run as root."""
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        raise Stop("PostgreSQL does not run as root, and there is no user postgres here to run it as.") from None
    folder.chmod(0o711)
    for path in (home, home / "password"):
        os.chown(path, user.pw_uid, user.pw_gid)


def _as_postgres() -> list[str]:
    """The command prefix that drops root and still ends the process when `dev.py` dies."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig", "INT", "--"]
