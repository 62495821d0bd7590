"""The verbs of `dev.py` and their options."""

import argparse
import os
import sys
from typing import NoReturn

from dev import install
from dev.say import Stop, say

_USAGE = """usage: dev.py demo [options]      run the whole shop on this machine, with its own local chain (demo --help)
       dev.py test [arguments]    run every test, on SQLite and on PostgreSQL
                                  Extra arguments are passed to pytest.
                                  --quick: the tests that need one database and no other program
                                  --require-all: a skipped test is a failure
       dev.py manage [arguments]  run manage.py in the project's environment
       dev.py code KEY            print the code that an authenticator app with this key shows now
       dev.py bench [arguments]   run the benchmark against the official middleware"""


def main(arguments: list[str]) -> int:
    """Run one verb and return its exit code. A problem that the user can fix returns 1, with a sentence on stderr."""
    verbs = {"demo": _demo, "test": _test, "manage": _manage, "code": _code, "bench": _bench}
    if arguments[:1] in (["-h"], ["--help"]):
        print(_USAGE)
        return 0
    if not arguments or arguments[0] not in verbs:
        say(_USAGE)
        return 2
    try:
        return verbs[arguments[0]](arguments[1:])
    except Stop as problem:
        say(str(problem))
        return 1
    except KeyboardInterrupt:
        say("Stopped.")
        return 130


def _demo(arguments: list[str]) -> int:
    from dev import demo

    return demo.run(_demo_options().parse_args(arguments))


def _test(arguments: list[str]) -> int:
    from dev import suite

    for_pytest = [argument for argument in arguments if argument not in ("--quick", "--require-all")]
    if "--quick" in arguments:
        return suite.quick(for_pytest)
    return suite.run(for_pytest, require_all="--require-all" in arguments)


def _manage(arguments: list[str]) -> int:
    install.python_packages({"demo"})
    _become([str(install.PYTHON), str(install.ROOT / "manage.py"), *arguments], dict(os.environ))


def _code(arguments: list[str]) -> int:
    from dev import code

    return code.run(arguments)


def _bench(arguments: list[str]) -> int:
    install.python_packages(install.ALL_GROUPS)
    variables = {**os.environ, "ANVIL": str(install.anvil(everything=True)), "PYTHONPATH": str(install.ROOT)}
    _become([str(install.PYTHON), "-m", "bench.run", *arguments], variables)


def _become(command: list[str], environment: dict[str, str]) -> NoReturn:
    """Replace this process with another program, which then receives the signals and sets the exit code."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, environment)  # noqa: S606


def _demo_options() -> argparse.ArgumentParser:
    demo = argparse.ArgumentParser(prog="dev.py demo", description="Run the whole shop with play money.")
    demo.add_argument("--once", action="store_true", help="stop after the purchases: exit 0 if they worked, 1 if not")
    demo.add_argument("--json", action="store_true", help="print one line of JSON on stdout when everything is up")
    demo.add_argument("--quiet-start", action="store_true", help="start without the example purchases")
    demo.add_argument("--port", type=int, metavar="N", help="the web server's port (default: a free one)")
    demo.add_argument("--chain-port", type=int, metavar="N", help="the local chain's port (default: a free one)")
    demo.add_argument("--rpc-url", metavar="URL", help="the chain's URL for the product (default: the local chain's)")
    demo.add_argument("--database-url", metavar="URL", help="sqlite:///… or postgres://owner:…@… (default: new SQLite)")
    demo.add_argument("--broker-url", metavar="URL", help="redis://… (default: files in the run's folder)")
    demo.add_argument(
        "--block-time",
        type=float,
        metavar="SECONDS",
        help="mine a block at this interval only (default: one per transaction, and an empty one every second)",
    )
    return demo
