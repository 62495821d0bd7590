"""One purchase by an agent, with the unmodified official x402 client: python dev/buy.py URL

BUYER_KEY in the environment is the buyer's private key. The output is one line of JSON with the payment and the
response.
"""

import json
import os
import sys
import time

import requests
from eth_account import Account
from x402 import x402ClientSync
from x402.http import x402HTTPClientSync
from x402.http.clients import x402_requests
from x402.mechanisms.evm import EthAccountSigner
from x402.mechanisms.evm.exact.register import register_exact_evm_client

_PATIENCE_SECONDS = 90


def main(url: str) -> int:
    """Buy the article at the URL. Returns 0 if it was delivered, else 1."""
    signer = EthAccountSigner(Account.from_key(os.environ["BUYER_KEY"]))
    client = x402ClientSync()
    register_exact_evm_client(client, signer)
    session = x402_requests(client)
    session.trust_env = False
    answer = _ask(session, url)
    said = {"url": url, "payer": signer.address, "status": answer.status_code, "text": answer.text[:600]}
    if answer.ok:
        settled = x402HTTPClientSync(client).get_payment_settle_response(answer.headers.get)
        said |= {"transaction": settled.transaction, "network": str(settled.network)}
    print(json.dumps(said))
    return 0 if answer.ok else 1


def _ask(session: requests.Session, url: str) -> requests.Response:
    """Send the request and retry while it gets 503, which means the payment is pending. A retry never pays twice."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        answer = session.get(url, timeout=30)
        if answer.status_code != 503 or time.monotonic() > until:
            return answer
        time.sleep(min(float(answer.headers.get("Retry-After", "1")), 10))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
