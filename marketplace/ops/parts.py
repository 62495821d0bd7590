"""The parts of the shop and how each of them is, in words that programs read: `ok`, `down`, `unreachable` and so on.

The node and the broker are asked at most once a second by each process, however often somebody wants to know.
"""

import time
from datetime import timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models.functions import Now

from payments import onchain
from payments.models import OPEN, Job, Lease, Payment
from payments.onchain import gas, rpc, watcher

from . import queue
from .kept import Kept
from .outage import replace_dead_connections

NOT_CONFIGURED, UNKNOWN = "not_configured", "unknown"
# The words of a part that keeps nothing from being sold.
GOOD = {"ok", "low", NOT_CONFIGURED}
# A job is late when so many of its periods and some seconds have passed without a sign of it.
_PERIODS, _SLACK_SECONDS = 3, 15
_WATCHER_SECONDS = 45
_began = time.monotonic()


class Node(NamedTuple):
    """What came of the last call to the node, and the settler's ether in wei, if a settler is known."""

    word: str
    balance_wei: int | None = None


def database() -> str:
    """Whether the database answers."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        replace_dead_connections()
        return "unreachable"
    return "ok"


def _ask_node() -> Node:
    """One call: it says both whether the node answers and what the settler has."""
    try:
        if key := gas.settler():
            return Node("ok", rpc.ether_of(key))
        rpc.request("eth_blockNumber")
        return Node("ok")
    except rpc.ChainUnreachable:
        return Node("unreachable")
    except DatabaseError:
        return Node(UNKNOWN)


def _ask_broker() -> int | None:
    try:
        return queue.waiting()
    except queue.BrokerUnreachable:
        return None


def _ask_use() -> gas.Use:
    key = gas.settler()
    return gas.use(key) if key else gas.Use()


node = Kept(_ask_node, 1, Node(UNKNOWN))
# The messages that wait for a worker; None: the broker does not answer.
messages = Kept(_ask_broker, 1, None)
gas_use = Kept(_ask_use, 60, gas.Use())


def settler_gas() -> gas.Gas:
    """The settler's ether. The use of it is asked of the database."""
    balance_wei = node().balance_wei
    return gas.Gas(UNKNOWN, None) if balance_wei is None else gas.left(balance_wei, gas_use())


def settler() -> str:
    """Whether a settler holds the lease."""
    held = Lease.objects.filter(chain_id=settings.CHAIN_ID, expires_at__gt=Now()).exclude(holder="").exists()
    return "ok" if held else "down"


class Jobs:
    """The rows of the periodic jobs, read once, each with the database's clock at that time."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {row.name: row for row in Job.objects.annotate(now=Now())}

    def watcher(self) -> str:
        """`stalled`: a watcher is there, and has not read the chain for a while."""
        row = self.rows.get(watcher.JOB)
        if row is None:
            return "down"
        if row.succeeded_at and row.now - row.succeeded_at < timedelta(seconds=_WATCHER_SECONDS):
            return "ok"
        return "stalled" if row.held_until > row.now else "down"

    def late(self) -> list[str]:
        """The jobs of which there is no sign for some periods: neither has a run ended nor does one work.

        A web process that has just started waits as long before it says so: the others start with it.
        """
        return [name for name, period in periods().items() if self._quiet(name) > _PERIODS * period + _SLACK_SECONDS]

    def _quiet(self, name: str) -> float:
        waited = time.monotonic() - _began
        row = self.rows.get(name)
        signs = [sign for sign in (row.ended_at, row.held_until) if sign] if row else []
        return min([waited, *((row.now - sign).total_seconds() for sign in signs)])


def periods() -> dict[str, float]:
    """The seconds between two runs of each job, the shortest first."""
    schedule = settings.CELERY_BEAT_SCHEDULE.values()
    found = {entry["task"].rpartition(".")[2]: entry["schedule"] for entry in schedule}
    return dict(sorted(found.items(), key=lambda one: one[1]))


def worker_and_beat(late: list[str]) -> tuple[str, str]:
    """Whether the worker and beat do something. When nothing runs, messages that wait say that it is the worker."""
    if next(iter(periods())) not in late:
        return "ok", "ok"
    waiting = messages()
    if waiting is None:
        return UNKNOWN, UNKNOWN
    return ("down", "ok") if waiting else (UNKNOWN, "down")


def chain_parts(jobs: Jobs | None) -> dict[str, Any]:
    """The parts that only a shop on a chain has. `jobs` is None while the database does not answer."""
    if not onchain.enabled():
        words, ether = [NOT_CONFIGURED] * 3, gas.Gas(NOT_CONFIGURED, None)
    elif jobs is None:
        words, ether = [node().word, UNKNOWN, UNKNOWN], gas.Gas(UNKNOWN, None)
    else:
        words, ether = [node().word, settler(), jobs.watcher()], settler_gas()
    return dict(zip(("chain", "settler", "watcher", "gas"), (*words, ether._asdict()), strict=True))


def waiting_payments() -> int:
    """How many payments wait for the settler."""
    return Payment.objects.filter(state__in=OPEN).count()
