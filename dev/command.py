"""The verbs of `dev.py` and their options. Nothing is installed or started here."""

import argparse
import os
import sys
from collections.abc import Sequence

from dev import install
from dev.say import Stop, say


def main(arguments: Sequence[str]) -> int:
    """Run one verb; the answer is the exit code. A problem a person can solve is one sentence on stderr and 1."""
    try:
        options, rest = _parser().parse_known_args(arguments)
        if rest and options.verb == "demo":
            _parser().error(f"demo does not know {' '.join(rest)}")
        return int(options.run(options, rest) or 0)
    except Stop as problem:
        say(str(problem))
        return 1
    except KeyboardInterrupt:
        say("Stopped.")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dev.py", description="Run, test and measure Pennypress from this checkout.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="demo | test | manage | bench")
    _demo_options(verbs.add_parser("demo", help="the whole shop on this machine, with a chain of its own"))
    test = verbs.add_parser("test", help="every test, on SQLite and on PostgreSQL; further words go to pytest")
    test.add_argument("--require-all", action="store_true", help="a test that is skipped is a failure")
    test.set_defaults(run=_test)
    manage = verbs.add_parser("manage", help="manage.py in the project's environment", add_help=False)
    manage.set_defaults(run=_manage)
    bench = verbs.add_parser("bench", help="the measurements against the official middleware", add_help=False)
    bench.set_defaults(run=_bench)
    return parser


def _demo_options(demo: argparse.ArgumentParser) -> None:
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
        help="a block every so often and not otherwise (at once, and an empty one every second)",
    )
    demo.set_defaults(run=_demo)


def _demo(options: argparse.Namespace, rest: list[str]) -> int:
    from dev import demo

    return demo.run(options)


def _test(options: argparse.Namespace, rest: list[str]) -> int:
    from dev import suite

    return suite.run(rest, require_all=options.require_all)


def _manage(options: argparse.Namespace, rest: list[str]) -> int:
    install.python_packages({"demo"})
    return _become([str(install.PYTHON), str(install.ROOT / "manage.py"), *rest], dict(os.environ))


def _bench(options: argparse.Namespace, rest: list[str]) -> int:
    install.python_packages(install.ALL_GROUPS)
    anvil = install.anvil(everything=True)
    arguments = [str(install.PYTHON), str(install.ROOT / "bench" / "run.py"), *rest]
    return _become(arguments, {**os.environ, "ANVIL": str(anvil), "PYTHONPATH": str(install.ROOT)})


def _become(arguments: list[str], environment: dict[str, str]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(arguments[0], arguments, environment)
