"""The load: keep-alive connections that ask, or ask, sign and buy. A lean client, so that the servers are measured.

Run as a process of its own: `python -m bench.load unpaid|buy …`, one JSON line out.
"""

import asyncio
import base64
import json
import os
import sys
import time
from urllib.parse import urlsplit

from coincurve import PrivateKey
from eth_utils import keccak, to_checksum_address
from x402.mechanisms.evm.eip712 import hash_eip3009_authorization
from x402.mechanisms.evm.types import ExactEIP3009Authorization


class Connection:
    """One HTTP/1.1 keep-alive connection, from an address of its own: few requests of one address may wait."""

    def __init__(self, host: str, port: int, number: int) -> None:
        self.host, self.port = host, port
        self._from = f"127.0.1.{number + 1}"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str, headers: str = "") -> tuple[int, dict[str, str], bytes]:
        """One request; the connection is opened where needed."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(
                self.host, self.port, limit=1 << 20, local_addr=(self._from, 0)
            )
        reader, writer = self._streams
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAccept: */*\r\n{headers}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        found = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(found.get("content-length", "0")))
        if found.get("connection", "").lower() == "close":
            writer.close()
            self._streams = None
        return int(head[0].split()[1]), found, body


def signed(key: PrivateKey, terms: dict) -> str:
    """The PAYMENT-SIGNATURE header for the terms of a 402."""
    asked = terms["accepts"][0]
    address = to_checksum_address(keccak(key.public_key.format(compressed=False)[1:])[12:])
    authorization = ExactEIP3009Authorization(
        from_address=address,
        to=asked["payTo"],
        value=asked["amount"],
        valid_after="0",
        valid_before=str(int(time.time()) + asked["maxTimeoutSeconds"]),
        nonce="0x" + os.urandom(32).hex(),
    )
    extra, chain_id = asked["extra"], int(asked["network"].split(":")[1])
    digest = hash_eip3009_authorization(authorization, chain_id, asked["asset"], extra["name"], extra["version"])
    raw = key.sign_recoverable(digest, hasher=None)
    names = {"from": address, "to": authorization.to, "value": authorization.value}
    window = {"validAfter": authorization.valid_after, "validBefore": authorization.valid_before}
    payload = {
        "signature": "0x" + (raw[:64] + bytes([raw[64] + 27])).hex(),
        "authorization": {**names, **window, "nonce": authorization.nonce},
    }
    message = {"x402Version": 2, "accepted": asked, "payload": payload, "resource": terms.get("resource")}
    return base64.b64encode(json.dumps(message).encode()).decode()


async def unpaid(url: str, concurrency: int, seconds: float) -> dict:
    """402s per second over `concurrency` connections."""
    parts, ends, count = urlsplit(url), time.perf_counter() + seconds, 0
    wrong: dict[int, int] = {}

    async def ask(number: int) -> None:
        nonlocal count
        connection = Connection(parts.hostname or "", parts.port or 80, number)
        while time.perf_counter() < ends:
            status, _, _ = await connection.get(parts.path)
            count += 1
            if status not in (200, 402):
                wrong[status] = wrong.get(status, 0) + 1

    started = time.perf_counter()
    await asyncio.gather(*(ask(number) for number in range(concurrency)))
    return {"per_second": count / (time.perf_counter() - started), "unexpected": wrong}


async def buy(urls: list[str], keys: list[str], concurrency: int, seconds: float) -> dict:
    """Purchases to delivered content per second: ask, sign, pay, read. Each buyer buys each article once."""
    parts, ends = urlsplit(urls[0]), time.perf_counter() + seconds
    jobs = iter([(urlsplit(url).path, key) for url in urls for key in keys])
    times: list[float] = []
    transactions: list[str] = []
    wrong: dict[str, int] = {}

    async def work(number: int) -> None:
        connection = Connection(parts.hostname or "", parts.port or 80, number)
        for path, key in jobs:
            if time.perf_counter() > ends:
                return
            began = time.perf_counter()
            _, headers, _ = await connection.get(path)
            terms = json.loads(base64.b64decode(headers["payment-required"]))
            payment = signed(PrivateKey.from_hex(key.removeprefix("0x")), terms)
            status, headers, body = await connection.get(path, f"PAYMENT-SIGNATURE: {payment}\r\n")
            if status == 200 and len(body) > 1000:
                times.append(time.perf_counter() - began)
                transactions.append(json.loads(base64.b64decode(headers["payment-response"]))["transaction"])
            else:
                wrong[str(status)] = wrong.get(str(status), 0) + 1
        raise RuntimeError("there are not enough buyers for this round")

    started = time.perf_counter()
    await asyncio.gather(*(work(number) for number in range(concurrency)))
    took = time.perf_counter() - started
    times.sort()
    return {
        "per_second": len(times) / took,
        "median_ms": 1000 * times[len(times) // 2] if times else None,
        "transactions": transactions,
        "unexpected": wrong,
    }


def main() -> None:
    """Read the job from stdin, print the result."""
    job = json.load(sys.stdin)
    work = unpaid if sys.argv[1] == "unpaid" else buy
    print(json.dumps(asyncio.run(work(**job))))


if __name__ == "__main__":
    main()
