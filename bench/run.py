"""`python3 dev.py bench`: rounds in alternation, medians and ratios; no verdict but the floors that an issue set.

One web process each. Ours also runs its settler, which is counted and stated; the middleware settles in its web
process. Both sell on the same chain, which mines a transaction at once.
"""

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

from coincurve import PrivateKey
from eth_utils import keccak, to_checksum_address

from dev import chain, install
from dev.children import Child
from dev.stack import Stack

CONCURRENCY = (1, 8, 32)
MINT = "0x40c10f19"


def main() -> int:
    """Run all rounds, print the table, and write var/bench.json."""
    parser = argparse.ArgumentParser(prog="dev.py bench")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of one measurement")
    parser.add_argument("--buyers", type=int, default=150)
    parser.add_argument("--database-url")
    options = parser.parse_args()
    os.environ["WEB_WORKERS"] = "1"
    stack = Stack(
        argparse.Namespace(
            port=None,
            chain_port=None,
            block_time=None,
            rpc_url=None,
            broker_url=None,
            database_url=options.database_url,
        )  # fmt: skip
    )
    try:
        stack.start(install.anvil(everything=True))
        results = _measure(stack, options)
    finally:
        stack.stop()
    (install.VAR / "bench.json").write_text(json.dumps(results, indent=1))
    _print(results)
    return 0


def _measure(stack: Stack, options: argparse.Namespace) -> dict[str, Any]:
    other = _middleware(stack)
    articles = [article["md_url"] for article in stack.sample["articles"] if article["agent_price_micros"] <= 1_000_000]
    constant = f"{stack.product['BASE_URL']}/.well-known/did.json"
    results: dict[str, Any] = {"unpaid": {}, "buy": {}, "gas": {}}
    # More of these: three seconds are short, and one round differs from the next by a fifth.
    for _ in range(3 * options.rounds):
        for name, url in (("constant view", constant), ("shop", articles[0]), ("middleware", other)):
            job = {"url": url, "concurrency": 8, "seconds": options.seconds / 2}
            results["unpaid"].setdefault(name, []).append(_load("unpaid", job))
    for concurrency in CONCURRENCY:
        for _ in range(options.rounds):
            keys = _buyers(stack, options.buyers)
            for name, urls in (("shop", articles), ("middleware", [other] * len(articles))):
                job = {"urls": urls, "keys": keys, "concurrency": concurrency, "seconds": options.seconds}
                results["buy"].setdefault(f"{name} {concurrency}", []).append(_load("buy", job))
    for name in ("shop", "middleware"):
        for concurrency in CONCURRENCY:
            results["gas"][f"{name} {concurrency}"] = _gas(stack, results["buy"][f"{name} {concurrency}"])
    return results


def _middleware(stack: Stack) -> str:
    """Start the middleware in one process; its address."""
    port = chain.free_port()
    environment = {
        **os.environ,
        "BENCH_KEY": stack.accounts.agent.key,
        "BENCH_RPC": stack.chain_url,
        "BENCH_ASSET": chain.TEST_DOLLAR,
        "BENCH_PAY_TO": to_checksum_address(stack.accounts.minter.address),
    }
    command = [
        str(install.PYTHON),
        "-m",
        "uvicorn",
        "bench.middleware:app",
        "--port",
        str(port),
        "--log-level",
        "warning",
    ]
    stack.children.start(Child("The middleware", command, environment, stack.folder / "middleware.log"))
    url = f"http://127.0.0.1:{port}/article"
    ends = time.monotonic() + 30
    while time.monotonic() < ends:
        with suppress(Exception):
            _load("unpaid", {"url": url, "concurrency": 1, "seconds": 0.1})
            return url
        time.sleep(0.2)
    raise SystemExit((stack.folder / "middleware.log").read_text())


def _load(kind: str, job: dict[str, Any]) -> dict[str, Any]:
    """One measurement in a process of its own."""
    done = subprocess.run(
        [str(install.PYTHON), "-m", "bench.load", kind],
        input=json.dumps(job), cwd=install.ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout)


def _buyers(stack: Stack, count: int) -> list[str]:
    """New keys with test dollars."""
    keys = [secrets.token_hex(32) for _ in range(count)]
    for key in keys:
        holder = keccak(PrivateKey.from_hex(key).public_key.format(compressed=False)[1:])[12:].hex()
        call = f"{MINT}{holder:0>64}{1_000_000_000:064x}"
        transaction = {"from": stack.accounts.minter.address, "to": chain.TEST_DOLLAR, "data": call}
        chain.rpc(stack.chain_url, "eth_sendTransaction", transaction)
    return keys


def _gas(stack: Stack, rounds: list[dict[str, Any]]) -> float:
    """Gas per purchase, from the receipts of the settlement transactions."""
    bought = [transaction for one in rounds for transaction in one["transactions"]]
    used = 0
    for transaction in set(bought):
        used += int(chain.rpc(stack.chain_url, "eth_getTransactionReceipt", transaction)["gasUsed"], 16)
    return used / max(len(bought), 1)


def _print(results: dict[str, Any]) -> None:
    def median(rounds: list[dict[str, Any]], what: str = "per_second") -> float:
        return statistics.median(one[what] or 0.0 for one in rounds)

    print(f"{'':28}{'shop':>12}{'compared':>12}{'ratio':>8}")
    ours = median(results["unpaid"]["shop"])
    for name in ("constant view", "middleware"):
        other = median(results["unpaid"][name])
        print(f"{'unpaid 402/s beside ' + name:28.28}{ours:12.0f}{other:12.0f}{ours / other:8.2f}")
    for concurrency in CONCURRENCY:
        pair = [median(results["buy"][f"{name} {concurrency}"]) for name in ("shop", "middleware")]
        print(f"{f'purchases/s at {concurrency}':28}{pair[0]:12.1f}{pair[1]:12.1f}{pair[0] / pair[1]:8.2f}")
    for concurrency in CONCURRENCY:
        pair = [results["gas"][f"{name} {concurrency}"] for name in ("shop", "middleware")]
        print(f"{f'gas per purchase at {concurrency}':28}{pair[0]:12.0f}{pair[1]:12.0f}{pair[0] / pair[1]:8.2f}")
    wrong = {key: [one["unexpected"] for one in rounds if one["unexpected"]]
             for kind in ("unpaid", "buy") for key, rounds in results[kind].items()}  # fmt: skip
    print("unexpected answers:", {key: value for key, value in wrong.items() if value} or "none")


if __name__ == "__main__":
    sys.exit(main())
