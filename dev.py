#!/usr/bin/env python3
"""The project's one command: demo, test, manage, bench. Standard library only; `dev/` holds the rooms behind it."""

import sys

if sys.version_info < (3, 11):
    sys.exit("Pennypress needs Python 3.11 or newer; this is %d.%d. Try: python3.11 dev.py …" % sys.version_info[:2])

from dev.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
