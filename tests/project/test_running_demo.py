"""`dev.py demo --json --quiet-start`: what its line promises holds, who is killed comes back, and a signal ends it."""

import collections
import signal
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev import chain
from tests.project.runs import Demo, alive, finished, kill, soon


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """At its end, a signal ends every process, and stdout held one line."""
    demo = Demo("--quiet-start", folder=tmp_path_factory.mktemp("demo"), variables={"QUOTE_SECONDS": "77"})
    try:
        yield demo
        pids = demo.pids()
        assert all(map(alive, pids))
        assert demo.stop(signal.SIGTERM) == (0, ""), demo.errors.read_text()
        assert not any(map(alive, pids))
        assert "Traceback" not in demo.errors.read_text()
    finally:
        demo.close()


def status(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        return refusal.code


def test_the_line_has_everything_another_agent_needs(demo: Demo) -> None:
    assert set(demo.line) == {
        *("base_url", "rpc_url", "chain_id", "chain_url", "network", "asset", "pay_to", "database_url", "broker_url"),
        *("env", "pids", "processor", "buyer_keys", "articles", "logins"),
    }
    assert demo.line["chain_id"] == 84532
    assert demo.line["network"] == "eip155:84532"
    assert demo.line["rpc_url"] == demo.line["chain_url"]
    assert set(demo.line["pids"]) == {"web", "worker", "chain"}
    assert all(demo.line["pids"].values())
    assert len(set(demo.line["buyer_keys"])) >= 8
    assert set(demo.line["logins"]) == {"publisher", "reader", "admin"}
    assert set(demo.line["logins"].pop("admin")) == {"email", "password", "authenticator_key"}
    assert all(set(login) == {"email", "password"} for login in demo.line["logins"].values())


def test_there_are_a_dozen_articles_of_two_publications_and_two_that_cost_the_same(demo: Demo) -> None:
    articles = demo.line["articles"]
    assert len(articles) >= 12
    assert len({article["publication"] for article in articles}) >= 2
    prices = collections.Counter(
        (article["publication"], article["people_price_micros"], article["agent_price_micros"]) for article in articles
    )
    assert max(prices.values()) >= 2


def test_every_address_of_every_article_asks_for_payment(demo: Demo) -> None:
    for article in demo.line["articles"]:
        for address in (article["url"], article["md_url"], article["json_url"]):
            assert address.startswith(demo.line["base_url"])
            assert status(address) == 402


def test_the_chain_is_ours_with_money_for_buyers_and_none_yet_for_the_publisher(demo: Demo) -> None:
    address = demo.line["chain_url"]
    assert int(chain.rpc(address, "eth_chainId"), 16) == 84532
    assert len(chain.rpc(address, "eth_getCode", demo.line["asset"], "latest")) > 1000
    assert chain.balance_micros(address, demo.line["pay_to"]) == 0


def test_blocks_come_without_transactions(demo: Demo) -> None:
    def height() -> int:
        return int(chain.rpc(demo.line["chain_url"], "eth_blockNumber"), 16)

    before = height()
    assert soon(lambda: height() >= before + 2, 5)


def test_the_callers_settings_reach_the_product(demo: Demo) -> None:
    assert demo.line["env"]["QUOTE_SECONDS"] == "77"
    printed = demo.manage(
        "shell", "--no-imports", "-c", "from django.conf import settings; print(settings.QUOTE_SECONDS)"
    )
    assert printed.stdout.split()[-1] == "77", printed.stderr


def test_the_key_that_signs_is_with_the_settler_alone(demo: Demo) -> None:
    pids = demo.line["pids"]
    celery, settler, watcher = pids["worker"]
    everybody = (*pids["web"], celery, settler, watcher)
    holders = [pid for pid in everybody if b"SETTLER_KEY=" in Path(f"/proc/{pid}/environ").read_bytes()]
    assert holders == [settler]


def test_manage_acts_on_this_very_stack(demo: Demo) -> None:
    audit = demo.manage("audit")
    assert audit.returncode == 0, audit.stdout + audit.stderr


@pytest.mark.parametrize("who", ["worker", "web"])
def test_who_is_killed_comes_back(demo: Demo, who: str) -> None:
    before = demo.now()["pids"][who]
    for pid in before:
        kill(pid)
    assert soon(lambda: not set(before) & set(demo.now()["pids"][who]))
    assert soon(lambda: status_or_nothing(f"{demo.line['base_url']}/readyz") == 200, 60), demo.errors.read_text()
    assert soon(lambda: len(demo.now()["pids"][who]) == len(before))
    assert "starting it again" in demo.errors.read_text()


def status_or_nothing(address: str) -> int:
    try:
        return status(address)
    except OSError:
        return 0


def test_a_database_that_remembers_another_chain_is_refused_with_a_sentence(demo: Demo, tmp_path: Path) -> None:
    with sqlite3.connect(demo.line["database_url"].removeprefix("sqlite:///")) as known:
        known.execute("VACUUM INTO ?", [str(tmp_path / "shop.sqlite3")])
    known.close()
    again = finished("demo", "--once", "--quiet-start", "--database-url", f"sqlite:///{tmp_path / 'shop.sqlite3'}")
    assert again.returncode == 1
    assert "another chain" in again.stderr
    assert "Traceback" not in again.stderr


def test_without_its_chain_the_demo_stops_and_says_why(tmp_path_factory: pytest.TempPathFactory) -> None:
    demo = Demo("--quiet-start", folder=tmp_path_factory.mktemp("chainless"))
    pids = demo.pids()
    kill(demo.line["pids"]["chain"][0])
    assert demo.process.wait(timeout=60) == 1
    assert "without it nothing works" in demo.errors.read_text()
    assert not any(map(alive, pids))
    demo.close()
