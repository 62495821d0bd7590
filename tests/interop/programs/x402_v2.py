"""Buys with PyPI's x402 (protocol version 2), set up as its README does: python x402_v2.py httpx|requests"""

import asyncio
import sys
from typing import Any

import lines
import requests
from eth_account import Account
from x402 import x402Client, x402ClientSync
from x402.http import decode_payment_response_header
from x402.http.clients import wrapRequestsWithPayment, x402HttpxClient
from x402.mechanisms.evm import EthAccountSigner
from x402.mechanisms.evm.exact import ExactEvmScheme


def with_requests(key: str) -> requests.Session:
    client = x402ClientSync()
    client.register("eip155:*", ExactEvmScheme(signer=EthAccountSigner(Account.from_key(key))))
    return wrapRequestsWithPayment(requests.Session(), client)


def with_httpx(key: str) -> x402HttpxClient:
    client = x402Client()
    client.register("eip155:*", ExactEvmScheme(signer=EthAccountSigner(Account.from_key(key))))
    return x402HttpxClient(client)


def main(adapter: str) -> None:
    make = with_httpx if adapter == "httpx" else with_requests
    clients: dict[str, Any] = {}
    with asyncio.Runner() as runner:

        def ask(order: dict[str, Any]) -> dict[str, Any]:
            if order["client"] not in clients:
                clients[order["client"]] = make(order["key"])
            answer = clients[order["client"]].get(order["url"], headers=order["headers"])
            return told(runner.run(answer) if adapter == "httpx" else answer)

        lines.serve(ask)


def told(answer: Any) -> dict[str, Any]:
    header = answer.headers.get("PAYMENT-RESPONSE")
    settled = decode_payment_response_header(header).model_dump(by_alias=True, mode="json") if header else None
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return {"status": answer.status_code, "headers": headers, "text": answer.text, "settled": settled}


if __name__ == "__main__":
    main(sys.argv[1])
