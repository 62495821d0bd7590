"""Buys with PyPI's x402 0.2 (protocol version 1), set up as its README does: python x402_v1.py httpx|requests"""

import asyncio
import sys
from typing import Any

import lines
from eth_account import Account
from x402.clients import decode_x_payment_response, x402_requests, x402HttpxClient


def main(adapter: str) -> None:
    make = x402HttpxClient if adapter == "httpx" else x402_requests
    clients: dict[str, Any] = {}
    with asyncio.Runner() as runner:

        def ask(order: dict[str, Any]) -> dict[str, Any]:
            if order["client"] not in clients:
                clients[order["client"]] = make(Account.from_key(order["key"]))
            answer = clients[order["client"]].get(order["url"], headers=order["headers"])
            return told(runner.run(answer) if adapter == "httpx" else answer)

        lines.serve(ask)


def told(answer: Any) -> dict[str, Any]:
    header = answer.headers.get("X-PAYMENT-RESPONSE")
    settled = decode_x_payment_response(header) if header else None
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return {"status": answer.status_code, "headers": headers, "text": answer.text, "settled": settled}


if __name__ == "__main__":
    main(sys.argv[1])
