"""`python -m dev.standin --port 4242`: runs the stand-in until it is told to stop."""

import argparse
import signal
import threading

from . import SECRET_KEY, WEBHOOK_SECRET, Standin


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dev.standin", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--webhook-url", action="append", default=[], help="where events go; may be given again")
    parser.add_argument("--webhook-secret", default=WEBHOOK_SECRET)
    parser.add_argument("--secret-key", default=SECRET_KEY, help="the key it accepts, and the pk_ of the same name")
    parser.add_argument("--seed", type=int, help="makes ids repeatable")
    given = parser.parse_args()
    standin = Standin(given.port, secret_key=given.secret_key, seed=given.seed)
    for url in given.webhook_url:
        standin.tell(url, given.webhook_secret)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    with standin:
        print(f"The test card simulator listens on {standin.url}", flush=True)
        over.wait()


if __name__ == "__main__":
    main()
