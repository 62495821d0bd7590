"""`dev.py demo --once`: start, buy, tell, stop; on every kind of database, broker and chain the options offer."""

import os
import signal
import subprocess
import threading
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dev import chain
from tests.project.runs import Demo, finished


def test_the_first_command_of_the_readme_buys_an_article_and_says_what_it_did() -> None:
    run = finished("demo", "--once")
    assert run.returncode == 0, run.stdout + run.stderr
    for words in (
        "http://localhost:",
        "/studio/",
        "Sign in as publisher",
        "transaction     0x",
        "the publisher earned",
        "topped up       5.00 USD",
        "their agent     bought",
    ):
        assert words in run.stdout


def test_a_purchase_works_on_postgresql_with_redis_timed_blocks_and_a_watched_chain(tmp_path: Path) -> None:
    owner, broker = os.environ.get("TEST_POSTGRES_URL"), os.environ.get("TEST_REDIS_URL")
    if not owner or not broker:
        pytest.skip("TEST_POSTGRES_URL and TEST_REDIS_URL are not set; dev.py test sets them")
    database = f"demo_{uuid.uuid4().hex[:8]}"
    subprocess.run(["psql", owner, "-qc", f"CREATE DATABASE {database}"], check=True)
    url = urlsplit(owner)._replace(path=f"/{database}").geturl()
    port = chain.free_port()
    words = ["--database-url", url, "--broker-url", broker, "--block-time", "2", "--chain-port", str(port)]
    with Relay(port) as relay:
        demo = Demo(*words, "--rpc-url", relay.url, folder=tmp_path)
        try:
            assert demo.line["rpc_url"] == relay.url
            assert demo.line["chain_url"] == chain.url(port)
            assert relay.calls > 0
            assert urlsplit(demo.line["database_url"]).username == f"{database}_app"
            assert demo.line["env"]["DATABASE_OWNER_URL"] == url
            assert demo.line["broker_url"] == broker
            assert chain.balance_micros(demo.line["chain_url"], demo.line["pay_to"]) > 0, demo.errors.read_text()
            assert demo.manage("audit").returncode == 0
            assert demo.stop(signal.SIGINT) == (0, "")
        finally:
            demo.close()


class Relay(ThreadingHTTPServer):
    """A proxy between the product and its chain, which counts."""

    daemon_threads = True

    def __init__(self, chain_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.chain_port = chain_port
        self.calls = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> "Relay":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *reason: object) -> None:
        self.shutdown()
        self.server_close()


class _Forward(BaseHTTPRequestHandler):
    server: Relay

    def do_POST(self) -> None:
        self.server.calls += 1
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = urllib.request.Request(chain.url(self.server.chain_port), body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            said = answer.read()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *words: object) -> None:
        """Its calls are counted, not told."""
