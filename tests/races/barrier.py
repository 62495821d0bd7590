"""Many requests that reach the shop at the same instant: each is sent up to its last byte, then all are let go."""

import http.client
import socket
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.shop import PATIENCE

COPIES = 50


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def at_once(requests: Sequence[tuple[str, dict[str, str]]]) -> list[Answer]:
    """GET every (address, headers) at the same moment, each over a connection of its own."""
    barrier = threading.Barrier(len(requests))
    answers: list[Answer | Exception] = [ConnectionError("no answer")] * len(requests)

    def run(number: int, url: str, headers: dict[str, str]) -> None:
        try:
            answers[number] = _held_back(url, headers, barrier)
        except Exception as error:
            barrier.abort()
            answers[number] = error

    threads = [threading.Thread(target=run, args=(n, *request)) for n, request in enumerate(requests)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers  # type: ignore[return-value]


def copies(url: str, header: str, number: int = COPIES) -> list[Answer]:
    """One payment header, many times at once."""
    return at_once([(url, {"PAYMENT-SIGNATURE": header})] * number)


def statuses(answers: Sequence[Answer]) -> Counter[int]:
    """How often each status came; a 503 without Retry-After, or any other 5xx, is an error at once."""
    for answer in answers:
        assert answer.status < 500 or (answer.status == 503 and answer.headers["Retry-After"]), answer
    return Counter(answer.status for answer in answers)


def _held_back(url: str, headers: dict[str, str], barrier: threading.Barrier) -> Answer:
    where = urlsplit(url)
    lines = [f"GET {where.path} HTTP/1.1", f"Host: {where.netloc}", "Accept: application/json", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    request = "".join(f"{line}\r\n" for line in [*lines, ""]).encode()
    with socket.create_connection((where.hostname or "", where.port or 80), timeout=PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request[:-1])
        barrier.wait(PATIENCE)
        connection.sendall(request[-1:])
        response = http.client.HTTPResponse(connection, method="GET")
        try:
            response.begin()
            return Answer(response.status, response.headers, response.read())
        finally:
            response.close()
