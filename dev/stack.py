"""The whole shop on this machine: chain, web server, worker, watcher, settler. Starts, watches and stops them."""

import argparse
import contextlib
import fcntl
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev import chain, environment, install
from dev.children import Child, Children
from dev.say import Stop, tail

_RUNS = install.VAR / "demo"
_RUNS_KEPT = 5
_READY_SECONDS = 120
_CARD_SECRETS = ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET")
_SECRETS = ("SETTLER_KEY", *_CARD_SECRETS)


@dataclass
class Stack:
    """One run. `line()` is the output of `demo --json`; `folder` holds the run's files."""

    options: argparse.Namespace
    children: Children = field(default_factory=Children)
    clerk: subprocess.Popen[str] | None = None
    product: dict[str, str] = field(default_factory=dict)
    sample: dict[str, Any] = field(default_factory=dict)
    processor: Child | None = None

    def __post_init__(self) -> None:
        self.folder, self.lock = _new_folder()

    def start(self, anvil: Path) -> None:
        """Start everything and wait until the shop is ready. Raises Stop with the reason if that fails."""
        options = self.options
        self.port = chain.check_port(options.port) if options.port else chain.free_port()
        chain_port = chain.check_port(options.chain_port) if options.chain_port else chain.free_port()
        self.chain_url = chain.url(chain_port)
        self.chain = self.children.start(chain.program(anvil, chain_port, self.folder, options.block_time))
        self.accounts = chain.prepare(self.chain, self.chain_url)
        self.product = {
            **environment.product(self.port, self.chain_url, self.accounts, self.folder),
            **self._card_processor(),
            **({"CHAIN_RPC_URL": options.rpc_url} if options.rpc_url else {}),
            **environment.databases(options.database_url, self.folder),
            "CELERY_BROKER_URL": options.broker_url or "filesystem://",
        }
        self.environment = environment.for_children(self.product)
        self._write_env_file()
        self.clerk = self._hire_clerk()
        self._collect_static()
        self.ask("database")
        self._tell("sample")
        self._start_product()
        self.sample = self._hear("sample")
        self._wait_until_ready()
        self._remember()

    def _card_processor(self) -> dict[str, str]:
        """The card processor's variables: the caller's processor or, by default, a stand-in started for this run."""
        if "STRIPE_API_BASE" in os.environ:
            return {"STRIPE_STAND_IN": "1"}
        if "STRIPE_SECRET_KEY" in os.environ:
            return {}
        port = chain.free_port()
        secret, hook = (f"{kind}_{secrets.token_hex(12)}" for kind in ("sk_test", "whsec"))
        command = [str(install.PYTHON), "-m", "dev.standin", "--port", str(port), "--secret-key", secret]
        command += ["--webhook-secret", hook, "--webhook-url", f"http://localhost:{self.port}/webhooks/stripe"]
        log = self.folder / "processor.log"
        self.processor = self.children.start(
            Child("The test card simulator", command, dict(os.environ), log, essential=True)
        )
        public = secret.replace("sk_", "pk_")
        return environment.processor(f"http://127.0.0.1:{port}", public, secret, hook)

    def ask(self, verb: str, *words: str) -> Any:
        """Run one request inside the project (dev/clerk.py). A refusal raises Stop with the product's message."""
        self._tell(verb, *words)
        return self._hear(verb)

    def dismiss_clerk(self) -> None:
        """End the clerk process."""
        if self.clerk is not None:
            self.clerk.kill()
            self.clerk.communicate()
            self.clerk = None

    def stop(self) -> None:
        """Stop every process of this run."""
        self.dismiss_clerk()
        self.children.stop()
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def _hire_clerk(self) -> subprocess.Popen[str]:
        with (self.folder / "clerk.log").open("a") as log:
            return subprocess.Popen(
                [str(install.PYTHON), "dev/clerk.py", "migrate"],
                cwd=install.ROOT,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def _tell(self, *request: str) -> None:
        if self.clerk is None or self.clerk.stdin is None:
            raise Stop("The helper process of this run has stopped.")
        with contextlib.suppress(BrokenPipeError):
            self.clerk.stdin.write(f"{json.dumps(request)}\n")
            self.clerk.stdin.flush()

    def _hear(self, verb: str) -> Any:
        if self.clerk is None or self.clerk.stdout is None:
            raise Stop("The helper process of this run has stopped.")
        said = json.loads(self.clerk.stdout.readline() or '{"problem": ""}')
        self.children.still_starting()
        if "problem" in said:
            raise Stop(said["problem"] or f"The step “{verb}” failed.\n{tail(self.folder / 'clerk.log')}")
        return said["answer"]

    def look_after(self) -> None:
        """Supervise the processes until interrupted. Restarts the dead; raises Stop if an essential one died."""
        known: dict[str, list[int]] = {}
        while True:
            self.children.look_after()
            # The ids also change when gunicorn replaces one of its own workers.
            if known != (known := self._pids()):
                self._remember()
            time.sleep(0.1)

    def line(self) -> dict[str, Any]:
        """Everything another program needs to use, inspect and disrupt this run."""
        return {
            "base_url": self.product["BASE_URL"],
            "rpc_url": self.product["CHAIN_RPC_URL"],
            "chain_id": chain.CHAIN_ID,
            "chain_url": self.chain_url,
            "network": chain.NETWORK,
            "asset": chain.TEST_DOLLAR,
            "pay_to": self.product["PAY_TO"],
            "database_url": self.product["DATABASE_URL"],
            "broker_url": self.product["CELERY_BROKER_URL"],
            "env": self.product,
            "pids": self._pids(),
            "processor": {"url": self.product.get("STRIPE_API_BASE", ""), "pids": self._processor_pids()},
            "buyer_keys": [wallet.key for wallet in self.accounts.buyers],
            "articles": self.sample["articles"],
            "logins": self.sample["logins"],
        }

    def _pids(self) -> dict[str, list[int]]:
        """The process ids of the web server and its workers, of what works behind it, and of the chain."""
        worker = [child.pid for child in (self.worker, self.settler, self.watcher) if child.pid]
        return {"web": self.web.pids(), "worker": worker, "chain": [self.chain.pid]}

    def _processor_pids(self) -> list[int]:
        return [self.processor.pid] if self.processor else []

    def _start_product(self) -> None:
        python = str(install.PYTHON)
        celery = [python, "-m", "celery", "-A", "marketplace", "worker", "-B", "-P", "threads", "-c", "4", "-l", "INFO"]
        gunicorn = [python, "-m", "gunicorn", "-c", "gunicorn.conf.py", "marketplace.wsgi"]
        settle, watch = ([python, "manage.py", word] for word in ("settle", "watch"))
        self.settler = self._child("The settler", "settler.log", settle, ("SETTLER_KEY",))
        self.watcher = self._child("The watcher", "watcher.log", watch)
        self.worker = self._child("The worker", "worker.log", celery, _CARD_SECRETS)
        self.web = self._child("The web server", "web.log", gunicorn, _CARD_SECRETS)
        # Requests in flight may wait for the settler.
        self.web.stops_first = True

    def _child(self, name: str, log: str, command: list[str], secrets: Sequence[str] = ()) -> Child:
        """Start one process of the product. Of the settlement key and the card secrets it gets only those named."""
        environment = {key: value for key, value in self.environment.items() if key in secrets or key not in _SECRETS}
        return self.children.start(Child(name, command, environment, self.folder / log))

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + _READY_SECONDS
        said = ""
        while said != "200":
            self.children.still_starting()
            if time.monotonic() > until:
                logs = "\n".join(tail(child.log, 8) for child in (self.web, self.worker, self.watcher, self.settler))
                raise Stop(f"The shop is not ready after {_READY_SECONDS} s: {said}\n{logs}")
            time.sleep(0.05)
            said = _readiness(f"{self.product['BASE_URL']}/readyz")

    def _collect_static(self) -> None:
        """Collect static files if any has changed, under a lock: two demos of one checkout share the folder."""
        with (install.VAR / "static.stamp").open("a+") as stamp:
            fcntl.flock(stamp, fcntl.LOCK_EX)
            stamp.seek(0)
            digest = install.static_digest()
            if stamp.read() == digest and (install.ROOT / "staticfiles").exists():
                return
            self.ask("static")
            stamp.truncate(0)
            stamp.write(digest)

    def _write_env_file(self) -> None:
        lines = [f"{name}={value}\n" for name, value in self.product.items()]
        _private(self.folder / "env", "".join(lines))

    def _remember(self) -> None:
        """Write the line with the current process ids, which change after a restart."""
        _private(self.folder / "stack.json", json.dumps(self.line()))


def _readiness(address: str) -> str:
    try:
        with _direct.open(address, timeout=5) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as refusal:
        return f"{address} says {refusal.code} {refusal.read(500).decode(errors='replace')}"
    except OSError as error:
        return f"{address} does not answer ({error})"


_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _private(path: Path, text: str) -> None:
    """Write a file with keys atomically, readable by this user only."""
    draft = path.with_name(f"{path.name}.new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def _new_folder() -> tuple[Path, int | None]:
    """Create this run's folder and lock it while the run lives. Removes the oldest unlocked folders."""
    _RUNS.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=_RUNS))
    lock = _lock(folder)
    for old in sorted(_RUNS.iterdir())[:-_RUNS_KEPT]:
        free = _lock(old)
        if free is not None:
            shutil.rmtree(old, ignore_errors=True)
            os.close(free)
    return folder, lock


def _lock(folder: Path) -> int | None:
    """Lock the folder. None if another run holds the lock or has just removed the folder."""
    try:
        number = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(number)
        return None
    return number
