"""What is true of a purchase by any client: the text that came, and where the money went.

Read from the chain's own logs, the shop's audit views and its tables; nothing here asks the product.
"""

import json
from dataclasses import dataclass
from typing import Any

from tests.interop.clients import Kind
from tests.shop import Shop
from tests.wallet import Wallet

_TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
_FEE_BASIS_POINTS = 500


@dataclass(frozen=True)
class Transfer:
    """One transfer of test dollars out of a wallet."""

    to: str
    micros: int
    transaction: str


def transfers(shop: Shop, wallet: Wallet) -> list[Transfer]:
    """Every transfer that the chain knows, oldest first."""
    topics = [_TRANSFER, f"0x{wallet.address[2:].lower():0>64}"]
    query = {"address": shop.line["asset"], "fromBlock": "0x0", "toBlock": "latest", "topics": topics}
    logs = shop.rpc("eth_getLogs", query)
    return [Transfer("0x" + log["topics"][2][-40:], int(log["data"], 16), log["transactionHash"]) for log in logs]


def states(shop: Shop, wallet: Wallet) -> list[str]:
    """The state of each of this wallet's payments."""
    rows = shop.sql(f"SELECT state FROM audit_payment WHERE payer = '{wallet.address.lower()}'")
    return sorted(state for (state,) in rows)


def paid_once(
    shop: Shop, kind: Kind, wallet: Wallet, article: dict[str, Any], price: int, settled: dict[str, Any]
) -> None:
    """One transfer on the chain, the one that the client was told of; in the books it is this article's publisher's."""
    (transfer,) = transfers(shop, wallet)
    assert (transfer.to, transfer.micros) == (shop.line["pay_to"].lower(), price)
    network = shop.line["network"] if kind.reads_headers else "base-sepolia"
    expected = {"success": True, "transaction": transfer.transaction, "network": network}
    assert {name: settled[name] for name in expected} == expected
    assert settled["payer"].lower() == wallet.address.lower()
    fee = price * _FEE_BASIS_POINTS // 10_000
    assert _booked(shop, wallet) == {
        f"world:{shop.line['network']}": -price,
        f"publisher:{_publication(shop, article)}:earned": price - fee,
        "platform:fees": fee,
    }
    assert states(shop, wallet) in (["confirmed"], ["final"])


def delivered(shop: Shop, article: dict[str, Any], answer: dict[str, Any]) -> bool:
    """Whether an answer is the whole article, as the shop's database has it, in the form that it says it is."""
    ((title, markdown, html),) = shop.sql(
        f"SELECT title, markdown, body_html FROM publishers_version WHERE {_is('article_id', article)}"
    )
    kind = answer["headers"]["content-type"].partition(";")[0]
    if answer["status"] != 200:
        return False
    if kind == "text/markdown":
        return _lines(answer["text"]) == [f"# {title}", *_lines(markdown)]
    if kind == "application/json":
        return _lines(json.loads(answer["text"])["markdown"]) == _lines(markdown)
    return kind == "text/html" and html in answer["text"]


def _lines(markdown: str) -> list[str]:
    """Those with words, without the one that marks where the teaser ends."""
    return [line for line in markdown.splitlines() if line.strip() and "<!-- paywall -->" not in line]


def _booked(shop: Shop, wallet: Wallet) -> dict[str, int]:
    """What the books moved for this wallet's payments, by account, in micros."""
    rows = shop.sql(
        "SELECT e.account, SUM(e.amount) FROM audit_payment p JOIN audit_entry e ON e.journal_id = p.journal_id "
        f"WHERE p.payer = '{wallet.address.lower()}' GROUP BY e.account"
    )
    return {account: int(amount) for account, amount in rows}


def _publication(shop: Shop, article: dict[str, Any]) -> Any:
    ((found,),) = shop.sql(f"SELECT publication_id FROM publishers_article WHERE {_is('id', article)}")
    return found


def _is(column: str, article: dict[str, Any]) -> str:
    """SQL for: this column names this article, however the database writes a UUID."""
    return f"REPLACE(CAST({column} AS text), '-', '') = '{article['id'].replace('-', '')}'"
