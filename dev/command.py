"""The verbs of `dev.py` and their options. Nothing is installed or started here."""

import argparse
import os
import sys
from typing import NoReturn

from dev import install
from dev.say import Stop, say

_USAGE = """usage: dev.py demo [options]    the whole shop on this machine, with a chain of its own (demo --help)
       dev.py test [arguments]  every test, on SQLite and on PostgreSQL; other arguments go to pytest
                                --quick: within a minute, what needs one database and no other program
                                --require-all: a test that is skipped is a failure
       dev.py manage [words]    manage.py in the project's environment
       dev.py bench [words]     the measurements against the official middleware"""


def main(words: list[str]) -> int:
    """Run one verb; the answer is the exit code. A problem a person can solve is one sentence on stderr and 1."""
    verbs = {"demo": _demo, "test": _test, "manage": _manage, "bench": _bench}
    if words[:1] in (["-h"], ["--help"]):
        print(_USAGE)
        return 0
    if not words or words[0] not in verbs:
        say(_USAGE)
        return 2
    try:
        return verbs[words[0]](words[1:])
    except Stop as problem:
        say(str(problem))
        return 1
    except KeyboardInterrupt:
        say("Stopped.")
        return 130


def _demo(words: list[str]) -> int:
    from dev import demo

    return demo.run(_demo_options().parse_args(words))


def _test(words: list[str]) -> int:
    from dev import suite

    others = [word for word in words if word not in ("--quick", "--require-all")]
    if "--quick" in words:
        return suite.quick(others)
    return suite.run(others, require_all="--require-all" in words)


def _manage(words: list[str]) -> int:
    install.python_packages({"demo"})
    _become([str(install.PYTHON), str(install.ROOT / "manage.py"), *words], dict(os.environ))


def _bench(words: list[str]) -> int:
    install.python_packages(install.ALL_GROUPS)
    variables = {**os.environ, "ANVIL": str(install.anvil(everything=True)), "PYTHONPATH": str(install.ROOT)}
    _become([str(install.PYTHON), "-m", "bench.run", *words], variables)


def _become(command: list[str], environment: dict[str, str]) -> NoReturn:
    """Go on as another program, so that its signals, its output and its exit code are nobody else's."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, environment)  # noqa: S606


def _demo_options() -> argparse.ArgumentParser:
    demo = argparse.ArgumentParser(prog="dev.py demo", description="The whole shop, with play money.")
    demo.add_argument("--once", action="store_true", help="stop after the purchase: 0 if it worked, 1 if not")
    demo.add_argument("--json", action="store_true", help="one line of JSON on stdout once everything answers")
    demo.add_argument("--quiet-start", action="store_true", help="start without the example purchase")
    demo.add_argument("--port", type=int, metavar="N", help="the web server's port (a free one)")
    demo.add_argument("--chain-port", type=int, metavar="N", help="the local chain's port (a free one)")
    demo.add_argument("--rpc-url", metavar="URL", help="where the product looks for the chain (the chain's own port)")
    demo.add_argument("--database-url", metavar="URL", help="sqlite:///… or postgres://owner:…@… (a new SQLite file)")
    demo.add_argument("--broker-url", metavar="URL", help="redis://… (files in the run's folder)")
    demo.add_argument(
        "--block-time",
        type=float,
        metavar="SECONDS",
        help="a block every so often and not otherwise (one at once, and an empty one every second)",
    )
    return demo
