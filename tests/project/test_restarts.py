"""A release behind one listening socket: no request fails, none waits long, and one that is under way is answered.

gunicorn gets the socket as deploy/systemd/pennypress-web.socket hands it over.
"""

import configparser
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.install import ROOT
from tests.project.test_deployment import COMPOSE, OURS

_PATIENCE = 60
_SILENT_SECONDS = 3
_AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execvp("gunicorn", ["gunicorn"])
"""


def wait(found: Callable[[], bool]) -> None:
    """Poll until it is so; bounded."""
    ends = time.monotonic() + _PATIENCE
    while not found():
        assert time.monotonic() < ends
        time.sleep(0.05)


class Instance:
    """One web instance, on a socket that it inherits as descriptor 3."""

    def __init__(self, listening: socket.socket, log: Path) -> None:
        self.log = log
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        variables = {"PATH": path, "SECRET_KEY": "for this test", "CELERY_BROKER_URL": "memory://", "WEB_WORKERS": "1"}
        command = [sys.executable, "-c", _AS_SYSTEMD, str(listening.fileno())]
        with log.open("w") as file:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=variables, stderr=file, pass_fds=[listening.fileno()]
            )
        self.says("Booting worker")

    def says(self, words: str) -> None:
        """Wait until these words are in the log."""
        wait(lambda: words in self.log.read_text() or self.process.poll() is not None)
        assert words in self.log.read_text(), self.log.read_text()

    def end(self) -> None:
        """As `systemctl restart` ends it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=20)


class Client(threading.Thread):
    """Sends requests until it is told to stop, on one kept connection or on a new one for each."""

    def __init__(self, port: int, keep: bool) -> None:
        super().__init__()
        self.port, self.keep, self.stopping = port, keep, threading.Event()
        self.answered: list[float] = []
        self.failures: list[str] = []

    def run(self) -> None:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self.stopping.wait(0.01):
            try:
                line.request("POST" if self.keep else "GET", "/healthz", headers={"Host": "localhost"})
                answer = line.getresponse()
                answer.read()
                if answer.status != 200:
                    self.failures.append(str(answer.status))
                self.answered.append(time.monotonic())
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                line.close()
            if not self.keep:
                line.close()
        line.close()


def test_a_release_loses_no_request(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        port = listening.getsockname()[1]
        running = [Instance(listening, tmp_path / "former.log")]
        clients = [Client(port, keep=number % 2 == 0) for number in range(6)]
        try:
            for client in clients:
                client.start()
            half = socket.create_connection(("127.0.0.1", port), timeout=30)
            half.sendall(b"GET /healthz HTTP/1.1\r\nHost: local")
            running.append(Instance(listening, tmp_path / "new.log"))
            # The former instance has it: it was there alone. A thread of it waits for the rest.
            running[0].process.send_signal(signal.SIGTERM)
            running[0].says("Handling signal: term")
            half.sendall(b"host\r\n\r\n")
            assert half.recv(4096).startswith(b"HTTP/1.1 200 OK")
            half.close()
            running[0].end()
            since = [len(client.answered) for client in clients]
            wait(lambda: all(len(one.answered) >= n + 10 for one, n in zip(clients, since, strict=True)))
        finally:
            for client in clients:
                client.stopping.set()
                client.join()
            for one in running:
                if one.process.poll() is None:
                    one.end()
    assert [failure for client in clients for failure in client.failures] == []
    moments = sorted(moment for client in clients for moment in client.answered)
    assert max(later - moment for moment, later in zip(moments, moments[1:], strict=False)) < _SILENT_SECONDS
    assert running[0].process.returncode == running[1].process.returncode == 0


UNITS = {path.name: path for path in (ROOT / "deploy" / "systemd").iterdir()}


def read(name: str) -> configparser.RawConfigParser:
    """A unit file. Where a name stands several times, the last line counts here."""
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNITS[name])
    return unit


def test_every_process_has_a_unit_with_the_command_of_its_service() -> None:
    services = {name.removeprefix("pennypress-").rstrip("@"): name for name in
                (name.removesuffix(".service") for name in UNITS if name.endswith(".service"))}  # fmt: skip
    assert set(services) == {"web", "worker", "beat", "watcher", "settler", "migrate"} >= set(OURS)
    for process, name in services.items():
        said = read(f"{name}.service")["Service"]
        command = said["ExecStart"].removeprefix("/opt/pennypress/.venv/bin/")
        if process in OURS and process != "migrate":
            assert command.split() == OURS[process].get("command", ["gunicorn"])
        assert said["EnvironmentFile"] == f"/etc/pennypress/{process}.env"
        assert said["DynamicUser"] == "yes"


def test_a_web_instance_has_the_time_that_gunicorn_gives_its_requests() -> None:
    graceful = int(re.search(r"^graceful_timeout = (\d+)$", (ROOT / "gunicorn.conf.py").read_text(), re.M)[1])  # type: ignore[index]
    web = read("pennypress-web@.service")["Service"]
    assert int(web["TimeoutStopSec"]) > graceful
    assert int(COMPOSE["services"]["web"]["stop_grace_period"].rstrip("s")) > graceful
    assert web["Sockets"] == "pennypress-web.socket"
    assert "ExecReload" not in web


@pytest.mark.parametrize("secret", ["SETTLER_KEY", "DATABASE_OWNER_URL", "STRIPE_SECRET_KEY"])
def test_no_page_puts_a_secret_on_a_command_line(secret: str) -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        assert not re.search(rf"^ *{secret}=\S", page.read_text(), re.MULTILINE), page


def test_the_operators_pages_name_the_files_that_the_units_read() -> None:
    page = (ROOT / "docs" / "operations" / "run-by-hand.md").read_text()
    named = set(re.findall(r"`(\w+)\.env`", page))
    read_by_units = {
        found for path in UNITS.values() for found in re.findall(r"pennypress/(\w+)\.env", path.read_text())
    }
    assert named == read_by_units
