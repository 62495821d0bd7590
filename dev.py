#!/usr/bin/env python3
"""The project's one command: demo, test, manage, bench. Standard library only; `dev/` holds the rooms behind it."""

import sys

# On an older Python, print a clear message instead of a syntax error.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("Pennypress needs Python 3.11 or newer. If it is installed beside this one: python3.11 dev.py …")

from dev.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
