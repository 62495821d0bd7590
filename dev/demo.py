"""`dev.py demo`: run the whole shop on this machine, buy as an agent and as a reader, and print what to try next."""

import argparse
import json
import os
import signal
import subprocess
import sys
from typing import Any

from dev import chain, install
from dev.say import say
from dev.stack import Stack

# Stock x402 clients refuse a higher price unless they are configured to pay it.
_CLIENTS_LIMIT_MICROS = 1_000_000
_PROGRAM = f"{os.path.basename(sys.executable)} dev.py"


def run(options: argparse.Namespace) -> int:
    """Start, buy, print a summary and run until interrupted. With --once, return 0 if the purchases worked, else 1."""
    # SIGINT too, because a shell script starts its background processes with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    install.python_packages({"demo"})
    anvil = install.anvil()
    stack = Stack(options)
    answering = False
    try:
        say("Starting a local chain, the shop, its worker, its watcher and its settler …")
        stack.start(anvil)
        bought = None if options.quiet_start else _buy(stack)
        read = None if options.quiet_start else _read(stack)
        stack.dismiss_clerk()
        answering = True
        if options.json:
            print(json.dumps(stack.line()), flush=True)
        else:
            print(_summary(stack, bought, read), flush=True)
        if options.once:
            return 0 if options.quiet_start or (bought and read is not None) else 1
        stack.look_after()
        return 0
    except KeyboardInterrupt:
        if answering:
            return 0
        raise
    finally:
        say("Stopping …")
        stack.stop()


def _buy(stack: Stack) -> dict[str, Any] | None:
    """Buy the article with the lowest agent price. On failure return None, with the reason on stderr."""
    affordable = [a for a in stack.sample["articles"] if a["agent_price_micros"] <= _CLIENTS_LIMIT_MICROS]
    article = min(affordable, key=lambda a: a["agent_price_micros"])
    said = _run(stack, "buy.py", [article["md_url"]], BUYER_KEY=stack.accounts.agent.key)
    return said and {**said, "article": article, "earned": stack.ask("earned", article["id"])}


def _read(stack: Stack) -> dict[str, Any] | None:
    """Top up with a test card and read three articles as a reader, and a fourth as the reader's agent.

    Empty if another server charges the cards, because the demo cannot fill in its page. None on failure.
    """
    if stack.processor is None:
        return {}
    cheap = [a for a in stack.sample["articles"] if a["people_price_micros"] <= _CLIENTS_LIMIT_MICROS][:4]
    login = stack.sample["logins"]["reader"]
    words = [stack.product["BASE_URL"], *(article["url"] for article in cheap[:3]), cheap[3]["md_url"]]
    said = _run(stack, "read.py", words, READER_EMAIL=login["email"], READER_PASSWORD=login["password"])
    return said and {**said, "agent_title": cheap[3]["title"]}


def _run(stack: Stack, script: str, words: list[str], **variables: str) -> dict[str, Any] | None:
    """Run a script of dev/ and return its line of JSON. On failure return None, with its output on stderr."""
    done = subprocess.run(
        [str(install.PYTHON), str(install.ROOT / "dev" / script), *words],
        env={**stack.environment, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        say(f"The example in dev/{script} failed:\n{done.stdout}{done.stderr}")
        return None
    return dict(json.loads(done.stdout))


def _summary(stack: Stack, bought: dict[str, Any] | None, read: dict[str, Any] | None) -> str:
    base = stack.product["BASE_URL"]
    logins = stack.sample["logins"]
    width = max(len(login["email"]) for login in logins.values())
    lines = ["", "Pennypress is running with play money, on its own local chain.", ""]
    lines += [f"  Shop            {base}/", f"  For publishers  {base}/studio/", f"  Back office     {base}/admin/", ""]
    lines += [f"  Sign in as {who:<10} {login['email']:<{width}}  {login['password']}" for who, login in logins.items()]
    lines += [f"  Staff need a code, too: {_PROGRAM} code {logins['admin']['authenticator_key']}"]
    lines += ["", *_purchase(stack, bought), *_reader(stack, read), *_next_things(stack), ""]
    if not stack.options.once:
        lines.append("Ctrl-C stops everything.")
    return "\n".join(lines)


def _purchase(stack: Stack, bought: dict[str, Any] | None) -> list[str]:
    if stack.options.quiet_start:
        return []
    if bought is None:
        return ["The example purchase failed; the reason is above.", ""]
    article = bought["article"]
    pay_to = stack.product["PAY_TO"]
    received = chain.balance_micros(stack.chain_url, pay_to)
    return [
        "An agent bought an article with the official x402 client:",
        f"  article         “{article['title']}” ({article['publication']})",
        f"  price           {_usd(article['agent_price_micros'])} USD for agents",
        f"  paid by         {bought['payer']}",
        f"  transaction     {bought['transaction']}",
        f"  on the chain    {pay_to} received {_usd(received)} test dollars",
        f"  in the books    the publisher earned {bought['earned']} USD after the platform fee",
        "",
    ]


def _reader(stack: Stack, read: dict[str, Any] | None) -> list[str]:
    if stack.options.quiet_start or read == {}:
        return []
    if read is None:
        return ["The example reader failed; the reason is above.", ""]
    titles = ", ".join(f"“{title}”" for title in read["read"])
    return [
        "A reader paid by card, on the test card simulator:",
        "  topped up       5.00 USD with the test card 4242 4242 4242 4242 (any future expiry date)",
        f"  read            {titles}",
        f"  their agent     bought “{read['agent_title']}” with its API key",
        f"  balance         {_usd(read['purse']['balance'])} USD, shown at {stack.product['BASE_URL']}/purse",
        "",
    ]


def _next_things(stack: Stack) -> list[str]:
    article = stack.sample["articles"][0]
    env_file = os.path.relpath(stack.folder / "env")
    return [
        "Next:",
        f"  read            {article['url']}",
        f"  ask the price   curl -i {article['json_url']}",
        f"  buy it          BUYER_KEY={stack.accounts.buyers[0].key} \\",
        f"                  {os.path.relpath(install.PYTHON)} dev/buy.py {article['md_url']}",
        f"  check the books PENNYPRESS_ENV_FILE={env_file} {_PROGRAM} manage audit",
        f"  the logs        {os.path.relpath(stack.folder)}/ (and the mail that the shop sends)",
    ]


def _usd(micros: int) -> str:
    """Whole micros as dollars, with two to six decimals."""
    whole, part = divmod(micros, 1_000_000)
    digits = f"{part:06d}".rstrip("0")
    return f"{whole}.{digits:0<2}"
